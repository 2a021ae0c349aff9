"""The way back is a plan of its own, as far as an exit is open."""

from __future__ import annotations

import pytest
from harness import RUN, UP, Crash, Watch, drive, planned, versions, virtual

from pawl.core.config import PolicyConfig, SoakConfig
from pawl.core.errors import Refused
from pawl.core.events import Aborted
from pawl.core.plan import Target
from pawl.engine.effects import Effect
from pawl.engine.record import view_of
from pawl.engine.reverse import open_ways, reverse
from pawl.testing.cluster import SimCluster

OLD = {
    "etcd": {"3.5.33"},
    "kube-apiserver": {"1.36.0"},
    "emulates": {"1.36"},
    "controllers": {"1.36.0"},
    "kubelet": {"1.36.0"},
    "kube-proxy": {"1.36.0"},
}
QUICK = PolicyConfig(approvals=(), soak=SoakConfig(etcd=20.0, control_plane=20.0, node=10.0))


class KillAt(Watch):
    """SIGKILL right after an effect of a step whose id begins with `step`."""

    def __init__(self, step: str, name: str) -> None:
        super().__init__()
        self._step = step
        self._name = name

    async def after(self, effect: Effect) -> None:
        if effect.step.startswith(self._step) and effect.name == self._name:
            raise Crash


async def killed(cluster: SimCluster, target: Target, step: str, effect: str) -> object:
    plan = planned(cluster, target)
    with pytest.raises(Crash):
        await drive(cluster, plan, hook=KillAt(step, effect), holder="killed")
    return plan


async def back(cluster: SimCluster, plan: object, to_step: str = "") -> None:
    view = view_of(cluster.journal, RUN)
    way = reverse(plan, view, cluster.state(), cluster.config, to_step)  # type: ignore[arg-type]
    ended = await drive(cluster, way, holder="back", run="run-back")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why


@virtual
async def test_etcd_goes_back_from_the_mixed_state() -> None:
    cluster = SimCluster(policy=QUICK)
    target = Target(etcd="3.6.14", only=("etcd",))
    plan = await killed(cluster, target, "etcd/3.6.14/swap/etcd-3", "stop")
    await back(cluster, plan)
    assert versions(cluster)["etcd"] == {"3.5.33"}


@pytest.mark.parametrize(
    ("step", "effect"),
    [("etcd/3.5.33/enable-downgrade", "enable-downgrade"), ("etcd/3.5.33/swap/etcd-2", "start")],
)
def test_a_begun_downgrade_is_cancelled(step: str, effect: str) -> None:
    @virtual
    async def go() -> None:
        cluster = SimCluster(policy=QUICK, etcd_version="3.6.14")
        plan = await killed(cluster, Target(etcd="3.5.33", only=("etcd",)), step, effect)
        assert str(cluster.world.etcd.cluster) == "3.5"
        await back(cluster, plan)
        assert versions(cluster)["etcd"] == {"3.6.14"}
        assert cluster.world.etcd.downgrade is None
        assert str(cluster.world.etcd.cluster) == "3.6"

    go()


@virtual
async def test_api_servers_go_back_until_the_finish() -> None:
    cluster = SimCluster(policy=QUICK)
    target = Target(kubernetes="1.37.0", only=("control-plane",))
    plan = await killed(cluster, target, "control-plane/1.37.0/swap/cp-3", "start")
    assert versions(cluster)["kube-apiserver"] >= {"1.37.0"}
    await back(cluster, plan)
    assert versions(cluster) == OLD


@virtual
async def test_where_nothing_was_changed_there_is_no_way_back_to_take() -> None:
    cluster = SimCluster(policy=QUICK)
    target = Target(etcd="3.6.14", only=("etcd",))
    plan = await killed(cluster, target, "etcd/3.6.14/stage", "stage")
    with pytest.raises(Refused, match="nothing was changed after the start"):
        reverse(plan, view_of(cluster.journal, RUN), cluster.state(), cluster.config)  # type: ignore[arg-type]


@virtual
async def test_new_machines_of_the_control_plane_go_back_by_the_plan_that_is_named() -> None:
    cluster = SimCluster(policy=QUICK)
    target = Target(kubernetes="1.37.0", only=("control-plane",), control_plane_strategy="replace")
    plan = await killed(cluster, target, "control-plane/1.37.0/retire/cp-3", "remove-machine")
    with pytest.raises(Refused, match=r"pawl plan --only control-plane --to 1\.36\.0"):
        reverse(plan, view_of(cluster.journal, RUN), cluster.state(), cluster.config)  # type: ignore[arg-type]
    named = planned(cluster, Target(kubernetes="1.36.0", only=("control-plane",)))
    ended = await drive(cluster, named, holder="back", run="run-back")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert versions(cluster)["kube-apiserver"] == {"1.36.0"}


@virtual
async def test_after_the_finish_the_old_binary_is_refused_with_the_reason() -> None:
    cluster = SimCluster(policy=QUICK)
    target = Target(kubernetes="1.37.0", only=("control-plane",))
    plan = planned(cluster, target)
    assert (await drive(cluster, plan)).outcome == "done"
    with pytest.raises(Refused, match=r"serves 1\.37 proper"):
        reverse(plan, view_of(cluster.journal, RUN), cluster.state(), cluster.config)


@virtual
async def test_a_swap_that_was_begun_and_changed_nothing_needs_no_way_back() -> None:
    cluster = SimCluster(policy=QUICK)
    api = planned(cluster, Target(kubernetes="1.37.0", only=("control-plane",)))
    assert (await drive(cluster, api, run="run-0")).outcome == "done"
    nodes = Target(kubernetes="1.37.0", only=("nodes",))
    plan = await killed(cluster, nodes, "nodes/1.37.0/swap/worker-1", "cordon")
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="late.", by="test"))
    assert (await drive(cluster, plan)).outcome == "aborted"  # type: ignore[arg-type]
    with pytest.raises(Refused, match="nothing was changed after the start"):
        reverse(plan, view_of(cluster.journal, RUN), cluster.state(), cluster.config)  # type: ignore[arg-type]


@virtual
async def test_where_one_exit_is_closed_the_open_ones_are_named_and_lead_back() -> None:
    """etcd is done, API servers emulate: the old etcd is out of reach, old API servers are not."""
    cluster = SimCluster(policy=QUICK)
    plan = await killed(cluster, UP, "control-plane/1.37.0/swap/cp-2", "start")
    view = view_of(cluster.journal, RUN)
    with pytest.raises(Refused, match=r"etcd's cluster version is 3\.6"):
        reverse(plan, view, cluster.state(), cluster.config)  # type: ignore[arg-type]
    (way,) = open_ways(plan, view, cluster.state(), cluster.config)  # type: ignore[arg-type]
    assert way.kept == "etcd/3.6.14/converge"
    ended = await drive(cluster, way.plan, holder="back", run="run-back")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    now = versions(cluster)
    assert (now["etcd"], now["kube-apiserver"]) == ({"3.6.14"}, {"1.36.0"})


@virtual
async def test_the_furthest_way_back_comes_first() -> None:
    cluster = SimCluster(policy=QUICK)
    plan = await killed(cluster, Target(etcd="3.6.14", only=("etcd",)), "etcd/3.6.14/swap", "stop")
    ways = open_ways(plan, view_of(cluster.journal, RUN), cluster.state(), cluster.config)  # type: ignore[arg-type]
    assert [w.kept for w in ways] == [""]  # what was done in the preflight needs no way back


@virtual
async def test_after_the_last_member_the_downgrade_is_named() -> None:
    cluster = SimCluster(policy=QUICK)
    plan = planned(cluster, Target(etcd="3.6.14", only=("etcd",)))
    assert (await drive(cluster, plan)).outcome == "done"
    with pytest.raises(Refused, match=r"pawl plan --only etcd --etcd 3\.5"):
        reverse(plan, view_of(cluster.journal, RUN), cluster.state(), cluster.config)


@virtual
async def test_nodes_go_back_and_what_came_before_stays() -> None:
    cluster = SimCluster(policy=QUICK)
    plan = await killed(cluster, UP, "nodes/1.37.0/swap/worker-2", "start")
    last_of_the_control_plane = next(
        s.id
        for s in reversed(plan.steps)  # type: ignore[attr-defined]
        if s.phase == "control-plane"
    )
    await back(cluster, plan, last_of_the_control_plane)
    assert versions(cluster)["kubelet"] == {"1.36.0"}
    assert versions(cluster)["kube-apiserver"] == {"1.37.0"}
    assert not [n for n in cluster.state().nodes if n.unschedulable]
