"""Two things at once: a person's word and a run, two drains, a reading and the end of a step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from harness import RUN, drive, pause, planned, resume, versions, virtual
from msgspec.structs import replace
from test_faults import QUICK, nodes_only

from pawl.core.config import LimitConfig, PolicyConfig
from pawl.core.emptied import emptied
from pawl.core.errors import Unreachable
from pawl.core.events import Aborted, Evidence, StepDone, StepStarted
from pawl.core.plan import Plan
from pawl.engine import board, runner
from pawl.engine.executors.evicting import evict
from pawl.ports.kube import Evicted, Pod
from pawl.testing import ports
from pawl.testing.cluster import SimCluster, SimSession
from pawl.testing.pods import Deployment
from pawl.testing.world import World

TWO = replace(QUICK, limits=LimitConfig(max_unavailable=2))


def five(policy: PolicyConfig = TWO) -> tuple[SimCluster, Plan]:
    """Five workers of which two are worked on at once."""
    cluster = SimCluster(policy=policy, workers=5)
    return cluster, planned(cluster, nodes_only(cluster))


def slowly(cluster: SimCluster, node: str, seconds: float = 2.0) -> SimSession:
    """An operator whose drain of that node is behind the other one's."""
    session = cluster.session()
    pods_on = session.kube.pods_on

    async def later(asked: str) -> tuple[Pod, ...]:
        await anyio.sleep(seconds if asked == node else 0.0)
        return await pods_on(asked)

    session.kube.pods_on = later  # type: ignore[method-assign]
    return session


def begun(cluster: SimCluster, step: str) -> int:
    return sum(isinstance(e, StepStarted) and step in e.step for e in cluster.journal.entries)


# -- a person's word ---------------------------------------------------------------------------


@virtual
async def test_a_pause_that_is_lifted_before_the_run_has_come_to_it() -> None:
    """One node has left at a safe point by then, and the other is in the middle of its swap."""
    cluster, plan = five()

    def changes_his_mind(world: World) -> None:
        pause(cluster)
        world.later(1.0, lambda: resume(cluster))

    cluster.world.on("after", "stop", "worker-4/kubelet", changes_his_mind)
    ended = await drive(cluster, plan, session=slowly(cluster, "worker-5"))
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert begun(cluster, "swap/worker-5") == 2, "it had left, and was begun again"
    assert versions(cluster)["kubelet"] == {"1.37.0"}


def aborts(cluster: SimCluster) -> None:
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="wrong window.", by="test"))


@virtual
async def test_an_abort_that_cannot_read_the_nodes_is_not_over() -> None:
    cluster, plan = five()
    world = cluster.world

    def aborted(_: World) -> None:
        aborts(cluster)
        world.silent.add("nodes")

    world.on("after", "evict", "shop/web-1", aborted)
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert "Not all was given back: nodes could not be read" in ended.why
    assert [n.name for n in world.nodes.values() if n.unschedulable] == ["worker-1"]
    world.silent.clear()
    ended = await drive(cluster, plan)
    assert ended.outcome == "aborted", ended.why
    assert not [n for n in world.nodes.values() if n.unschedulable]


@virtual
async def test_an_abort_that_cannot_read_for_a_moment_looks_again() -> None:
    cluster, plan = five()
    world = cluster.world

    def aborted(_: World) -> None:
        aborts(cluster)
        closed = world.nodes["worker-2"]
        closed.unschedulable, closed.cordoned_by = True, f"pawl:{RUN}"
        world.briefly(5.0, world.silent, "nodes")

    world.on("after", "evict", "shop/web-1", aborted)
    ended = await drive(cluster, plan)
    assert ended.outcome == "aborted", ended.why
    assert not [n for n in world.nodes.values() if n.unschedulable]


@virtual
async def test_an_abort_gives_back_what_it_can_though_a_step_cannot_be_finished() -> None:
    """A machine is lost between the stop of its kubelet and its start; other nodes are cordoned."""
    cluster, plan = five()
    world = cluster.world

    def lost(_: World) -> None:
        world.excused.add("worker-4")
        world.power_off("worker-4")
        closed = world.nodes["worker-2"]
        closed.unschedulable, closed.cordoned_by = True, f"pawl:{RUN}"

    world.on("after", "stop", "worker-4/kubelet", lost)
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed", ended.why
    step = "nodes/1.37.0/swap/worker-4"
    cluster.journal.append(StepStarted(at=0.0, run=RUN, step=step, attempt=9))
    aborts(cluster)
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert "swap/worker-4 is half done and cannot be finished now" in ended.why
    assert not world.nodes["worker-2"].unschedulable


# -- a reading, and what happens meanwhile -------------------------------------------------------


@virtual
async def test_what_was_read_before_a_step_ended_begins_nothing() -> None:
    """A full reading of a thousand machines takes seconds, and a step ends in the middle of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "FULL_EVERY", 0.0)
        patch.setattr(ports, "OBSERVE", 4.0)
        cluster, plan = five()
        cluster.world.slow_readings = True
        ended = await drive(cluster, plan)
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    again = [
        e.step for e in cluster.journal.entries if isinstance(e, StepStarted) and e.attempt > 1
    ]
    assert again == []


# -- two drains ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("replicas", "least"), [(5, 4), (10, 8)])
@pytest.mark.parametrize("surges", [True, False])
def test_two_drains_together_keep_what_each_of_them_keeps(
    replicas: int, least: int, surges: bool
) -> None:
    """No budget speaks for these pods: how many go at once is pawl's own word."""

    @virtual
    async def go() -> None:
        cluster, _ = five()
        pods = cluster.world.pods
        store = Deployment(namespace="shop", name="store", replicas=replicas, surges=surges)
        pods.deployments[:] = [store]
        pods.pods.clear()
        cluster.world.settle()
        for pod in pods.pods.values():
            pod.ready_at = 0.0
        cluster.world.violations.clear()
        ended = await drive(cluster, planned(cluster, nodes_only(cluster)))
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
        moved = emptied(cluster.journal.events(RUN))
        assert len(moved) == 5
        assert [m.node for m in moved if m.peak > m.cap] == []
        assert pods.lowest["store"] >= (replicas if surges else least)
        assert max(m.seconds for m in moved) < board.LOOK, "it is told when a place is free"

    go()


def pod(name: str) -> Pod:
    return Pod(namespace="shop", name=name, uid=name, node="n")


@virtual
async def test_an_eviction_that_fails_leaves_no_answer_of_another_unheard() -> None:
    done: list[str] = []

    class Kube:
        async def evict(self, pod: Pod) -> Evicted:
            if pod.name == "lost":
                raise Unreachable("the API does not answer.")
            await anyio.sleep(1.0)
            return Evicted(ok=True)

    @asynccontextmanager
    async def effect(name: str, target: str, *, on_host: bool) -> AsyncIterator[int]:
        yield 1
        done.append(target)

    ctx: Any = SimpleNamespace(tools=SimpleNamespace(kube=Kube()), effect=effect)
    with pytest.raises(Unreachable):
        await evict(ctx, [pod("a"), pod("lost"), pod("b")])
    assert done == ["shop/a", "shop/b"]


# -- what ends one step, and what ends all -------------------------------------------------------


@virtual
async def test_a_mistake_in_one_step_breaks_off_no_other() -> None:
    cluster, plan = five()
    session = slowly(cluster, "worker-5")
    pods_on = session.kube.pods_on

    async def mistaken(node: str) -> tuple[Pod, ...]:
        if node == "worker-5" and not cluster.world.runs("worker-4", "kubelet"):
            raise KeyError("items")
        return await pods_on(node)

    session.kube.pods_on = mistaken  # type: ignore[method-assign]
    ended = await drive(cluster, plan, session=session)
    assert ended.outcome == "failed"
    assert "swap/worker-5: this is a mistake in pawl: KeyError('items')" in ended.why
    done = [e.step for e in cluster.journal.entries if isinstance(e, StepDone)]
    assert "nodes/1.37.0/swap/worker-4" in done, "its kubelet was not left stopped"
    told = [e.data for e in cluster.journal.entries if isinstance(e, Evidence)]
    assert any("in mistaken" in t for t in told)
