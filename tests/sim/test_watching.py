"""Waits watch: what happens is met within an event, and a broken invariant pauses at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from harness import RUN, drive, nodes_planned, planned, resume, virtual
from msgspec.structs import replace
from test_faults import QUICK, nodes_only, quick
from test_moving import with_chain

from pawl.core import marks
from pawl.core.config import LimitConfig, TimeoutConfig
from pawl.core.events import EffectIntended, Paused, Quarantined, Waiting
from pawl.core.pace import Pace
from pawl.core.plan import Target
from pawl.engine.invariance import APART
from pawl.testing.cluster import SimCluster
from pawl.testing.pods import Deployment, SimPod
from pawl.testing.world import World


def first_release(cluster: SimCluster, then: Callable[[World], None]) -> None:
    """Right after the first pod was released."""
    settle = cluster.world.changed

    def changed(verb: str, target: str) -> None:
        settle(verb, target)
        if verb == "release":
            cluster.world.changed = settle  # type: ignore[method-assign]
            then(cluster.world)

    cluster.world.changed = changed  # type: ignore[method-assign]


def paused_at(cluster: SimCluster) -> float:
    (event,) = [e for e in cluster.journal.events(RUN) if isinstance(e, Paused)]
    return event.at


@virtual
async def test_a_workload_that_loses_a_pod_beside_its_surge_pauses_the_run() -> None:
    cluster = with_chain()
    at: list[float] = []

    def lose(world: World) -> None:
        released = next(p for p in world.pods.pods.values() if p.released)
        other = next(
            p
            for p in world.pods.pods.values()
            if p.owner == released.owner and not p.released and p.ready_at <= world.now
        )
        other.ready_at = world.now + 500.0
        at.append(world.now)

    first_release(cluster, lose)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused"
    assert "are Ready while it surges: one was lost beside the move" in ended.why
    assert paused_at(cluster) - at[0] < 0.5
    assert not [n for n in cluster.state().nodes if n.unschedulable]


@virtual
async def test_fewer_that_are_wanted_are_no_loss() -> None:
    """An autoscaler scales down in the middle of a surge."""
    cluster = with_chain()

    def fewer(world: World) -> None:
        world.pods.deployments[1].replicas -= 1

    first_release(cluster, fewer)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why


@virtual
async def test_a_pod_that_lands_on_a_closed_node_pauses_the_run() -> None:
    cluster = with_chain()
    at: list[float] = []

    def lands(world: World) -> None:
        def bind() -> None:
            node = next(n.name for n in world.nodes.values() if n.unschedulable)
            at.append(world.now)
            world.pods.pods["stray"] = SimPod(
                namespace="shop", name="stray", uid="stray", node=node,
                owner="ReplicaSet/stray-1", ready_at=world.now,
            )  # fmt: skip

        world.later(3.0, bind)

    first_release(cluster, lands)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused"
    assert "Pod shop/stray landed on worker-" in ended.why
    assert "would have to move twice" in ended.why
    assert paused_at(cluster) - at[0] < APART + 0.5


@virtual
async def test_a_pod_that_lands_on_a_node_which_has_just_opened_is_no_breach() -> None:
    """The pod's event may come before the node's."""
    cluster = with_chain()

    def lands(world: World) -> None:
        def bind() -> None:
            node = next(n for n in world.nodes.values() if n.unschedulable)
            world.pods.pods["stray"] = SimPod(
                namespace="shop", name="stray", uid="stray", node=node.name,
                owner="ReplicaSet/stray-1", ready_at=world.now,
            )  # fmt: skip
            world.later(APART - 0.2, lambda: setattr(node, "unschedulable", False))

        world.later(3.0, bind)

    first_release(cluster, lands)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert "landed on" not in ended.why


@virtual
async def test_a_node_that_is_lost_beside_the_move_pauses_the_run() -> None:
    cluster = with_chain()
    at: list[float] = []

    def lost(world: World) -> None:
        node = world.nodes["worker-3"]
        world.hosts["worker-3"].units["kubelet"].ready_at = float("inf")
        node.last_report = world.now - 1000.0
        at.append(world.now)

    first_release(cluster, lost)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused"
    assert "Node worker-3 was Ready and is not any more. Look at it." in ended.why
    assert paused_at(cluster) - at[0] < 0.5


@virtual
async def test_a_node_that_is_worked_on_may_be_away() -> None:
    """Its kubelet restarts, and takes longer than the API waits for it."""
    cluster = with_chain()
    cluster.world.on(
        "after",
        "stop",
        "worker-1/kubelet",
        lambda world: setattr(world.nodes["worker-1"], "last_report", world.now - 1000.0),
    )
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why


def replaced(cluster: SimCluster) -> Target:
    return replace(nodes_only(cluster), node_strategy="replace")


@pytest.mark.parametrize("seconds", [60.0, 20.0])
@virtual
async def test_a_successor_without_a_place_for_so_long_pauses_the_run(seconds: float) -> None:
    """The scheduler finds no node, though there is room enough in all."""
    cluster = with_chain()
    at: list[float] = []

    def full(world: World) -> None:
        world.pods.full = True
        at.append(world.now)

    first_release(cluster, full)
    paced(cluster, Pace(homeless=seconds), eviction=600.0)
    ended = await drive(cluster, planned(cluster, replaced(cluster)))
    assert ended.outcome == "paused"
    assert "has no node: 0/4 nodes are available" in ended.why
    assert f"For {seconds:.0f} s now. Make room." in ended.why
    assert seconds <= paused_at(cluster) - at[0] < seconds + 30.0


def paced(cluster: SimCluster, pace: Pace, eviction: float = 60.0) -> None:
    policy = replace(QUICK, pace=pace, timeouts=TimeoutConfig(eviction=eviction))
    cluster.config = replace(cluster.config, policy=policy)


@pytest.mark.parametrize("seconds", [60.0, 25.0])
@virtual
async def test_the_last_successors_have_their_own_time(seconds: float) -> None:
    cluster = with_chain()
    pods = cluster.world.pods
    pods.deployments[:] = [
        Deployment(namespace="shop", name="slow", replicas=3, surges=False, starts=1e6)
    ]
    for pod in [p for p in pods.pods.values() if not p.name.startswith("store")]:
        del pods.pods[pod.uid]
    pods.deployments[0].name = "store"
    paced(cluster, Pace(last_ready=seconds), eviction=10.0)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused"
    assert f"is not Ready elsewhere after {seconds:.0f} s" in ended.why


@virtual
async def test_how_soon_a_pod_that_was_refused_is_asked_again_is_a_setting() -> None:
    cluster = with_chain()
    paced(cluster, Pace(retry=7.0, retry_most=7.0))
    refused = next(n for n in cluster.world.pods.names.values() if n.startswith("store"))
    cluster.world.pods.webhook_denials[refused] = 3
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why
    asked = [
        e.at
        for e in cluster.journal.events(RUN)
        if isinstance(e, EffectIntended) and e.target == f"shop/{refused}"
    ]
    assert len(asked) == 4
    assert all(7.0 <= b - a < 8.0 for a, b in pairwise(asked))


@pytest.mark.parametrize(("busy", "slower"), [(0.8, False), (0.5, True)])
@virtual
async def test_a_provider_with_little_left_gets_clients_more_slowly(
    busy: float, slower: bool
) -> None:
    cluster = with_chain()
    paced(cluster, Pace(busy=busy))
    cluster.world.pods.loads = {f"back-{number}": 0.7 for number in range(99)}
    ended = await drive(cluster, nodes_planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why
    told = [e.why for e in cluster.journal.entries if isinstance(e, Waiting)]
    assert any("uses 70% of its CPU" in w for w in told) is slower


def hog(cluster: SimCluster, cpu: int) -> None:
    """Somebody else's pods, on every node that is open."""
    pods = cluster.world.pods
    where = [n.name for n in pods.nodes.values() if pods.open(n)]
    hogs = Deployment(namespace="else", name="hog", replicas=len(where))
    pods.deployments.append(hogs)
    for node in where:
        name = f"hog-{node}"
        pods.pods[name] = SimPod(
            namespace="else", name=name, uid=name, node=node,
            owner=hogs.owner, ready_at=0.0, cpu=cpu,
        )  # fmt: skip


def fills(cluster: SimCluster, cpu: int, at: list[float], world: World) -> None:
    hog(cluster, cpu)
    at.append(world.now)


@virtual
async def test_room_that_somebody_takes_pauses_the_run_within_an_event() -> None:
    for cpu, outcome in ((64_000, "paused"), (60_000, "done")):
        cluster = with_chain()
        at: list[float] = []

        first_release(cluster, partial(fills, cluster, cpu, at))
        ended = await drive(cluster, planned(cluster, replaced(cluster)))
        assert ended.outcome == outcome, ended.why
        if outcome == "paused":
            assert "nodes that take pods have 0m CPU left in all" in ended.why
            assert "Make room or add a node, then: pawl resume." in ended.why
            assert paused_at(cluster) - at[0] < APART + 0.5


@virtual
async def test_a_cordon_that_is_taken_off_is_put_back_once_and_then_asked_about() -> None:
    cluster = with_chain()

    def opened(world: World) -> None:
        node = next(n for n in world.nodes.values() if n.unschedulable)

        def open_it() -> None:
            node.unschedulable, node.cordoned_by = False, ""

        for seconds in opened_at:
            world.later(seconds, open_it)

    opened_at = [0.2]
    first_release(cluster, opened)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why
    cordons = [c.target for c in cluster.world.changes if c.verb == "cordon"]
    assert len(cordons) == len(set(cordons)) + 1

    cluster = with_chain()
    opened_at = [0.2, 0.8]
    first_release(cluster, opened)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused"
    assert "Somebody has taken pawl's cordon off node worker-1 again" in ended.why


@virtual
async def test_a_budget_that_opens_is_asked_at_once() -> None:
    """The retry would come after seconds; the budget's own change brings it forward."""
    cluster = with_chain()
    store = cluster.world.pods.deployments[2]
    opened: list[float] = []
    plan = planned(cluster, nodes_only(cluster))

    def open_it() -> None:
        store.minimum = 2
        opened.append(cluster.world.now)

    def tightens(world: World) -> None:
        store.minimum = 3
        world.later(40.0, open_it)

    cluster.world.on("after", "stage", "worker-1/kubelet 1.37.0", tightens)
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    first = min(c.at for c in cluster.world.changes if c.verb == "evict")
    assert 0 <= first - opened[0] < 0.5


@virtual
async def test_no_more_starts_than_the_plan_allows_and_fewer_when_the_api_is_busy() -> None:
    cluster = with_chain()
    cluster.world.pods.busy = 3
    most = 0
    settle = cluster.world.pods.settle

    def counted() -> None:
        nonlocal most
        settle()
        pods = cluster.world.pods.pods.values()
        most = max(most, sum(p.ready_at > cluster.world.now for p in pods))

    cluster.world.pods.settle = counted  # type: ignore[method-assign]
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why
    assert 1 <= most <= 2


def stubborn(cluster: SimCluster, node: str) -> None:
    """A pod of the node never ends once it was evicted."""
    pod = next(p for p in cluster.world.pods.pods.values() if p.node == node)
    cluster.world.pods.frozen.add(pod.name)


def limited(nodes: int) -> SimCluster:
    cluster = quick()
    policy = replace(QUICK, limits=LimitConfig(quarantine=nodes))
    cluster.config = replace(cluster.config, policy=policy)
    return cluster


@pytest.mark.parametrize("way", ["in-place", "replace"])
@virtual
async def test_a_stubborn_node_stays_behind_and_the_rest_goes_on(way: str) -> None:
    cluster = limited(1)
    stubborn(cluster, "worker-2")
    target = replace(nodes_only(cluster), node_strategy=way)
    ended = await drive(cluster, nodes_planned(cluster, target))
    assert ended.outcome == "done", ended.why
    assert "1 nodes stay behind, closed and old." in ended.why
    assert "worker-2 was not empty after" in ended.why
    assert "is ending, and has 30 s for it" in ended.why
    (left,) = [e for e in cluster.journal.events(RUN) if isinstance(e, Quarantined)]
    assert left.node == "worker-2"
    nodes = {n.name: n for n in cluster.state().nodes}
    assert nodes["worker-2"].kubelet == "1.36.0"
    assert nodes["worker-2"].unschedulable
    others = [n for n in nodes.values() if n.name != "worker-2"]
    assert {n.kubelet for n in others} == {"1.37.0"}
    assert not [n.name for n in others if n.unschedulable or marks.closed(n)]
    assert cluster.world.violations == []


@virtual
async def test_without_leave_for_it_a_stubborn_node_pauses_the_run() -> None:
    cluster = limited(0)
    stubborn(cluster, "worker-2")
    plan = nodes_planned(cluster, nodes_only(cluster))
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    assert "worker-2 was not empty after 60 s" in ended.why
    assert not [n for n in cluster.state().nodes if n.unschedulable]
    cluster.world.pods.frozen.clear()
    for pod in cluster.world.pods.pods.values():
        pod.ends_at = cluster.world.now if pod.ends_at is not None else None
    resume(cluster)
    ended = await drive(cluster, plan, holder="again")
    assert ended.outcome == "done", ended.why


@virtual
async def test_a_second_stubborn_node_is_one_too_many() -> None:
    cluster = limited(1)
    stubborn(cluster, "worker-1")
    stubborn(cluster, "worker-2")
    ended = await drive(cluster, nodes_planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused"
    assert "was not empty after" in ended.why


@virtual
async def test_a_machine_waits_for_its_volumes_to_be_let_go() -> None:
    cluster = quick()
    target = replace(nodes_only(cluster), node_strategy="replace")
    cluster.world.nodes["worker-1"].volumes = 2
    let_go: list[float] = []

    def detaches(world: World) -> None:
        def gone() -> None:
            world.nodes["worker-1"].volumes = 0
            let_go.append(world.now)

        world.later(90.0, gone)

    detaches(cluster.world)
    ended = await drive(cluster, nodes_planned(cluster, target))
    assert ended.outcome == "done", ended.why
    gone = next(
        c.at for c in cluster.world.changes if (c.verb, c.target) == ("delete-node", "worker-1")
    )
    assert 0 <= gone - let_go[0] < 1.0


@pytest.mark.parametrize("seconds", [300.0, 40.0])
@virtual
async def test_a_machine_whose_volumes_are_not_let_go_is_kept(seconds: float) -> None:
    cluster = quick()
    policy = replace(QUICK, timeouts=replace(QUICK.timeouts, detach=seconds))
    cluster.config = replace(cluster.config, policy=policy)
    target = replace(nodes_only(cluster), node_strategy="replace")
    cluster.world.nodes["worker-1"].volumes = 2
    ended = await drive(cluster, nodes_planned(cluster, target))
    assert ended.outcome == "failed"
    assert f"2 volumes are still attached to worker-1 after {seconds:.0f} s" in ended.why
    assert not [c for c in cluster.world.changes if c.verb in ("delete-node", "remove-machine")]
