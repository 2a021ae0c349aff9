"""Which version ran where, and since when: one track for each component of each host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from pawl.core import actions
from pawl.core.model import ClusterState

GONE = "gone"
CONTROLLERS = ("kube-controller-manager", "kube-scheduler")
Told = tuple[str, str, str | None]
"""(component, host, version)."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """From `at` on this component on this host ran `version`."""

    at: float
    version: str


class Track(msgspec.Struct, frozen=True, kw_only=True):
    component: str
    host: str
    changes: tuple[Change, ...]


def tracks(
    before: ClusterState | None, start: float, landed: Iterable[tuple[float, actions.AnyAction]]
) -> tuple[Track, ...]:
    """The cluster as it was at `start`, then each action at the time when it had landed."""
    found: dict[tuple[str, str], list[Change]] = {}

    def say(at: float, told: Told) -> None:
        component, host, version = told
        if version == GONE and (component, host) not in found:
            return
        changes = found.setdefault((component, host), [])
        if version and (not changes or changes[-1].version != version):
            changes.append(Change(at=at, version=version))

    for told in _running(before) if before is not None else ():
        say(start, told)
    for at, action in landed:
        for told in _changed(action):
            say(at, told)
    return tuple(
        Track(component=component, host=host, changes=tuple(changes))
        for (component, host), changes in found.items()
        if changes
    )


def _running(state: ClusterState) -> Iterator[Told]:
    for m in state.members:
        yield "etcd", m.host, m.version
    for s in state.api_servers:
        yield "kube-apiserver", s.host, s.version and _acting(s.version, s.emulation_version or "")
    for c in state.controllers:
        yield c.component, c.host, c.version
    for n in state.nodes:
        yield "kubelet", n.host or n.name, n.kubelet
        yield "kube-proxy", n.host or n.name, n.kube_proxy


def _changed(action: actions.AnyAction) -> Iterator[Told]:
    match action:
        case actions.SwapEtcdMember() | actions.ReplaceEtcdMachine() as a:
            yield "etcd", a.host, a.target
        case actions.SwapApiServer() as a:
            yield "kube-apiserver", a.host, _acting(a.target, a.emulate)
        case actions.FinishEmulation() as a:
            yield "kube-apiserver", a.host, a.target
        case actions.SwapController() as a:
            yield a.component, a.host, _acting(a.target, a.emulate)
        case actions.AddControlPlane() as a:
            yield from ((c, a.machine, a.target) for c in CONTROLLERS)
            yield "kube-apiserver", a.machine, _acting(a.target, a.emulate)
        case actions.RetireControlPlane() as a:
            yield from ((c, a.host, GONE) for c in ("kube-apiserver", *CONTROLLERS))
        case actions.AddNode() as a:
            yield "kubelet", a.machine, a.target
        case actions.RetireNode() as a:
            yield from ((c, a.node, GONE) for c in ("kubelet", "kube-proxy"))
        case actions.SwapNode() as a:
            yield "kubelet", a.node, a.target
        case actions.SwapKubeProxy() as a:
            yield "kube-proxy", a.host, a.target


def _acting(version: str, emulates: str) -> str:
    """ "1.37.0 as 1.36"; the version alone where it acts as itself."""
    acts_as_itself = not emulates or version.startswith(f"{emulates}.")
    return version if acts_as_itself else f"{version} as {emulates}"
