"""One live object: who writes it at which API version, and how good the evidence for that is.

An API server converts on read, so an object's own apiVersion says nothing. Two things do:
managedFields, where each manager's last write stands with its version and time, and the annotation
with the object as it was last applied. The second outlives its reason: a newer write by the same
manager at a live version clears it. An API that this cluster does not serve any more cannot be in
use, whatever an object remembers of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from pawl.core.findings import Severity
from pawl.core.lint.finding import Grade, LintFinding
from pawl.core.lint.node import plain
from pawl.core.scan.facts import Seen, Write
from pawl.core.scan.lens import Lens
from pawl.core.scan.rules import lowered

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ANNOTATIONS = (LAST_APPLIED, "kapp.k14s.io/original")
"""Annotations that hold an object's manifest as JSON: kubectl's and kapp's."""

OWN_MANAGERS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
"""Managers that are Kubernetes itself: their version moves with the upgrade (skew policy)."""
OWN_PREFIX = "api-priority-and-fairness-config-"

APPLIERS = ("kubectl-client-side-apply", "kapp")
"""Managers that write such an annotation whenever they write the object."""

STUCK_SECONDS = 600.0
"""After this a deletion counts as stuck. A deletionTimestamp holds a pod's grace already, and a
namespace with thousands of objects takes a few minutes."""

_HOLDS_DRAIN = ("Pod", "VolumeAttachment")


@dataclass(slots=True)
class _Sign:
    verdict: LintFinding
    grade: Grade = "stale"
    evidence: list[str] = field(default_factory=list)


def findings(seen: Seen, lens: Lens, now: float) -> Iterator[LintFinding]:
    """Everything that an object's metadata says about the target."""
    signs: dict[str, _Sign] = {}
    for write in seen.writes:
        verdict = lens.verdict(write.api_version, seen.kind)
        if verdict is None or own(write.manager) or _newer(seen, write, lens):
            continue
        sign = signs.setdefault(write.api_version, _Sign(verdict))
        how = "applied" if write.operation == "Apply" else "wrote"
        what = f"its {write.subresource}" if write.subresource else "it"
        sign.grade = "likely"
        sign.evidence.append(
            f"{write.manager} {how} {what} at {write.api_version}{_on(write.time)} (managedFields)"
        )
    yield from _from_annotations(seen, lens, signs)
    for api_version, sign in sorted(signs.items()):
        if not lens.served(api_version, seen.kind):
            sign.grade = "stale"
            sign.evidence.append(
                f"this cluster does not serve {api_version} {seen.kind} any more: left over"
            )
        yield _about(seen, sign.verdict, sign.grade, sign.evidence)
    yield from _stuck(seen, now)


def own(manager: str) -> bool:
    return manager in OWN_MANAGERS or manager.startswith(OWN_PREFIX)


def _newer(seen: Seen, write: Write, lens: Lens) -> Write | None:
    """A later write by the same manager at a version that lives on."""
    for other in seen.writes:
        if (
            other.manager == write.manager
            and other.time > write.time
            and lens.dull(other.api_version, seen.kind)
        ):
            return other
    return None


def _from_annotations(seen: Seen, lens: Lens, signs: dict[str, _Sign]) -> Iterator[LintFinding]:
    for applied in seen.applied:
        head = _head(applied.text)
        # Controllers copy annotations (a ControllerRevision has its DaemonSet's), so it must be
        # this very object's.
        if head is None or head.kind != seen.kind or head.metadata.name != seen.name:
            continue
        verdict = lens.verdict(head.api_version, seen.kind)
        if verdict is None:
            yield from _fields(seen, lens, head.api_version, applied.text)
            continue
        if _cleared(seen, lens):
            continue
        sign = signs.setdefault(head.api_version, _Sign(verdict))
        sentence = f"{applied.annotation} names {head.api_version}"
        later = max((w for w in seen.writes if w.time), key=lambda w: w.time, default=None)
        if sign.grade == "stale" and later and lens.dull(later.api_version, seen.kind):
            sentence += f"; {later.manager} wrote it at {later.api_version}{_on(later.time)}"
        sign.evidence.append(sentence)


def _cleared(seen: Seen, lens: Lens) -> bool:
    """Whether the manager that wrote the annotation is known to use a live version since.

    `kubectl apply` writes the annotation each time, so its last entry at a live version is newer
    than what an old annotation says. Another tool may have copied it along (a restore): of that
    one's managers only an entry that is newer than the copy counts.
    """
    for applier in APPLIERS:
        own_writes = [w for w in seen.writes if w.manager == applier]
        last = max(own_writes, key=lambda w: w.time, default=None)
        if last and lens.dull(last.api_version, seen.kind):
            return True
    return any(
        w.applied and not lens.dull(w.api_version, seen.kind) and _newer(seen, w, lens)
        for w in seen.writes
    )


class _Meta(msgspec.Struct):
    name: str = ""


class _Head(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    metadata: _Meta = msgspec.field(default_factory=_Meta)


def _head(text: str) -> _Head | None:
    try:
        return msgspec.json.decode(text, type=_Head)
    except msgspec.DecodeError:
        return None


def _fields(seen: Seen, lens: Lens, api_version: str, text: str) -> Iterator[LintFinding]:
    """Fields of the applied manifest that go away, where the bytes say that it may have any."""
    if not lens.judge.interest(api_version, seen.kind, text.encode()):
        return
    document: Any = msgspec.json.decode(text)
    for finding in lens.judge.judge(plain(document, 0), ""):
        if finding.rule.startswith(("field-", "volume-")):
            yield _about(seen, finding, "stale", ["as it was last applied"])


def _about(seen: Seen, verdict: LintFinding, grade: Grade, evidence: Iterable[str]) -> LintFinding:
    return msgspec.structs.replace(
        verdict,
        severity=lowered(verdict.severity) if grade == "stale" else verdict.severity,
        path=path_of(seen),
        line=0,
        namespace=seen.namespace,
        name=seen.name,
        owner=seen.owner,
        grade=grade,
        evidence=(*evidence, *([f"kept in {seen.source}"] if seen.source else [])),
        fixable=False,
    )


def in_full(finding: LintFinding, lens: Lens) -> LintFinding:
    """A finding of an object that was read whole. What is gone on this cluster already is a hint
    that nobody uses the object."""
    if not lens.was_before(finding.minor):
        return msgspec.structs.replace(finding, line=0, grade="proven", fixable=False)
    return msgspec.structs.replace(
        finding,
        line=0,
        severity=lowered(finding.severity),
        grade="stale",
        evidence=(f"so it is since {finding.minor}, which is before this upgrade",),
        fixable=False,
    )


def path_of(seen: Seen) -> str:
    return "/".join(p for p in ("live", seen.namespace, seen.kind, seen.name) if p)


def _stuck(seen: Seen, now: float) -> Iterator[LintFinding]:
    if not seen.deleting:
        return
    late = now - seconds(seen.deleting)
    if late < STUCK_SECONDS:
        return
    waits = f"waits for {', '.join(seen.finalizers)}" if seen.finalizers else "is not gone"
    message = f"has been in deletion for {_age(late)} and {waits}"
    severity = Severity.WARNING
    if seen.kind in _HOLDS_DRAIN:
        severity = Severity.BLOCKER
        message += ": the drain of its node waits for it"
    elif seen.kind == "PersistentVolumeClaim" and "kubernetes.io/pvc-protection" in seen.finalizers:
        message += ": it goes when its pod is moved, and the pod cannot start again"
    yield LintFinding(
        rule="finalizer-stuck",
        severity=severity,
        path=path_of(seen),
        line=0,
        api_version=seen.api_version,
        kind=seen.kind,
        namespace=seen.namespace,
        name=seen.name,
        owner=seen.owner,
        message=message,
        grade="proven",
    )


def seconds(time: str) -> float:
    """An RFC 3339 time as seconds since the epoch; 0 for one that cannot be read."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0


def _on(time: str) -> str:
    return f" on {time[:10]}" if time else ""


def _age(late: float) -> str:
    if late < 2 * 3600:
        return f"{late / 60:.0f} min"
    return f"{late / 3600:.0f} h" if late < 48 * 3600 else f"{late / 86400:.0f} days"
