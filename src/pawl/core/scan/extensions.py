"""What extends the API: CRDs and their conversion, aggregated APIs, admission webhooks.

All of them are calls that the API server makes. One that fails turns requests for other objects
into errors, which an upgrade meets at the worst moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pawl.core.findings import Severity
from pawl.core.knowledge.rows import key
from pawl.core.lint.finding import LintFinding
from pawl.core.scan.facts import ApiServiceFact, Backend, Definition, Hook, HookRule, Stored
from pawl.core.scan.lens import Lens

CERTIFICATE_DAYS = 30.0
"""As policy.limits.certificate_days, which the command passes in."""

_CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def definition(fact: Definition, now: float, days: float) -> Iterator[LintFinding]:
    versions = {v.name: v for v in fact.versions}
    for stored in fact.stored:
        version = versions.get(stored)
        if version is not None and version.storage:
            continue
        if version is None or not version.served:
            why, severity = "is not served any more", Severity.WARNING
        elif version.deprecated:
            why, severity = "is deprecated", Severity.WARNING
        else:
            why, severity = "is not the storage version", Severity.INFO
        yield _finding(
            "crd-stored-version",
            severity,
            *_CRD,
            fact.name,
            f"objects of {fact.kind} may still be stored as {stored}, which {why}: a release of "
            "the CRD without it is refused until they are rewritten",
            fact.owner,
        )
    if fact.webhook and fact.backend and (why := _dead(fact.backend)):
        yield _finding(
            "crd-conversion-dead",
            Severity.BLOCKER,
            *_CRD,
            fact.name,
            f"its conversion webhook {fact.webhook} {why}: no {fact.kind} stored in another "
            "version can be read or written, and clean-up of namespaces stalls",
            fact.owner,
        )
    yield from _certificate(fact.ca_expires, now, days, *_CRD, fact.name, "conversion webhook")


def api_service(fact: ApiServiceFact, now: float, days: float) -> Iterator[LintFinding]:
    about = "apiregistration.k8s.io/v1", "APIService", fact.name
    if not fact.available:
        yield _finding(
            "apiservice-dead",
            Severity.BLOCKER,
            *about,
            f"its backend {fact.service} is unavailable ({fact.why or 'no reason given'}): "
            "discovery is incomplete, and deletion of namespaces and garbage collection stall",
        )
    yield from _certificate(fact.ca_expires, now, days, *about, "backend")


def hook(fact: Hook, lens: Lens, now: float, days: float) -> Iterator[LintFinding]:
    about = "admissionregistration.k8s.io/v1", fact.kind, fact.configuration
    if fact.rules and (gone := _gone_rules(fact.rules, lens)) is not None:
        yield _finding(
            "webhook-rule-gone",
            Severity.WARNING,
            *about,
            f"webhook {fact.name} names only {', '.join(gone)}, which {lens.target} does not "
            "serve: it is silently not called any more",
            fact.owner,
        )
    yield from _certificate(fact.ca_expires, now, days, *about, f"webhook {fact.name}")


def _gone_rules(rules: Iterable[HookRule], lens: Lens) -> tuple[str, ...] | None:
    """The API versions of all rules, if every one of them is gone at the target; else None."""
    gone: list[str] = []
    for rule in rules:
        for group in rule.groups:
            for version in rule.versions:
                api_version = f"{group}/{version}" if group else version
                for resource in rule.resources:
                    kind = lens.kind(api_version, resource.partition("/")[0])
                    verdict = lens.verdict(api_version, kind)
                    if verdict is None or verdict.rule != "api-removed":
                        return None
                    if not lens.served(api_version, kind):
                        return None  # it was so before, and is not this upgrade's doing
                    gone.append(f"{api_version} {resource}")
    return tuple(dict.fromkeys(gone)) or None


def stored(fact: Stored, lens: Lens) -> Iterator[LintFinding]:
    """Objects whose resource the target serves in no version."""
    rows = [
        r
        for r in lens.judge.knowledge.apis
        if r.group == fact.group and r.resource == fact.resource and r.what == "object"
    ]
    if not fact.count or not rows or not any(lens.served(r.api_version, r.kind) for r in rows):
        return
    at = key(lens.target)
    if any(not r.removed or key(r.removed) > at for r in rows):
        return
    last = max(rows, key=lambda r: key(r.removed))
    if any(key(c.from_) <= at < key(c.until) for c in last.candidates):
        return
    yield _finding(
        "kind-dropped",
        Severity.BLOCKER,
        last.api_version,
        last.kind,
        "",
        f"{fact.count} objects of {fact.resource} are stored, and {lens.target} does not serve "
        f"{last.kind} in any version (removed in {last.removed}): what they do ends, and they can "
        "only be deleted before",
        path=f"live/{last.kind}",
        minor=last.removed,
    )


def _dead(backend: Backend) -> str:
    if not backend.exists:
        return f"has no Service {backend.service}"
    return "" if backend.ready else f"has no ready pod behind {backend.service}"


def _certificate(
    expires: float | None, now: float, days: float, api: str, kind: str, name: str, what: str
) -> Iterator[LintFinding]:
    if expires is None or expires - now > days * 86400:
        return
    left = (expires - now) / 86400
    when = f"ends in {left:.0f} days" if left >= 0 else f"ended {-left:.0f} days ago"
    yield _finding(
        "certificate-expiring",
        Severity.BLOCKER if left < 0 else Severity.WARNING,
        api,
        kind,
        name,
        f"the CA bundle of its {what} {when}",
    )


def _finding(
    rule: str,
    severity: Severity,
    api_version: str,
    kind: str,
    name: str,
    message: str,
    owner: str = "",
    *,
    path: str = "",
    minor: str = "",
) -> LintFinding:
    return LintFinding(
        rule=rule,
        severity=severity,
        path=path or f"live/{kind}/{name}",
        line=0,
        api_version=api_version,
        kind=kind,
        name=name,
        owner=owner,
        message=message,
        minor=minor,
        grade="proven",
    )
