"""The ways back that are open now, told from the cluster and the plan that was run.

Each offer is a `Target`: going back is planned, approved and run like any other change, so nothing
here acts. The cheapest come first; what is not offered is closed. A run that gates have paused
names them; `pawl rollback` works out its own from the steps that were begun (`engine.reverse`).
"""

from __future__ import annotations

import msgspec

from pawl.core import etcd_rules, marks, predict, skew
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Target
from pawl.core.planner_control_plane import running as server_version
from pawl.core.planner_etcd import cluster_minor
from pawl.core.planner_etcd import running as member_version
from pawl.core.planner_nodes import kubelet_version
from pawl.core.version import Minor, Version


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One way back. `seconds` is its predicted cost, `gives_up` what is lost by it ("" for
    nothing)."""

    name: str
    how: str
    target: Target
    seconds: float
    gives_up: str = ""


def offers(plan: Plan, state: ClusterState) -> tuple[Offer, ...]:
    """What is open, cheapest first."""
    found = [*_nodes(plan, state), *_api_servers(plan, state), *_etcd(plan, state)]
    return tuple(sorted(found, key=lambda o: (bool(o.gives_up), o.seconds)))


def _before(plan: Plan, component: str) -> Version | None:
    """The release that the plan began with: the newest, where several ran."""
    told = plan.source.versions.get(component, ())
    return max((Version.parse(v) for v in told), default=None)


def _any_beyond(state: ClusterState, minor: Minor) -> bool:
    span = skew.api_range(state)
    return span is not None and span[1] > minor


def _etcd(plan: Plan, state: ClusterState) -> list[Offer]:
    was = _before(plan, "etcd")
    now = cluster_minor(state)
    if was is None or now is None or not plan.target.etcd:
        return []
    versions = {m.host: member_version(m, state) for m in state.members}
    moved = [h for h, v in versions.items() if v is not None and v > was]
    lowered = [h for h, v in versions.items() if v is not None and v < was]
    going_down = Version.parse(plan.target.etcd) < was
    if going_down and any(m.downgrade_target for m in state.members):
        target = Target(etcd=str(was), only=("etcd",))
        return [
            Offer(
                name="downgrade-cancel",
                how=f"Cancel the downgrade, and bring {len(lowered)} members back to {was}.",
                target=target,
                seconds=5.0 + _swap_seconds(len(lowered)),
            )
        ]
    if not moved:
        return []
    target = Target(etcd=str(was), etcd_strategy=plan.target.etcd_strategy, only=("etcd",))
    if now <= was.minor_line:
        return [
            Offer(
                name="etcd-old-binary",
                how=f"{len(moved)} members go back to {was} on their current data, one by one.",
                target=target,
                seconds=_swap_seconds(len(moved)),
            )
        ]
    rule = etcd_rules.downgrade_rule(now, was.minor_line)
    if rule is None or was < rule.at_least:
        return []
    return [
        Offer(
            name="etcd-downgrade",
            how=f"Online downgrade to {was}: storage version first, then one member at a time.",
            target=msgspec.structs.replace(target, etcd_strategy="in-place"),
            seconds=5.0 + _swap_seconds(len(moved)),
        )
    ]


def _swap_seconds(members: int) -> float:
    return members * predict.SECONDS["swap-etcd-member"]


def _api_servers(plan: Plan, state: ClusterState) -> list[Offer]:
    was = _before(plan, "kube-apiserver")
    if was is None or not plan.target.kubernetes or _any_beyond(state, was.minor_line):
        return []
    moved = [a.host for a in state.api_servers if (v := server_version(a, state)) and v > was]
    if not moved or plan.target.control_plane_strategy == "replace":
        return []
    return [
        Offer(
            name="api-old-binary",
            how=f"{len(moved)} API servers go back to {was}; they served and stored only what "
            f"{was.minor_line} knows.",
            target=Target(kubernetes=str(was), only=("control-plane",)),
            seconds=len(moved) * predict.SECONDS["swap-api-server"],
        )
    ]


def _nodes(plan: Plan, state: ClusterState) -> list[Offer]:
    was = _before(plan, "kubelet")
    if was is None or not plan.target.kubernetes:
        return []
    moved = [n for n in state.nodes if (v := kubelet_version(n, state)) is not None and v > was]
    if not moved:
        return []
    kept = sum(marks.closed(n) for n in state.nodes)
    each = predict.SECONDS["swap-node" if plan.target.node_strategy == "in-place" else "add-node"]
    return [
        Offer(
            name="nodes-old",
            how=f"{len(moved)} nodes go back to {was}"
            + (f"; {kept} old ones still stand and are opened again." if kept else "."),
            target=Target(
                kubernetes=str(was),
                node_strategy=plan.target.node_strategy,
                only=("nodes",),
                pool=plan.target.pool,
            ),
            seconds=len(moved) * each,
        )
    ]
