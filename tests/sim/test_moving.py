"""How a node is emptied: providers first, no pod before its successor, nothing left marked."""

from __future__ import annotations

import itertools

import pytest
from harness import RUN, Crash, drive, nodes_planned, planned, virtual
from msgspec.structs import replace
from test_faults import QUICK, nodes_only, quick

from pawl.core.actions import AddNode, CloseNodes, RetireNode
from pawl.core.emptied import emptied
from pawl.core.events import Aborted, StepDone, Waiting
from pawl.core.landed import satisfied
from pawl.core.model import ClusterState, Unread
from pawl.core.pace import Pace
from pawl.core.plan import digest_of
from pawl.engine.effects import Effect
from pawl.testing.cluster import SimCluster
from pawl.testing.pods import POD_START, Deployment
from pawl.testing.world import PROXY_HEALTH, World


def with_chain() -> SimCluster:
    """front depends on back, which depends on store; store may not surge."""
    cluster = quick()
    pods = cluster.world.pods
    pods.deployments[:] = [
        Deployment(namespace="shop", name="front", replicas=6, minimum=3, after="back"),
        Deployment(namespace="shop", name="back", replicas=3, after="store"),
        Deployment(namespace="shop", name="store", replicas=3, surges=False),
    ]
    pods.pods.clear()
    cluster.world.settle()
    for pod in pods.pods.values():
        pod.ready_at = 0.0
    cluster.world.violations.clear()
    return cluster


@virtual
async def test_a_budget_of_all_is_met_by_a_surge_and_nothing_dips() -> None:
    cluster = with_chain()
    plan = planned(cluster, nodes_only(cluster))

    def tightens(world: World) -> None:
        world.pods.deployments[0].minimum = 6

    cluster.world.on("after", "stage", "worker-1/kubelet 1.37.0", tightens)
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    assert cluster.world.violations == []
    assert cluster.world.pods.lowest["front"] == 6
    assert cluster.world.pods.lowest["back"] == 3
    assert cluster.world.pods.lowest["store"] < 3
    assert not [p for p in cluster.world.pods.pods.values() if p.released]


@virtual
async def test_providers_leave_a_node_before_their_consumers() -> None:
    cluster = with_chain()
    assert (await drive(cluster, planned(cluster, nodes_only(cluster)))).outcome == "done"
    order: list[str] = []
    rounds: list[list[str]] = []
    for change in cluster.world.changes:
        if change.verb == "cordon":
            order = []
            rounds.append(order)
        elif change.verb in ("evict", "release"):
            order.append(cluster.world.pods.names[change.target].rpartition("-")[0])
    assert len(rounds) == 3
    for own in rounds:
        firsts = [n for n in ("store", "back", "front") if n in own]
        assert sorted(firsts, key=own.index) == firsts
        for before, after in itertools.pairwise(firsts):
            last = len(own) - 1 - own[::-1].index(before)
            assert last < own.index(after), own


@virtual
async def test_what_takes_long_to_end_keeps_nobody_waiting_once_its_successor_is_ready() -> None:
    cluster = with_chain()
    pods = cluster.world.pods
    slow = next(p for p in pods.pods.values() if p.node == "worker-1" and "store" in p.name)
    pods.frozen.add(slow.name)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "paused", "it never ends, so the node never is empty"
    assert slow.name in ended.why
    left = [p.name for p in pods.pods.values() if p.node == "worker-1"]
    assert left == [slow.name]


@virtual
async def test_an_only_pod_goes_when_its_successor_is_known_everywhere() -> None:
    cluster = with_chain()
    pods = cluster.world.pods
    pods.deployments.append(Deployment(namespace="shop", name="solo", replicas=1))
    cluster.world.settle()
    for pod in pods.pods.values():
        pod.ready_at = 0.0
    assert (await drive(cluster, planned(cluster, nodes_only(cluster)))).outcome == "done"
    released = {
        c.target: c.at
        for c in cluster.world.changes
        if c.verb == "release" and pods.names[c.target].startswith("solo")
    }
    assert released
    for c in cluster.world.changes:
        if c.verb == "evict" and c.target in released:
            assert c.at - released[c.target] >= POD_START + Pace().handover
    assert pods.lowest["solo"] == 1


@virtual
async def test_without_all_facts_nobody_is_released() -> None:
    cluster = with_chain()
    for deployment in cluster.world.pods.deployments:
        deployment.minimum = None
    cluster.world.pods.unread = (Unread(source="Service", why="forbidden"),)
    ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
    assert ended.outcome == "done", ended.why
    assert not [c for c in cluster.world.changes if c.verb == "release"]


def told(cluster: SimCluster) -> list[str]:
    return [e.why for e in cluster.journal.entries if isinstance(e, Waiting)]


@virtual
async def test_a_run_goes_by_the_pace_of_its_plan() -> None:
    """Whatever pawl.yaml says by then."""
    for pace, cap, settles in ((Pace(), 2, True), (Pace(settle=0.0, starts_least=4), 4, False)):
        cluster = with_chain()
        cluster.config = replace(cluster.config, policy=replace(QUICK, pace=pace))
        plan = nodes_planned(cluster, nodes_only(cluster))
        cluster.config = replace(cluster.config, policy=replace(QUICK, pace=Pace(settle=99.0)))
        ended = await drive(cluster, plan)
        assert ended.outcome == "done", ended.why
        assert {e.cap for e in emptied(cluster.journal.entries)} == {cap}
        assert any("waits 10 s, in which it stays Ready" in w for w in told(cluster)) is settles
        assert not any("99 s" in w for w in told(cluster))


@virtual
async def test_the_pace_is_part_of_the_digest() -> None:
    cluster = with_chain()
    plan = nodes_planned(cluster, nodes_only(cluster))
    other = replace(plan, pace=Pace(settle=0.0))
    assert plan.pace == Pace()
    assert digest_of(other) != plan.digest == digest_of(plan)


class CutAfterRelease:
    async def before(self, effect: Effect) -> None:
        return

    async def after(self, effect: Effect) -> None:
        if effect.name == "release":
            raise Crash


@virtual
async def test_an_abort_gives_a_released_pod_back() -> None:
    cluster = with_chain()
    plan = planned(cluster, nodes_only(cluster))
    with pytest.raises(Crash):
        await drive(cluster, plan, hook=CutAfterRelease())
    (loose,) = [p for p in cluster.world.pods.pods.values() if p.released]
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="changed our minds.", by="test"))
    ended = await drive(cluster, plan, holder="aborting")
    assert ended.outcome == "aborted"
    assert "again" in ended.why
    world = cluster.world
    assert not [p for p in world.pods.pods.values() if p.released]
    assert loose.uid in world.pods.pods
    for deployment in world.pods.deployments:
        assert len(world.pods.of(deployment)) == deployment.replicas


@virtual
async def test_a_successor_that_finds_no_place_is_named_and_the_pod_is_given_back() -> None:
    cluster = with_chain()
    plan = planned(cluster, nodes_only(cluster))

    def full(world: World) -> None:
        world.pods.full = True

    cluster.world.on("after", "stage", "worker-1/kubelet 1.37.0", full)
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    assert "until its successor is Ready" in ended.why or "waits until it is Ready" in ended.why
    assert not [p for p in cluster.world.pods.pods.values() if p.released]
    assert not [n for n in cluster.state().nodes if n.unschedulable]


def test_nodes_that_were_not_read_are_neither_closed_nor_gone() -> None:
    """Seen in the lab: the only API server restarts, and no node in the facts looked like all
    nodes closed, so that none was."""
    unread = (Unread(source="nodes", why="no answer"),)
    state = ClusterState(cluster="c", taken_at=0.0, unread=unread)
    for action in (
        CloseNodes(nodes=("w1", "w2")),
        RetireNode(node="w1"),
        AddNode(machine="w1", pool="p", target="1.37.0"),
    ):
        assert satisfied(action, state) is None


@pytest.mark.parametrize(
    ("late", "most", "port"),
    [
        (6.0, 30.0, PROXY_HEALTH),
        (1e9, 30.0, PROXY_HEALTH),
        (6.0, 4.0, PROXY_HEALTH),
        (6.0, 30.0, 9),
    ],
)
def test_no_pod_goes_to_a_new_node_before_its_kube_proxy_answers(
    late: float, most: float, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, float] = {}

    def listening(world: World, host: str) -> set[int]:
        return {port} if world.now - known.setdefault(host, world.now) >= late else set()

    @virtual
    async def go() -> None:
        cluster = with_chain()
        timeouts = replace(QUICK.timeouts, proxy=most)
        cluster.config = replace(
            cluster.config,
            policy=replace(QUICK, timeouts=timeouts),
            layout=replace(cluster.config.layout, proxy_health=port),
        )
        target = replace(nodes_only(cluster), node_strategy="replace")
        ended = await drive(cluster, planned(cluster, target))
        assert ended.outcome == "done", ended.why
        added = {
            e.step.rpartition("/")[2]: e
            for e in cluster.journal.events(RUN)
            if isinstance(e, StepDone) and "/add/" in e.step
        }
        assert set(added) == set(known)
        for host, done in added.items():
            assert done.at - known[host] >= min(late, most)
            told = f"opened no port {port} within {most:.0f} s"
            assert (told in done.note) is (late > most)

    monkeypatch.setattr(World, "listening", listening)
    go()


def test_a_kube_proxy_is_not_asked_where_nobody_wants_to_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listening(world: World, host: str) -> set[int]:
        raise AssertionError(f"{host} was asked")

    @virtual
    async def go() -> None:
        cluster = with_chain()
        policy = replace(QUICK, timeouts=replace(QUICK.timeouts, proxy=0.0))
        cluster.config = replace(cluster.config, policy=policy)
        target = replace(nodes_only(cluster), node_strategy="replace")
        ended = await drive(cluster, planned(cluster, target))
        assert ended.outcome == "done", ended.why

    monkeypatch.setattr(World, "listening", listening)
    go()
