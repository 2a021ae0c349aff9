"""etcd's quorum arithmetic, for a step that keeps the voter in the membership.

N voters need q = N // 2 + 1 of them. While one member is stopped for a swap or its machine is
rebuilt on the same data disk, N stays what it is. So the rule is:

    healthy voters other than the target >= q          (the step may be finished)
    all other voters healthy, no learner, no alarm     (a voluntary step may be begun)

The first alone would let a five-member cluster be rolled with one member already lost; a second
fault would then stop all writes, so a voluntary step asks for more. It differs from Cluster API's
projection, which is for remove-then-add and would allow two members to become one.

Two members tolerate no stop at all (q = 2), so they are refused. One member has no quorum to
keep: its restart is an outage, allowed only when announced.
"""

from __future__ import annotations

from pawl.core.model import ClusterState, EtcdMember


def size(voters: int) -> int:
    """Voters that must be up for a cluster of `voters`."""
    return voters // 2 + 1


def healthy_others(state: ClusterState, host: str) -> tuple[EtcdMember, ...]:
    return tuple(m for m in state.voters if m.host != host and m.healthy)


def kept(state: ClusterState) -> bool:
    """Whether the cluster has quorum now. True where there is no etcd to speak of."""
    voters = state.voters
    return not voters or sum(m.healthy for m in voters) >= size(len(voters))


def announced_outage(state: ClusterState) -> bool:
    """A single member: every restart is an outage that the plan announces."""
    return len(state.voters) == 1


def why_not_stop(state: ClusterState, host: str) -> str:
    """Why the member on `host` must not be stopped now; "" when it may.

    A target that is already down (an interrupted step) may always be worked on: nothing more is
    lost by it, and when a second member has failed meanwhile it is what brings quorum back.
    """
    voters = state.voters
    target = state.member(host)
    if target is None:
        return f"no etcd member is known on {host}."
    if len(voters) == 1 or not target.healthy:
        return ""
    if len(voters) == 2:
        return "two etcd members tolerate no stop: add a third member first."
    others = healthy_others(state, host)
    need = size(len(voters))
    sick = [m.name for m in voters if m.host != host and not m.healthy]
    if len(others) < need:
        return (
            f"only {len(others)} of {len(voters)} etcd voters besides {host} are healthy, and "
            f"{need} are needed for quorum: mend {', '.join(sick)} first."
        )
    if sick:
        return (
            f"etcd member {', '.join(sick)} is not healthy; a voluntary stop of {host} needs all "
            "others healthy."
        )
    learners = [m.name for m in state.members if m.learner]
    if learners:
        return f"etcd learner {', '.join(learners)} is left over: promote or remove it first."
    return alarmed(state)


def alarmed(state: ClusterState) -> str:
    """Which alarms stand, "" for none. With NOSPACE nothing can be written, nor pawl's Lease."""
    alarms = sorted({a for m in state.members for a in m.alarms})
    if alarms:
        return f"etcd alarm {', '.join(alarms)} is raised: clear its cause and disarm it first."
    return ""
