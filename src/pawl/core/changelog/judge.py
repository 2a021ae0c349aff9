"""Does a note matter to this cluster? Evidence, or the reason why not, or "a person must look".

"Does not apply" is said only where facts rule it out: the note names flags, gates, APIs or parts
that are looked for in what was really read, and none is there. Whatever cannot be ruled out needs a
person; nothing is guessed away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pawl.core.changelog.decisions import decide
from pawl.core.changelog.facts import Facts, Use
from pawl.core.changelog.item import URGENT, Acknowledgement, Item, Judged, Verdict
from pawl.core.findings import Finding, Severity
from pawl.core.knowledge.store import Knowledge

__all__ = ["CODE", "Facts", "Use", "findings", "judge", "judged"]

CODE = "PAWL-K001"
"""The finding of an urgent note that nobody has dealt with."""

_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9]+(?:-[a-z0-9]+)*)")
_API = re.compile(r"\b((?:[a-z0-9-]+\.)*[a-z0-9-]+/v\d+(?:(?:alpha|beta)\d+)?)\b")
_WORD = re.compile(r"\b[A-Z][A-Za-z0-9]{3,}\b")
_COMPONENT = re.compile(
    r"\b(kube-apiserver|kube-controller-manager|kube-scheduler|kube-proxy|kubelet|kubeadm"
    r"|cloud-controller-manager|kubectl|etcd)\b",
    re.I,
)
_GONE = re.compile(
    r"\b(?:remov|drop|lock|deprecat|delet)\w*\b[^.]{0,160}(?:\bgates?\b|\bflags?\b|--[a-z])"
    r"|(?:\bgates?\b|\bflags?\b|--[a-z][\w-]+`?)[^.]{0,100}\b(?:remov|drop|lock|deprecat|delet)\w*\b"
    r"(?![^.]*enabled by default)",
    re.I,
)
"""The note is about a flag or gate going away, and so only about who sets it."""

_CLIENT_GO = re.compile(
    r"^(?:\[?go\]?[: ]|`?(?:client-go|k8s\.io/[\w./-]+|apimachinery|code-generator|component-base|"
    r"apiextensions-apiserver|cri-api|dynamic-resource-allocation)`?\b)",
    re.I,
)


def judge(item: Item, facts: Facts, knowledge: Knowledge) -> tuple[Verdict, tuple[str, ...]]:
    if facts.state is None:
        return "needs a person", ("no facts about the cluster were given",)
    if decided := decide(item, facts):
        return decided
    if why := _not_here(item, facts):
        return "does not apply", (why,)
    text = item.text
    named = {c.lower() for c in _COMPONENT.findall(text)}
    components = named & {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
                          "kube-proxy", "etcd"}  # fmt: skip
    flags = {f for f in _FLAG.findall(text) if f not in ("feature-gates", "runtime-config")}
    gates = {w for w in _WORD.findall(text) if w in knowledge.by_gate}
    apis = set(_API.findall(text))
    evidence = [e for f in sorted(flags) for e in facts.flag(f, components)]
    evidence += [e for g in sorted(gates) for e in facts.gate(g)]
    for use in facts.uses or ():
        if use.api_version in apis:
            evidence.append(f"{use.where} uses {use.api_version} {use.kind}")
    evidence += _runtime(text, facts)
    if evidence:
        return "applies", tuple(dict.fromkeys(evidence))
    return _ruled_out(item, facts, knowledge, flags, gates, apis)


def _not_here(item: Item, facts: Facts) -> str:
    """A part of Kubernetes that this cluster does not have, when the note is about it alone."""
    text, state = item.text, facts.state
    assert state is not None
    named = {c.lower() for c in _COMPONENT.findall(text)}
    alone = "kubeadm" if text.lower().startswith("kubeadm") else min(named, default="")
    if (
        alone in ("kubeadm", "cloud-controller-manager")
        and (named == {alone} or alone == "kubeadm" == text.lower()[:7])
        and facts.hosts_read
        and not facts.has(alone)
    ):
        return f"{alone}: no host of this cluster has it"
    windows = re.search(r"\b(windows|winkernel|hcn|hns)\b", text, re.I)
    if (
        windows
        and state.nodes
        and not re.search(r"\blinux\b", text, re.I)
        and not any("windows" in n.os_image.lower() for n in state.nodes)
    ):
        return f"Windows: none of the {len(state.nodes)} nodes runs it"
    if _CLIENT_GO.match(text) and item.category not in URGENT:
        return "a Go library: of concern to who builds programs with it, not to this cluster"
    return ""


def _runtime(text: str, facts: Facts) -> list[str]:
    """Facts of nodes and hosts that a note names: cgroup v1, containerd 1.x, proxy mode."""
    state, out = facts.state, []
    assert state is not None
    if re.search(r"\bcgroups? ?v1\b", text, re.I):
        out += [f"{h.name} has cgroup v1" for h in state.hosts if h.cgroup_version == 1]
    if match := re.search(r"containerd[^.]{0,40}?\b(?:v?1\.(\d)|1\.x)", text, re.I):
        minor = match[1]
        start = f"containerd://1.{minor}" if minor else "containerd://1."
        out += [f"{n.name} runs {n.runtime}" for n in state.nodes if n.runtime.startswith(start)]
    if re.search(r"\bipvs\b", text, re.I):
        out += [
            f"kube-proxy on {h.name} runs in ipvs mode"
            for h in state.hosts
            if "--proxy-mode=ipvs" in h.flags.get("kube-proxy", ())
        ]
    return out


def _ruled_out(
    item: Item,
    facts: Facts,
    knowledge: Knowledge,
    flags: set[str],
    gates: set[str],
    apis: set[str],
) -> tuple[Verdict, tuple[str, ...]]:
    """Everything that the note names was looked for, and nothing of it is in use."""
    person: Verdict = "needs a person"
    if item.category in ("urgent", "action required", "security"):
        return person, ("urgent notes are ruled out only by a part that is not here",)
    if not (flags or gates or apis):
        return person, ("it names no flag, gate or API that could be looked up",)
    if apis and facts.uses is None:
        return person, (f"objects were not looked at: {', '.join(sorted(apis))}",)
    if not facts.hosts_read:
        return person, ("not every host's flags were read",)
    if "kubectl" in item.text or not all(
        any(f == row.flag for row in knowledge.flags) for f in flags
    ):
        return person, ("it names flags of commands that people type",)
    if re.search(r"in-tree|volume plugin|\bmode\b", item.text):
        return person, ("it is about more than its flags and gates",)
    if (flags or gates) and not apis and not _GONE.search(item.text):
        return person, ("it changes a default, not only a flag or gate",)
    reasons = [f"nobody sets --{f}" for f in sorted(flags)]
    reasons += [f"nobody sets the gate {g}" for g in sorted(gates)]
    reasons += [f"nothing uses {a}" for a in sorted(apis)]
    return "does not apply", tuple(reasons)


def judged(
    items: Iterable[Item],
    facts: Facts,
    knowledge: Knowledge,
    acknowledgements: Iterable[Acknowledgement] = (),
) -> tuple[Judged, ...]:
    """Every item with its verdict and, where a person has dealt with it, their name."""
    acks = {a.item: a for a in acknowledgements}
    out = []
    for item in items:
        verdict, evidence = judge(item, facts, knowledge)
        ack = acks.get(item.id)
        said = f"{ack.by} on {ack.at}" + (f": {ack.note}" if ack.note else "") if ack else ""
        out.append(Judged(item=item, verdict=verdict, evidence=evidence, acknowledged=said))
    return tuple(out)


def findings(open_items: Iterable[Judged]) -> tuple[Finding, ...]:
    """What the plan carries: a blocker for each urgent note that nobody has acknowledged."""
    return tuple(
        Finding(
            code=CODE,
            severity=Severity.BLOCKER,
            subject=f"release note {j.item.id} ({j.item.version})",
            message=f"{j.item.text.splitlines()[0][:200]} [{j.verdict}: {'; '.join(j.evidence)}]",
            remedy=f"Read it, act on it, then: pawl changelog … --ack {j.item.id} --by NAME.",
            minor=".".join(j.item.version.split(".")[:2]),
        )
        for j in open_items
    )
