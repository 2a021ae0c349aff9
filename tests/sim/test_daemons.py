"""A new machine takes pods when its DaemonSet pods are Ready, and what was broken before blocks
nobody."""

from __future__ import annotations

from harness import RUN, drive, nodes_planned, resume, virtual
from msgspec.structs import replace
from test_faults import QUICK, nodes_only, quick

from pawl.core.events import RunEnded, StepDone, Waiting
from pawl.core.model import Unread
from pawl.core.plan import Plan
from pawl.testing.cluster import SimCluster
from pawl.testing.pods import DaemonSet

DEADLINE = 40.0


def with_daemons(*daemons: DaemonSet, deadline: float = DEADLINE) -> tuple[SimCluster, Plan]:
    cluster = quick()
    timeouts = replace(QUICK.timeouts, daemons=deadline)
    cluster.config = replace(cluster.config, policy=replace(QUICK, timeouts=timeouts))
    pods = cluster.world.pods
    pods.daemons[:] = daemons
    cluster.world.settle()
    for pod in pods.pods.values():
        if pod.ready_at < float("inf"):
            pod.ready_at = 0.0
    target = replace(nodes_only(cluster), node_strategy="replace")
    return cluster, nodes_planned(cluster, target)


def moved(cluster: SimCluster) -> list[str]:
    return [c.target for c in cluster.world.changes if c.verb in ("evict", "release")]


def notes(cluster: SimCluster) -> list[str]:
    return [
        e.note for e in cluster.journal.events(RUN) if isinstance(e, StepDone) and "/add/" in e.step
    ]


def cni(cluster: SimCluster) -> dict[str, float]:
    """Node -> when its pod is Ready."""
    pods = cluster.world.pods.pods.values()
    return {p.node: p.ready_at for p in pods if p.owner == "DaemonSet/cni"}


@virtual
async def test_no_pod_goes_to_a_new_machine_before_its_daemon_pods_are_ready() -> None:
    cluster, plan = with_daemons(DaemonSet(namespace="kube-system", name="cni", starts=8.0))
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    ready = cni(cluster)
    done = {
        e.step.rpartition("/")[2]: e.at
        for e in cluster.journal.events(RUN)
        if isinstance(e, StepDone) and "/add/" in e.step
    }
    assert len(done) == 3
    for machine, at in done.items():
        assert at >= ready[machine]
    assert not [n for n in notes(cluster) if "DaemonSet" in n]


@virtual
async def test_one_that_is_ready_everywhere_else_pauses_the_run_and_nothing_has_moved() -> None:
    cluster, plan = with_daemons(
        DaemonSet(namespace="kube-system", name="cni", broken=("worker-1-",)),
        DaemonSet(namespace="logs", name="agent"),
    )
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    (pod,) = [p for p in cluster.world.pods.pods.values() if p.ready_at == float("inf")]
    assert f"pod kube-system/{pod.name} on {pod.node} is not Ready; 3 of 3 elsewhere" in ended.why
    assert f"for {DEADLINE:.0f} s" in ended.why
    assert "pawl resume" in ended.why
    assert moved(cluster) == []
    pod.ready_at = 0.0
    cluster.world.pods.daemons[0].broken = ()
    resume(cluster)
    ended = await drive(cluster, plan, holder="after mending")
    assert ended.outcome == "done", ended.why


@virtual
async def test_one_that_is_broken_everywhere_is_told_and_not_waited_for() -> None:
    cluster, plan = with_daemons(
        DaemonSet(namespace="kube-system", name="cni", broken=("worker-",))
    )
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    assert all("DaemonSet kube-system/cni: pod" in n for n in notes(cluster))
    assert "0 of 3 elsewhere are" in notes(cluster)[0]
    told = [e.why for e in cluster.journal.entries if isinstance(e, Waiting)]
    assert not [w for w in told if "DaemonSet" in w]


@virtual
async def test_one_that_is_broken_somewhere_is_waited_for_and_then_told() -> None:
    cluster, plan = with_daemons(
        DaemonSet(namespace="kube-system", name="cni", broken=("worker-1-", "worker-2"))
    )
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    first = next(n for n in notes(cluster) if "DaemonSet" in n)
    assert "2 of 3 elsewhere are" in first
    told = [e for e in cluster.journal.entries if isinstance(e, Waiting) and "DaemonSet" in e.why]
    assert told


@virtual
async def test_zero_asks_nobody_and_unread_facts_are_told() -> None:
    broken = DaemonSet(namespace="kube-system", name="cni", broken=("worker-1-",))
    cluster, plan = with_daemons(broken, deadline=0.0)
    ended: RunEnded = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    assert not [n for n in notes(cluster) if "DaemonSet" in n]
    cluster, plan = with_daemons()
    cluster.world.pods.unread = (Unread(source="DaemonSet", why="forbidden"),)
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    assert all("DaemonSets it needs is not known (DaemonSet)" in n for n in notes(cluster))
