"""A state with one fact changed, and everything else as it was.

    edits.node(state, "worker-1", ready=False)

The words in which a projection says what an action does. A name that the state does not have
changes nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from pawl.core import flags
from pawl.core.model import ClusterState, UnitState


def member(state: ClusterState, host: str, **changes: object) -> ClusterState:
    return replace(
        state,
        members=tuple(replace(m, **changes) if m.host == host else m for m in state.members),
    )


def host(state: ClusterState, name: str, **changes: object) -> ClusterState:
    return replace(
        state, hosts=tuple(replace(h, **changes) if h.name == name else h for h in state.hosts)
    )


def api_server(state: ClusterState, host: str, **changes: object) -> ClusterState:
    return replace(
        state,
        api_servers=tuple(
            replace(a, **changes) if a.host == host else a for a in state.api_servers
        ),
    )


def balancer(state: ClusterState, host: str, **changes: object) -> ClusterState:
    return replace(
        state,
        balancer=tuple(replace(b, **changes) if b.host == host else b for b in state.balancer),
    )


def node(state: ClusterState, name: str, **changes: object) -> ClusterState:
    return replace(
        state, nodes=tuple(replace(n, **changes) if n.name == name else n for n in state.nodes)
    )


def controller(state: ClusterState, component: str, host: str, **changes: object) -> ClusterState:
    return replace(
        state,
        controllers=tuple(
            replace(c, **changes) if c.component == component and c.host == host else c
            for c in state.controllers
        ),
    )


def machine(state: ClusterState, name: str, **changes: object) -> ClusterState:
    return replace(
        state,
        machines=tuple(replace(m, **changes) if m.name == name else m for m in state.machines),
    )


def linked(state: ClusterState, name: str, component: str, version: str) -> ClusterState:
    """The host's link says this version of the component."""
    found = state.host(name)
    if found is None:
        return state
    return host(state, name, current={**found.current, component: version})


def emulation(state: ClusterState, name: str, component: str, minor: str) -> ClusterState:
    """The component's flags on the host say this emulated minor, "" for none."""
    found = state.host(name)
    if found is None:
        return state
    now = flags.with_emulation(found.flags.get(component, ()), minor)
    return host(state, name, flags={**found.flags, component: now})


def unit(state: ClusterState, name: str, component: str, active: str) -> ClusterState:
    """The component's systemd unit on the host is in this state."""
    found = state.host(name)
    if found is None:
        return state
    named = f"{component}.service"
    rest = tuple(u for u in found.units if u.name != named)
    return host(state, name, units=(*rest, UnitState(name=named, active=active)))


def leader(state: ClusterState, host: str) -> ClusterState:
    """The member of this host leads, and no other."""
    return replace(state, members=tuple(replace(m, leader=m.host == host) for m in state.members))


def leader_away(state: ClusterState, away: str, prefer: tuple[str, ...] = ()) -> ClusterState:
    """Leadership from `away` to the first healthy voter, those in `prefer` first."""
    others = [m.host for m in state.voters if m.host != away and m.healthy]
    wanted = [h for h in prefer if h in others] + others
    return leader(state, wanted[0]) if wanted else state
