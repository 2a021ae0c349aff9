"""What blocks for ever is resolved in the plan: surge, one replica more, a sick pod's leave to go.

Each way ends with every pod moved, no dip that was not announced, and nothing left loosened,
whatever instant the process dies at.
"""

from __future__ import annotations

from collections import Counter

import pytest
from harness import RUN, Crash, drive, nodes_planned, virtual
from msgspec.structs import replace
from test_crashes import CutEach
from test_faults import nodes_only, quick

from pawl.core import marks
from pawl.core.errors import Refused, Unreachable
from pawl.core.events import Aborted
from pawl.core.loosening import Loosening
from pawl.engine.effects import Effect
from pawl.ports.kube import Pod
from pawl.testing.cluster import SimCluster
from pawl.testing.pods import Deployment

WEB = "shop/Deployment/web"


def with_one(**fields: object) -> SimCluster:
    """One Deployment of three pods, its budget asks for all of them."""
    cluster = quick()
    pods = cluster.world.pods
    web = {"namespace": "shop", "name": "web", "replicas": 3, "minimum": 3, **fields}
    pods.deployments[:] = [Deployment(**web)]  # type: ignore[arg-type]
    pods.pods.clear()
    cluster.world.settle()
    for pod in pods.pods.values():
        pod.ready_at = 0.0
    cluster.world.violations.clear()
    return cluster


def clean(cluster: SimCluster) -> None:
    """Nothing is loosened, released, chosen, closed; every pod is there."""
    pods = cluster.world.pods
    for d in pods.deployments:
        assert (d.lent, d.always_allow) == ({}, False)
        assert pods.serving(d) == d.replicas == 3
    assert not [p for p in pods.pods.values() if p.released or p.victim]
    assert not [n for n in cluster.state().nodes if n.unschedulable or marks.closed(n)]


def done(cluster: SimCluster, verb: str) -> int:
    return sum(c.verb == verb for c in cluster.world.changes)


WAYS: dict[str, tuple[dict[str, object], str]] = {
    "surge": ({}, "release"),
    "scale": ({"stiff": True}, "scale"),
    "restart": ({"by_hash": True, "replicas": 3}, "restart"),
    "two budgets": ({"budgets": 2, "minimum": 2}, "delete"),
}


def on_one_node(cluster: SimCluster) -> None:
    """All pods on one node: only then a restart moves just those that must move."""
    for pod in cluster.world.pods.pods.values():
        pod.node = "worker-1"


@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_what_blocks_for_ever_moves_without_a_dip(way: str) -> None:
    fields, verb = WAYS[way]
    cluster = with_one(**fields)
    if way == "restart":
        on_one_node(cluster)
    plan = nodes_planned(cluster, nodes_only(cluster))
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    assert done(cluster, verb) > 0
    assert cluster.world.violations == []
    assert cluster.world.pods.lowest["web"] == 3
    clean(cluster)


@virtual
async def test_one_replica_more_starts_no_pod_twice() -> None:
    """The pod that goes is the old one, not the one that has just started."""
    cluster = with_one(stiff=True)
    before = set(cluster.world.pods.names)
    plan = nodes_planned(cluster, nodes_only(cluster))
    assert plan.loosens == (Loosening(what="scale", workload=WEB),)
    assert (await drive(cluster, plan)).outcome == "done"
    started = set(cluster.world.pods.names) - before
    assert len(started) == done(cluster, "scale")
    assert done(cluster, "evict") == 0


@virtual
async def test_an_autoscaler_at_its_end_is_a_persons_matter() -> None:
    cluster = with_one(stiff=True, most=3)
    with pytest.raises(Refused) as refused:
        nodes_planned(cluster, nodes_only(cluster))
    (reason,) = [r for r in refused.value.reasons if r.startswith("PAWL-W001")]
    assert "asks for 3 of 3 pods" in reason
    for way in ("Relax the budget", "leave its node closed", "consent to the pod's deletion"):
        assert way in reason
    cluster = with_one(stiff=True, most=4)
    assert (await drive(cluster, nodes_planned(cluster, nodes_only(cluster)))).outcome == "done"
    clean(cluster)


def sick() -> SimCluster:
    """No pod is Ready, so the budget lets none go."""
    cluster = with_one(minimum=1, surges=False)
    for pod in cluster.world.pods.pods.values():
        pod.ready_at = float("inf")
    return cluster


@virtual
async def test_only_sick_pods_are_let_go_and_the_budget_is_as_before() -> None:
    cluster = sick()
    plan = nodes_planned(cluster, nodes_only(cluster))
    assert plan.loosens == (Loosening(what="always-allow", workload=WEB),)
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    assert done(cluster, "allow-unhealthy") == done(cluster, "give-back-always-allow") > 0
    clean(cluster)


@virtual
async def test_what_the_plan_does_not_name_is_not_loosened() -> None:
    """Tightened after the preflight: the run pauses, says what it waits for, touches nothing."""
    cluster = with_one(minimum=1)
    plan = nodes_planned(cluster, nodes_only(cluster))
    assert plan.loosens == ()

    def tightens(world: object) -> None:
        web = cluster.world.pods.deployments[0]
        web.minimum, web.stiff = 3, True

    cluster.world.on("after", "stage", "worker-1/kubelet 1.37.0", tightens)
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    assert "needs 3 healthy pods and has 3 currently" in ended.why
    assert done(cluster, "scale") == 0
    clean(cluster)


@pytest.mark.parametrize("way", ["scale", "sick"])
@virtual
async def test_what_is_loosened_when_an_answer_is_lost_is_given_back_all_the_same(way: str) -> None:
    """The drain begins again, and counts anew what it needs."""
    cluster = sick() if way == "sick" else with_one(**WAYS[way][0])
    plan = nodes_planned(cluster, nodes_only(cluster))
    session = cluster.session()
    pods_on, lost = session.kube.pods_on, []

    async def loses(node: str) -> tuple[Pod, ...]:
        if len(lost) < 2 and any(d.lent or d.always_allow for d in cluster.world.pods.deployments):
            lost.append(node)
            raise Unreachable("the API does not answer.")
        return await pods_on(node)

    session.kube.pods_on = loses  # type: ignore[method-assign]
    ended = await drive(cluster, plan, session=session)
    assert ended.outcome == "done", ended.why
    assert len(lost) == 2
    clean(cluster)


def forgets(what: str, cluster: SimCluster) -> None:
    """Somebody writes the object's labels anew, and keeps its specification."""
    cluster.world.pods.deployments[0].lent.pop(what, None)


@pytest.mark.parametrize(
    ("way", "what", "verb", "mend"),
    [
        ("scale", "scale", "scale", "as many replicas as it should"),
        ("restart", "restart", "restart", "its rolling update ends"),
        ("sick", "always-allow", "allow-unhealthy", "set its unhealthyPodEvictionPolicy"),
    ],
)
@virtual
async def test_a_mark_that_vanished_is_no_zero_but_a_persons_matter(
    way: str, what: str, verb: str, mend: str
) -> None:
    cluster = sick() if way == "sick" else with_one(**WAYS[way][0])
    if way == "restart":
        on_one_node(cluster)
    plan = nodes_planned(cluster, nodes_only(cluster))
    cluster.world.on("after", verb, "web", lambda world: forgets(what, cluster))
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert f"pawl's mark (pawl.dev/leeway: {what}) on shop/" in ended.why
    assert mend in ended.why
    assert "then: pawl resume." in ended.why
    assert (done(cluster, verb), done(cluster, "choose"), done(cluster, "evict")) == (1, 0, 0)


@virtual
async def test_a_mark_that_vanishes_later_does_not_add_replica_after_replica() -> None:
    cluster = with_one(**WAYS["scale"][0])
    plan = nodes_planned(cluster, nodes_only(cluster))
    cluster.world.on(
        "after",
        "scale",
        "web",
        lambda world: world.later(1.0, lambda: forgets("scale", cluster)),
    )
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert "pawl's mark (pawl.dev/leeway: scale) on shop/Deployment/web" in ended.why
    assert (done(cluster, "scale"), cluster.world.pods.deployments[0].replicas) == (1, 4)
    assert not [p for p in cluster.world.pods.pods.values() if p.victim]


@virtual
async def test_what_cannot_be_given_back_pauses_the_run() -> None:
    """The sick pods have gone, and nobody knows what the budget said before."""
    cluster = sick()
    plan = nodes_planned(cluster, nodes_only(cluster))
    for pod in cluster.world.pods.pods.values():
        what = f"{pod.namespace}/{pod.name}"
        cluster.world.on("after", "evict", what, lambda world: forgets("always-allow", cluster))
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    assert "set its unhealthyPodEvictionPolicy to what it should be" in ended.why


@pytest.mark.parametrize("way", ["scale", "restart", "two budgets"])
def test_a_crash_around_every_effect_leaves_nothing_loosened(way: str) -> None:
    @virtual
    async def go() -> None:
        cluster = with_one(**WAYS[way][0])
        if way == "restart":
            on_one_node(cluster)
        plan = nodes_planned(cluster, nodes_only(cluster))
        before = set(cluster.world.pods.names)
        hook, crashes = CutEach(), 0
        while True:
            try:
                ended = await drive(cluster, plan, hook=hook, holder=f"process-{crashes}")
                break
            except Crash:
                crashes += 1
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
        assert crashes > 10
        assert cluster.world.pods.lowest["web"] == 3
        twice = Counter(c.identity for c in cluster.world.changes if c.verb in ("evict", "delete"))
        assert not [k for k, n in twice.items() if n > 1]
        if way == "restart":
            assert done(cluster, "restart") == 1
            assert len(set(cluster.world.pods.names) - before) == 3 + done(cluster, "scale")
        clean(cluster)

    go()


@pytest.mark.parametrize("how", ["in-place", "replace"])
def test_a_crash_around_every_effect_leaves_no_budget_open(how: str) -> None:
    """Sick pods leave by AlwaysAllow; where nodes are replaced, each starts once elsewhere."""

    @virtual
    async def go() -> None:
        cluster = sick()
        target = replace(nodes_only(cluster), node_strategy=how)
        plan = nodes_planned(cluster, target)
        assert plan.loosens == (Loosening(what="always-allow", workload=WEB),)
        before = set(cluster.world.pods.names)
        hook, crashes = CutEach(), 0
        while True:
            try:
                ended = await drive(cluster, plan, hook=hook, holder=f"process-{crashes}")
                break
            except Crash:
                crashes += 1
        assert ended.outcome == "done", ended.why
        assert set(cluster.world.violations) <= {"shop/web has 0 pods ready, its budget asks 1"}
        cut = {effect.name for _, effect in hook.cut if isinstance(effect, Effect)}
        assert {"always-allow", "evict", "give-back-always-allow"} <= cut
        evicted = Counter(c.target for c in cluster.world.changes if c.verb == "evict")
        assert not [uid for uid, n in evicted.items() if n > 1]
        if how == "replace":
            assert len(set(cluster.world.pods.names) - before) == len(evicted) == 3
        opened = done(cluster, "allow-unhealthy")
        assert opened == done(cluster, "give-back-always-allow") > 0
        clean(cluster)

    go()


class CutAfter:
    def __init__(self, name: str) -> None:
        self.name = name

    async def before(self, effect: object) -> None:
        return

    async def after(self, effect: object) -> None:
        if effect.name == self.name:  # type: ignore[attr-defined]
            raise Crash


@pytest.mark.parametrize(("way", "effect"), [("scale", "scale"), ("scale", "choose")])
@virtual
async def test_an_abort_gives_back_what_was_loosened(way: str, effect: str) -> None:
    cluster = with_one(**WAYS[way][0])
    plan = nodes_planned(cluster, nodes_only(cluster))
    with pytest.raises(Crash):
        await drive(cluster, plan, hook=CutAfter(effect))
    assert cluster.world.pods.deployments[0].lent
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="changed our minds.", by="test"))
    ended = await drive(cluster, plan, holder="aborting")
    assert ended.outcome == "aborted"
    assert "as it was before" in ended.why
    clean(cluster)
