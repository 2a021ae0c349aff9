"""The control-plane part of a plan: API servers, the two-step finish, then the controllers.

Two steps, where the binary can emulate its predecessor (1.32 on): every API server first runs the
new binary as the old minor (`--emulated-version`), then soaks, and only after an approval runs as
itself. Until that finish the old binary is an open way back, because nothing was served or stored
that it does not know.

kube-controller-manager, kube-scheduler and cloud-controller-manager wait for the finish of *every*
API server. The skew policy forbids them to be newer than what the oldest API server emulates
(KEP-4330), and they gain nothing from going earlier; at one minor older they are always legal.

A replaced control-plane machine brings all components at once. So there the controllers emulate
the old minor as well, and finish after the API servers; without emulation such a machine would
bring a controller-manager newer than the oldest API server, which is refused.
"""

from __future__ import annotations

from pawl.core import landed, marks, skew
from pawl.core.actions import (
    AddControlPlane,
    FinishEmulation,
    PointOfNoReturn,
    RetireControlPlane,
    Soak,
    StageBinaries,
    SwapApiServer,
    SwapController,
)
from pawl.core.draft import Draft
from pawl.core.model import ApiServer, ClusterState, Controller
from pawl.core.plan import Exit
from pawl.core.projection import CONTROLLERS
from pawl.core.version import Minor, Version

FINISH = "control-plane-finish"
_SWAP_DISRUPTION = "none through the load balancer: drained before the stop, back when ready"


def running(server: ApiServer, state: ClusterState) -> Version | None:
    """The server's version; of a stopped one, what its `current` link names."""
    if server.version is not None:
        return Version.parse(server.version)
    return linked(state, server.host, "kube-apiserver")


def linked(state: ClusterState, host: str, component: str) -> Version | None:
    found = state.host(host)
    text = found.current.get(component) if found else None
    return Version.parse(text) if text else None


def controller_version(c: Controller, state: ClusterState) -> Version | None:
    return Version.parse(c.version) if c.version else linked(state, c.host, c.component)


def plan_control_plane(draft: Draft, target: Version) -> None:
    """Add all steps that bring API servers and controllers to `target`, one minor up at most."""
    versions = [v for a in draft.state.api_servers if (v := running(a, draft.state))]
    if not versions:
        draft.refuse("No API server's version could be read: mend `pawl status` first.")
        return
    if target < max(versions):
        _back(draft, target)
        return
    old = _oldest_effective(draft.state, versions)
    already = _any_at(draft.state, target.minor_line)
    two_step = (
        draft.target.two_step
        and old < target.minor_line
        and skew.can_emulate(target, old)
        and not already
    )
    emulate = str(old) if two_step else ""
    crossing = old < target.minor_line
    if draft.target.control_plane_strategy == "replace":
        if crossing and not two_step and not already:
            draft.refuse(
                f"Replacing control-plane machines would bring a controller-manager of "
                f"{target.minor_line} beside API servers of {old}: use --strategy "
                "control-plane=in-place, or the two-step upgrade."
            )
            return
        _replace(draft, target, emulate)
    else:
        _stage(draft, target)
        if crossing and not two_step and not already:
            _direct_gate(draft, target, old)
        _swap_all(draft, target, emulate, old)
    _finish(draft, target, old)
    _controllers(draft, target)


def _oldest_effective(state: ClusterState, versions: list[Version]) -> Minor:
    span = skew.api_range(state)
    return span[0] if span is not None else min(versions).minor_line


def _any_at(state: ClusterState, minor: Minor) -> bool:
    """Whether an API server already serves as `minor`: then the finish has begun."""
    return any(
        (m := skew.effective(a, state)) is not None and m >= minor for a in state.api_servers
    )


def _hosts(state: ClusterState) -> list[ApiServer]:
    """Interrupted or unready servers first, then by name."""
    return sorted(
        state.api_servers,
        key=lambda a: (a.ready and landed.in_balancer(a.host, state), a.host),
    )


def _stage(draft: Draft, target: Version) -> None:
    """Binaries are laid ready while etcd soaks, if it does and runs on hosts of its own, which no
    upload disturbs: nobody waits for them then."""
    begin, staged = draft.frontier, []
    lay = begin
    stacked = {m.host for m in draft.state.members} & {a.host for a in draft.state.api_servers}
    if draft.before_soak is not None and not stacked:
        lay, draft.before_soak = draft.before_soak, None
    for server in sorted(draft.state.api_servers, key=lambda a: a.host):
        beside = sorted(c.component for c in draft.state.controllers if c.host == server.host)
        wanted = ("kube-apiserver", *beside)
        for component in wanted:
            at = (
                running(server, draft.state)
                if component == "kube-apiserver"
                else linked(draft.state, server.host, component)
            )
            if at == target:
                continue
            step = f"control-plane/{target}/stage/{component}/{server.host}"
            if draft.add(
                step,
                "control-plane",
                StageBinaries(host=server.host, component=component, version=str(target)),
                why="The binaries lie ready, and have accepted the flags in use, before anything "
                "stops.",
                after=lay,
            ):
                staged.append(step)
    if staged:
        draft.frontier = tuple(staged) if lay == begin else (*begin, *staged)


def _direct_gate(draft: Draft, target: Version, old: Minor) -> None:
    draft.add(
        f"control-plane/{target}/point-of-no-return",
        "control-plane",
        PointOfNoReturn(
            approval=FINISH,
            loses=f"Without emulation the first API server of {target.minor_line} may store what "
            f"{old} cannot read.",
        ),
        why="The last moment before an API server of the new minor writes.",
        approval=FINISH,
    )


def _swap_all(draft: Draft, target: Version, emulate: str, old: Minor) -> None:
    single = len(draft.state.api_servers) == 1
    back = Exit(
        name="old-binary",
        how=f"Each API server goes back to the {old} binary: it serves and stored only what {old} "
        "knows.",
        seconds=18.0 * len(draft.state.api_servers),
    )
    for server in _hosts(draft.state):
        now = running(server, draft.state)
        if now is not None and now > target:
            continue
        acts_as = skew.effective(server, draft.state)
        if now == target and acts_as is not None and acts_as < target.minor_line:
            emulated = str(acts_as)  # already swapped; only the finish is left
        else:
            emulated = emulate
        draft.add(
            f"control-plane/{target}/swap/{server.host}",
            "control-plane",
            SwapApiServer(
                host=server.host,
                source=str(now) if now else "",
                target=str(target),
                emulate=emulated,
            ),
            why=f"The new binary acting as {emulated}: nothing new is served or stored."
            if emulated
            else "One API server at a time; the others carry the load.",
            risk="One API server less behind the load balancer meanwhile.",
            disruption="the API is down for the restart" if single else _SWAP_DISRUPTION,
            exit=back if emulated or now is None or now.minor_line == target.minor_line else None,
        )


def _replace(draft: Draft, target: Version, emulate: str) -> None:
    servers = _hosts(draft.state)
    old = [a for a in servers if (v := running(a, draft.state)) is None or v < target]
    told = [v for a in old if (v := running(a, draft.state)) is not None]
    back = Exit(
        name="old-binary",
        how=f"The old binary on the new machines: pawl plan --only control-plane --to {min(told)}."
        if told
        else "The old binary on the new machines.",
        seconds=18.0 * len(servers),
    )
    for server in old:
        host = draft.state.host(server.host)
        pool = host.pool if host else "default"
        name = marks.successor(server.host, str(target))
        draft.add(
            f"control-plane/{target}/add/{name}",
            "control-plane",
            AddControlPlane(machine=name, pool=pool, target=str(target), emulate=emulate),
            why=f"Takes the place of {server.host}: verified at its own address, then balanced.",
            risk="A new machine needs room at the provider.",
            exit=back,
        )
        draft.add(
            f"control-plane/{target}/retire/{server.host}",
            "control-plane",
            RetireControlPlane(host=server.host),
            why="Drained out of the load balancer, in-flight requests to zero, then removed.",
            disruption=_SWAP_DISRUPTION,
        )


def _finish(draft: Draft, target: Version, old: Minor) -> None:
    emulating = [
        a
        for a in sorted(draft.state.api_servers, key=lambda a: a.host)
        if running(a, draft.state) == target
        and landed.satisfied(FinishEmulation(host=a.host, target=str(target)), draft.state)
        is not True
    ]
    if not emulating:
        return
    if not _any_at(draft.state, target.minor_line):
        draft.add(
            f"control-plane/{target}/soak",
            "control-plane",
            Soak(gate="control-plane", seconds=draft.config.policy.soak.control_plane),
            why=f"All API servers run the new binary as {old}; until the finish the old binary is "
            "an open way back.",
        )
        draft.add(
            f"control-plane/{target}/point-of-no-return",
            "control-plane",
            PointOfNoReturn(
                approval=FINISH,
                loses=f"After the finish API servers serve and store {target.minor_line}: the "
                f"{old} binary is no longer a safe way back.",
            ),
            why="The last moment at which the old API server binary is a way back.",
            approval=FINISH,
        )
    single = len(draft.state.api_servers) == 1
    for server in emulating:
        draft.add(
            f"control-plane/{target}/finish/{server.host}",
            "control-plane",
            FinishEmulation(host=server.host, target=str(target)),
            why="The same binary without the emulated version; one API server at a time.",
            risk="From the first one on, objects may be stored that the old minor does not know.",
            disruption="the API is down for the restart" if single else _SWAP_DISRUPTION,
            exit=Exit(
                name="snapshot",
                how="Restore of the etcd snapshot; everything written since is lost. Nodes that "
                "are new by then go back first.",
                seconds=300.0,
            ),
        )


def _controllers(draft: Draft, target: Version) -> None:
    for component in CONTROLLERS:
        mine = [c for c in draft.state.controllers if c.component == component]
        for c in sorted(mine, key=lambda c: (c.healthy, c.leader, c.host)):
            now = controller_version(c, draft.state)
            if now is not None and now > target:
                continue
            draft.add(
                f"control-plane/{target}/{component}/{c.host}",
                "control-plane",
                SwapController(
                    component=component,
                    host=c.host,
                    source=str(now) if now else "",
                    target=str(target),
                ),
                why="Every API server serves the new minor now, so it may follow; the holder of "
                "the lease comes last.",
                risk="Its lease moves to another host, or back after the restart.",
                disruption="control loops pause for some seconds, until another has the Lease",
            )


def _back(draft: Draft, target: Version) -> None:
    """The old binary again, open until the finish of the two-step upgrade."""
    state = draft.state
    beyond = [
        a.host
        for a in state.api_servers
        if (m := skew.effective(a, state)) is not None and m > target.minor_line
    ]
    if beyond:
        draft.refuse(
            f"API server {', '.join(beyond)} already serves a newer minor than "
            f"{target.minor_line}: after the finish the old binary is no safe way back; restore a "
            "snapshot of etcd, or stay."
        )
        return
    for component in CONTROLLERS:
        for c in state.controllers:
            now = controller_version(c, state)
            if c.component == component and now is not None and now > target:
                _stage_one(draft, target, component, c.host)
                draft.add(
                    f"control-plane/{target}/{component}/{c.host}",
                    "control-plane",
                    SwapController(
                        component=component, host=c.host, source=str(now), target=str(target)
                    ),
                    why="Controllers go back before API servers: they must not be newer.",
                )
    single = len(state.api_servers) == 1
    for server in _hosts(state):
        now = running(server, state)
        if now == target and landed.satisfied(
            SwapApiServer(host=server.host, source=str(now), target=str(target)), draft.state
        ):
            continue
        _stage_one(draft, target, "kube-apiserver", server.host)
        draft.add(
            f"control-plane/{target}/swap/{server.host}",
            "control-plane",
            SwapApiServer(host=server.host, source=str(now) if now else "", target=str(target)),
            why="Back to the old binary, which knows everything that was stored meanwhile.",
            risk="One API server less behind the load balancer meanwhile.",
            disruption="the API is down for the restart" if single else _SWAP_DISRUPTION,
        )


def _stage_one(draft: Draft, target: Version, component: str, host: str) -> None:
    draft.add(
        f"control-plane/{target}/stage/{component}/{host}",
        "control-plane",
        StageBinaries(host=host, component=component, version=str(target)),
        why="The old binary is kept where it was, so this is done at once.",
    )
