"""What a minor on the way asks of the machines: container runtime, cgroups, kernel, providers.

The rows and their sources are the table `demands` of `pawl.core.knowledge`. A demand without which
a component does not start refuses the plan; one that ends support only warns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pawl.core.checks.facts import Facts, check, finding
from pawl.core.checks.in_use import gates, judged, target_minor
from pawl.core.findings import Finding
from pawl.core.inuse.facts import HostUse, place
from pawl.core.knowledge.rows import Demand, key
from pawl.core.model import Node

_RUNTIME = re.compile(r"^(?P<name>[\w-]+)(?:://| )v?(?P<version>\d+\.\d+(?:\.\d+)?)")
FAIL_CGROUP_V1 = "1.35"
"""From here a kubelet refuses cgroup v1 unless its configuration says failCgroupV1: false
(kubernetes/kubernetes#134298)."""


@check(U008="the container runtime is older than a minor on the way asks for")
def runtimes(facts: Facts) -> Iterator[Finding]:
    target = target_minor(facts)
    if not target or facts.beforehand is None:
        return
    for node in _nodes(facts):
        match = _RUNTIME.match(node.runtime)
        if match is None:
            continue
        name, version = match["name"], _numbers(match["version"])
        subject = f"{name} {match['version']} on {node.name}"
        if name == "docker" and key(target) >= (1, 24):
            yield finding(
                "U008",
                subject,
                "is reached through dockershim, which 1.24 has removed: the kubelet does not "
                "start.",
                "Move the node to containerd or CRI-O first.",
                minor="1.24",
                where=node.name,
            )
        elif name == "containerd" and version < (1, 6) and key(target) >= (1, 26):
            yield finding(
                "U008",
                subject,
                "speaks no CRI v1, without which a kubelet of 1.26 does not register its node.",
                "Upgrade containerd to 1.6 or newer first.",
                minor="1.26",
                where=node.name,
            )
        elif unmet := _unmet(facts, name, version, node.kubelet or "", target):
            yield finding(
                "U008",
                subject,
                f"is older than {unmet.minor} is supported with ({unmet.value}: {unmet.demand}).",
                f"Upgrade it before or soon after; source: {unmet.source}.",
                minor=unmet.minor,
                where=node.name,
                warn=True,
            )


def _nodes(facts: Facts) -> Iterator[Node]:
    """The nodes whose kubelet the plan takes to a new minor."""
    for node in facts.state.nodes if facts.touches_nodes else ():
        host = facts.state.host(node.host)
        if not facts.target.pool or (host and host.pool == facts.target.pool):
            yield node


def _unmet(
    facts: Facts, name: str, version: tuple[int, ...], kubelet: str, target: str
) -> Demand | None:
    """What the version misses: the first demand after the kubelet's own minor, or the newest of
    those that are missed already."""
    rows = [
        row
        for row in sorted(facts.knowledge.demands, key=lambda r: key(r.minor))
        if row.on == name and key(row.minor) <= key(target) and not _meets(version, row.value)
    ]
    now = _numbers(kubelet)[:2]
    ahead = [row for row in rows if key(row.minor) > now]
    return ahead[0] if ahead else rows[-1] if rows else None


def _meets(version: tuple[int, ...], value: str) -> bool:
    """Whether a version meets "2.2.0+, 1.7.28+": at least the floor of its own minor line, or
    newer than every line that is named."""
    floors = [_numbers(word.strip().rstrip("+")) for word in value.split(",")]
    own = [f for f in floors if f[:2] == version[:2]]
    return version >= own[0] if own else version[:2] > max(f[:2] for f in floors)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


@check(U009="the kubelet will refuse cgroup v1")
def cgroups(facts: Facts) -> Iterator[Finding]:
    target = target_minor(facts)
    if not target or key(target) < key(FAIL_CGROUP_V1):
        return
    for use, component in judged(facts):
        host = facts.state.host(use.host)
        if component != "kubelet" or host is None or host.cgroup_version != 1:
            continue
        allowed, where = _allows_v1(use)
        if allowed:
            yield finding(
                "U009",
                f"kubelet on {use.host}",
                "runs on cgroup v1, which is deprecated; failCgroupV1: false still lets it start.",
                "Move the node to cgroup v2 in one of the next upgrades.",
                where=where,
                warn=True,
            )
        else:
            yield finding(
                "U009",
                f"kubelet on {use.host}",
                f"runs on cgroup v1, which a kubelet of {FAIL_CGROUP_V1} refuses by default.",
                "Boot the host with cgroup v2, or set failCgroupV1: false in its configuration.",
                minor=FAIL_CGROUP_V1,
                where=where,
            )


def _allows_v1(use: HostUse) -> tuple[bool, str]:
    """Whether failCgroupV1 is false (the flag counts over the files, a later file over an earlier),
    and where that is said."""
    allowed, where = False, use.host
    for document in use.config("kubelet"):
        where = place(use.host, document.path, document.line) if where == use.host else where
        if said := document.setting("failCgroupV1"):
            allowed = said.value.lower() == "false"
            where = place(use.host, document.path, said.line)
    for flag in use.of("kubelet"):
        if flag.name == "fail-cgroupv1":
            allowed = flag.value.lower() == "false"
            where = place(use.host, flag.path, flag.line)
    return allowed, where


@check(U010="the kernel is older than a feature in use asks for")
def kernels(facts: Facts) -> Iterator[Finding]:
    """Floors of the kernel belong to features: only those that are switched on are judged."""
    target = target_minor(facts)
    if not target:
        return
    for use, component in judged(facts):
        host = facts.state.host(use.host)
        kernel = _numbers(host.kernel)[:2] if host else ()
        if not kernel:
            continue
        for row in facts.knowledge.demands:
            if row.on != "kernel" or key(row.minor) > key(target) or kernel >= _numbers(row.value):
                continue
            if where := _wants(use, component, row.demand):
                yield finding(
                    "U010",
                    f"kernel {host.kernel if host else ''} on {use.host}",
                    f"is older than {row.value}, which {component} wants for what is switched on "
                    f"({row.demand}).",
                    "Upgrade the kernel, or switch the feature off.",
                    minor=row.minor,
                    where=where,
                    warn=True,
                )


def _wants(use: HostUse, component: str, demand: str) -> str:
    """Where a feature with a kernel floor is switched on; "" when it is not."""
    if demand == "nftables kube proxy" and component == "kube-proxy":
        for flag in use.of(component):
            if flag.name == "proxy-mode" and flag.value == "nftables":
                return place(use.host, flag.path, flag.line)
        for document in use.config(component):
            mode = document.setting("mode")
            if mode and mode.value == "nftables":
                return place(use.host, document.path, mode.line)
    if demand == "Memory QoS min" and component == "kubelet":
        return next((g.where for g in gates(use, component) if g.name == "MemoryQoS" and g.on), "")
    return ""


@check(U011="a flag in use names a cloud provider that is removed on the way")
def providers(facts: Facts) -> Iterator[Finding]:
    target = target_minor(facts)
    if not target:
        return
    gone = {
        row.name: row
        for row in facts.knowledge.in_tree
        if row.what == "cloud provider" and key(row.removed) <= key(target)
    }
    for use, component in judged(facts):
        for flag in use.of(component):
            row = gone.get(flag.value) if flag.name == "cloud-provider" else None
            if row is not None:
                yield finding(
                    "U011",
                    f"{component} on {use.host}",
                    f"--cloud-provider={row.name} names an in-tree provider that {row.removed} has "
                    "removed: the component does not start.",
                    "Move to the external cloud controller (--cloud-provider=external) first.",
                    minor=row.removed,
                    where=place(use.host, flag.path, flag.line),
                )
