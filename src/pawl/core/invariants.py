"""What must hold all the while, asked of a state that was observed or projected.

The planner projects every step that it adds (`during`, `after`), the decision projects the step
that it is about to start, and both ask `violations`: so the hard invariants are asserted twice,
over states that nobody had to wait for.

The invariants:
  1. etcd keeps quorum, unless it has a single member, whose restart the plan announces;
  2. at most one etcd member and at most one API server are down at once;
  3. no component breaches the version skew policy against any live one (an API server counts as
     what it emulates);
  4. at least one API server serves, unless there is a single one.
"""

from __future__ import annotations

from pawl.core import landed, quorum, skew
from pawl.core.model import ApiServer, ClusterState
from pawl.core.projection import after, during

__all__ = ["after", "during", "landed_serving", "violations"]


def violations(state: ClusterState) -> tuple[str, ...]:
    """Which invariants this state breaks, one sentence each."""
    found = list(skew.breaches(state))
    voters = state.voters
    down = [m.name for m in voters if not m.healthy]
    if len(voters) > 1 and not quorum.kept(state):
        found.append(
            f"etcd has {len(voters) - len(down)} of {len(voters)} voters healthy and needs "
            f"{quorum.size(len(voters))} for quorum."
        )
    elif len(down) > 1:
        found.append(f"etcd members {', '.join(down)} are down at once.")
    servers = state.api_servers
    silent = [a.host for a in servers if not landed_serving(a, state)]
    if len(servers) > 1 and len(silent) == len(servers):
        found.append("no API server serves through the load balancer.")
    elif len(silent) > 1:
        found.append(f"API servers {', '.join(silent)} are out of service at once.")
    return tuple(found)


def landed_serving(server: ApiServer, state: ClusterState) -> bool:
    return server.ready and landed.in_balancer(server.host, state)
