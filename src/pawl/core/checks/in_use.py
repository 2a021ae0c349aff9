"""Risks of what the hosts have in use: gates, flags, plugins and configuration that a minor on the
way does not know any more.

A component that meets one of these does not start, so the evidence (a line of a file on a host) is
proof, and the finding refuses the plan. Sources are the tables of `pawl.core.knowledge`; the
target's own binary is asked too where one is at hand (PAWL-C010).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding
from pawl.core.inuse.facts import Document, HostUse, place
from pawl.core.knowledge.answer import flags_gone, gates_of
from pawl.core.knowledge.rows import key
from pawl.core.version import Minor

CONTROL_PLANE = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "cloud-controller-manager",
)
NODE = ("kubelet", "kube-proxy")
ONE_RELEASE = "KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE"
"""The API server's escape hatch (apiserver `pkg/server/deleted_kinds.go`)."""
_ANY_GATE = ("AllAlpha", "AllBeta")

FIELDS_GONE: dict[tuple[str, str], tuple[str, str]] = {
    ("KubeProxyConfiguration", "udpIdleTimeout"): ("1.26", "it was ignored since IPVS and iptables")
}
"""Fields of component configuration that went away: the only one in 1.16-1.37, found by comparing
the published types of k8s.io/kubelet, kube-proxy and kube-scheduler."""


def target_minor(facts: Facts) -> str:
    """ "1.37" of the Kubernetes target, "" when Kubernetes stays or the tables do not reach it
    (PAWL-K003 says so)."""
    if not facts.target.kubernetes:
        return ""
    minor = str(Minor.parse(facts.target.kubernetes))
    return minor if facts.knowledge.known(minor) else ""


def judged(facts: Facts) -> Iterator[tuple[HostUse, str]]:
    """Every (host, component) that the plan restarts at a new minor."""
    for use in facts.beforehand.uses if facts.beforehand else ():
        host = facts.state.host(use.host)
        in_pool = not facts.target.pool or (host is not None and host.pool == facts.target.pool)
        parts: tuple[str, ...] = CONTROL_PLANE if facts.touches_control_plane else ()
        parts += NODE if facts.touches_nodes and in_pool else ()
        yield from ((use, component) for component in use.components if component in parts)


@dataclass(frozen=True, slots=True)
class GateUse:
    """A gate that is named on a host. `said` is the place in words: a flag or a field."""

    name: str
    on: bool
    where: str
    said: str


def gates(use: HostUse, component: str) -> Iterator[GateUse]:
    for flag in use.of(component):
        for name, on in gates_of([flag.flag]).items():
            yield GateUse(name, on, place(use.host, flag.path, flag.line), "--feature-gates")
    for document in use.config(component):
        for setting in document.settings:
            head, dot, name = setting.key.rpartition(".")
            if dot and head == "featureGates":
                where = place(use.host, document.path, setting.line)
                yield GateUse(name, setting.value.lower() != "false", where, "featureGates")


@check(
    U001="a feature gate in use is removed on the way",
    U002="a feature gate in use is locked to the other value on the way",
)
def feature_gates(facts: Facts) -> Iterator[Finding]:
    """An unknown gate is an error of flag or configuration parsing, a locked one of its check."""
    target = target_minor(facts)
    at = key(target)
    if not target:
        return
    for use, component in judged(facts):
        for gate in gates(use, component):
            row = facts.knowledge.by_gate.get(gate.name)
            if row is None or gate.name in _ANY_GATE or component not in row.components:
                continue
            word = f"{gate.name}={str(gate.on).lower()}"
            subject = f"{component} on {use.host}"
            if key(row.removed) <= at:
                last = row.stages[-1] if row.stages else None
                same = last is not None and last.default is gate.on
                yield finding(
                    "U001",
                    subject,
                    f"{gate.said} names {word}; {row.removed} has removed that gate, and "
                    f"{component} {row.removed} does not start while it is named.",
                    "Take it out and restart the component: its default is the same already."
                    if same
                    else "Take it out before the upgrade, and see that nothing depends on it: "
                    "without the gate it behaves otherwise.",
                    minor=row.removed,
                    where=gate.where,
                )
            elif key(row.locked) <= at and (stage := row.at(at)) and stage.default is not gate.on:
                yield finding(
                    "U002",
                    subject,
                    f"{gate.said} says {word}; {row.locked} locks that gate to "
                    f"{str(stage.default).lower()}, and {component} {row.locked} does not start.",
                    "Take it out, and see that the cluster works without it before the upgrade.",
                    minor=row.locked,
                    where=gate.where,
                )


@check(U003="a flag in use is removed on the way")
def removed_flags(facts: Facts) -> Iterator[Finding]:
    target = target_minor(facts)
    if not target:
        return
    for use, component in judged(facts):
        for flag in use.of(component):
            for row in flags_gone(facts.knowledge, component, [flag.flag], target):
                note = f" ({row.note})" if row.note else ""
                yield finding(
                    "U003",
                    f"{component} on {use.host}",
                    f"runs with --{row.flag}, which {row.removed} has removed{note}: "
                    f"{component} {row.removed} does not start with it.",
                    "Take it out, or move its value to where the new version wants it, and restart "
                    "the component before the upgrade.",
                    minor=row.removed,
                    where=place(use.host, flag.path, flag.line),
                )


@check(U004="an admission plugin in use is removed on the way")
def admission_plugins(facts: Facts) -> Iterator[Finding]:
    """Enabling and disabling a plugin that does not exist are both refused at start."""
    target = target_minor(facts)
    if not target:
        return
    gone = {p.plugin: p for p in facts.knowledge.plugins if key(p.removed) <= key(target)}
    for use, component in judged(facts):
        if component != "kube-apiserver":
            continue
        named = [
            (plugin.strip(), f"--{flag.name}", place(use.host, flag.path, flag.line))
            for flag in use.of(component)
            if flag.name in ("enable-admission-plugins", "disable-admission-plugins",
                             "admission-control")
            for plugin in flag.value.split(",")
        ]  # fmt: skip
        named += [
            (setting.value, "AdmissionConfiguration", place(use.host, document.path, setting.line))
            for document in use.documents
            if document.role == "admission"
            for setting in document.settings
            if setting.key.startswith("plugins[") and setting.key.endswith("].name")
        ]
        for plugin, said, where in named:
            if row := gone.get(plugin):
                yield finding(
                    "U004",
                    f"kube-apiserver on {use.host}",
                    f"{said} names the admission plugin {plugin}, which {row.removed} has removed: "
                    f"kube-apiserver {row.removed} does not start.",
                    "Replace what it did, take it out, and restart the API server.",
                    minor=row.removed,
                    where=where,
                )


@check(U005="a configuration file in use has a kind or field that is removed on the way")
def configuration(facts: Facts) -> Iterator[Finding]:
    target = target_minor(facts)
    if not target:
        return
    rows = {
        (f"{row.group}/{row.version}", row.kind): row
        for row in facts.knowledge.configurations
        if key(row.removed) <= key(target)
    }
    by_version = {api: row for (api, _), row in rows.items()}
    for use, document in _documents(facts):
        subject = f"{document.role} of {document.component} on {use.host}"
        for api, kind, line in document.objects():
            row = rows.get((api, kind)) if kind else by_version.get(api)
            if row is None:
                continue
            best = _newer(facts, row.group, row.kind, target)
            yield finding(
                "U005",
                subject,
                f"is {api} {row.kind}, which {row.removed} has removed: "
                f"{document.component} {row.removed} does not read it.",
                f"Write it as {best}." if best else "Nothing takes its place: take it out.",
                minor=row.removed,
                where=place(use.host, document.path, line),
            )
        for setting in document.settings:
            gone = FIELDS_GONE.get((document.kind, setting.key))
            if gone and key(gone[0]) <= key(target):
                yield finding(
                    "U005",
                    subject,
                    f"sets {setting.key}, which {gone[0]} has removed ({gone[1]}).",
                    "Take the field out.",
                    minor=gone[0],
                    where=place(use.host, document.path, setting.line),
                )


def _documents(facts: Facts) -> Iterator[tuple[HostUse, Document]]:
    components = {(use.host, component) for use, component in judged(facts)}
    for use in facts.beforehand.uses if facts.beforehand else ():
        for document in use.documents:
            if (use.host, document.component) in components:
                yield use, document


def _newer(facts: Facts, group: str, kind: str, target: str) -> str:
    """The newest version of a configuration kind that the target reads, "" for none."""
    there = [
        row
        for row in facts.knowledge.configurations
        if row.group == group
        and row.kind == kind
        and key(row.removed) > key(target)
        and (not row.added or key(row.added) <= key(target))
    ]
    there.sort(key=lambda r: ("alpha" not in r.version, "beta" not in r.version, r.version))
    return f"{group}/{there[-1].version} {kind}" if there else ""


@check(
    U006="an API server is told to serve an API version that is removed on the way",
    U007="an API server serves removed APIs for one release more",
)
def served_apis(facts: Facts) -> Iterator[Finding]:
    target = target_minor(facts)
    if not target:
        return
    for use, component in judged(facts):
        if component != "kube-apiserver":
            continue
        subject = f"kube-apiserver on {use.host}"
        for flag in use.of(component):
            if flag.name != "runtime-config":
                continue
            for word in flag.value.split(","):
                api, _, value = word.strip().partition("=")
                if value.lower() in ("false", "0") or not (minor := _gone(facts, api, target)):
                    continue
                yield finding(
                    "U006",
                    subject,
                    f"--runtime-config switches {api} on, which {minor} does not have any more: "
                    "whoever uses it gets 404.",
                    "Move its objects and clients to a version that stays, then take it out.",
                    minor=minor,
                    where=place(use.host, flag.path, flag.line),
                )
        for variable in use.variables:
            if variable.name == ONE_RELEASE and variable.component == component:
                if variable.value.strip("\"'").lower() in ("", "false", "0"):
                    continue
                yield finding(
                    "U007",
                    subject,
                    f"{ONE_RELEASE} is set: APIs that the running minor has removed are served "
                    "once more, and the next minor does not have them at all.",
                    "Find who uses them (pawl scan), move them, and take the variable out.",
                    minor=target,
                    where=place(use.host, variable.path, variable.line),
                )


def _gone(facts: Facts, api: str, target: str) -> str:
    """The minor that took away the last of an API named as in --runtime-config: "group/version"
    or "group/version/resource"; "" when something of it stays, or it is a word such as api/all."""
    parts = api.split("/")
    if len(parts) not in (2, 3) or parts[0] == "api":
        return ""
    rows = [
        row
        for row in facts.knowledge.apis
        if row.group == parts[0]
        and row.version == parts[1]
        and row.what != "subresource"
        and (len(parts) == 2 or row.resource == parts[2])
    ]
    if not rows or any(key(row.removed) > key(target) for row in rows):
        return ""
    return max((row.removed for row in rows), key=key)


@check(U012="something on a host that a component reads could not be read")
def unread(facts: Facts) -> Iterator[Finding]:
    """Not read is not clean."""
    for use in facts.beforehand.uses if facts.beforehand else ():
        for source in use.unread:
            yield finding(
                "U012",
                f"{source.source} on {use.host}",
                f"could not be read: {source.why}",
                "Make it readable for the SSH user (or its sudo), or waive it by name.",
                where=use.host,
            )
