"""A noisy machine: what lasts for a moment neither ends a run, nor is taken for an answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import approve, drive, planned, resume, versions, virtual
from test_faults import CONTROL_PLANE, ETCD, QUICK, nodes_only, quick
from test_moving import with_chain
from test_watching import replaced

from pawl.core import landed
from pawl.core.actions import CancelEtcdDowngrade, RetireControlPlane, RetireNode
from pawl.core.config import PolicyConfig, SoakConfig
from pawl.core.events import AnyEvent, StepStarted
from pawl.core.model import Unread
from pawl.core.plan import Target
from pawl.engine.record import Narrator
from pawl.testing.cluster import SimCluster
from pawl.testing.world import World

MOMENT = 5.0
EVERYWHERE = ("cp-1", "cp-2", "cp-3")
MEMBERS = ("etcd-1", "etcd-2", "etcd-3")


class Begins(Narrator):
    """Makes something happen as the first step begins whose name has this in it."""

    def __init__(self, step: str, what: Callable[[], None]) -> None:
        self._step, self._what = step, what

    def event(self, event: AnyEvent) -> None:
        if isinstance(event, StepStarted) and self._step in event.step and self._step:
            self._step = ""
            self._what()


async def lands(
    cluster: SimCluster, target: Target, step: str, noise: Callable[[World], None]
) -> None:
    """The run ends as if nothing had been, though there is noise as that step begins."""
    narrator = Begins(step, lambda: noise(cluster.world))
    ended = await drive(cluster, planned(cluster, target), narrator=narrator)
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert narrator._step == "", "there was no such step"


# -- what could not be read is not gone ----------------------------------------------------------


@virtual
async def test_a_machine_is_not_removed_because_its_node_could_not_be_read() -> None:
    cluster = quick()
    world = cluster.world
    held: list[list[str]] = []

    tell = world.changed

    def changed(verb: str, what: str) -> None:
        if (verb, what) in (("delete-node", "worker-1"), ("remove-machine", "worker-1")):
            held.append([p.name for p in world.pods.pods.values() if p.node == "worker-1"])
        tell(verb, what)

    world.changed = changed  # type: ignore[method-assign]
    target = replaced(cluster)
    await lands(cluster, target, "/retire/worker-1", lambda w: w.briefly(MOMENT, w.silent, "nodes"))
    assert held == [[], []], "emptied, deleted, then removed"


@virtual
async def test_a_node_that_could_not_be_read_is_not_gone() -> None:
    cluster = quick()
    target = nodes_only(cluster)
    await lands(cluster, target, "/swap/worker-2", lambda w: w.briefly(MOMENT, w.silent, "nodes"))


def test_nothing_is_done_because_nothing_could_be_read() -> None:
    @virtual
    async def go() -> None:
        cluster = quick()
        world = cluster.world
        retired = RetireControlPlane(host="cp-9"), RetireNode(node="worker-9")
        state = cluster.state()
        for action in (*retired, CancelEtcdDowngrade()):
            assert landed.satisfied(action, state) is True
        for source, actions in (
            ("machines", retired),
            ("load balancer", retired[:1]),
            ("nodes", retired[1:]),
            ("etcd member list", (CancelEtcdDowngrade(),)),
        ):
            world.silent = {source}
            for action in actions:
                assert landed.satisfied(action, cluster.state()) is None, (source, action)

    go()


@virtual
async def test_a_downgrade_is_not_cancelled_because_the_members_could_not_be_read() -> None:
    cluster = SimCluster(policy=QUICK, etcd_version="3.6.14")
    cluster.world.etcd.enable_downgrade(cluster.world.etcd.cluster.__class__(3, 5))
    target = Target(etcd="3.6.14", only=("etcd",))
    await lands(
        cluster,
        target,
        "cancel-downgrade",
        lambda w: w.briefly(MOMENT, w.silent, "etcd member list"),
    )
    assert cluster.world.etcd.downgrade is None


@virtual
async def test_facts_that_are_missing_for_a_moment_cost_no_pod_its_surge() -> None:
    cluster = with_chain()
    pods = cluster.world.pods
    lowest = {"front": 6, "back": 3}  # both may surge, and never have a pod less

    def noise(world: World) -> None:
        pods.unread = (Unread(source="Service", why="etcdserver: leader changed"),)
        world.later(3.0, lambda: setattr(pods, "unread", ()))

    await lands(cluster, nodes_only(cluster), "/swap/worker-1", noise)
    assert {name: pods.lowest[name] for name in lowest} == lowest


# -- what is unwell for a moment -----------------------------------------------------------------


@virtual
async def test_an_election_at_the_start_forbids_no_run() -> None:
    await lands(quick(), ETCD, "preflight", lambda w: w.briefly(MOMENT, w.etcd.stalled, *MEMBERS))


@virtual
async def test_what_forbids_a_run_and_stays_ends_it_untouched() -> None:
    cluster = quick()
    plan = planned(cluster, CONTROL_PLANE)

    def sick() -> None:
        cluster.world.unready.add("cp-2")

    ended = await drive(cluster, plan, narrator=Begins("preflight", sick))
    assert ended.outcome == "failed"
    assert "API server cp-2: is not ready" in ended.why
    assert cluster.world.changes == []


SOAKING = PolicyConfig(approvals=(), soak=SoakConfig(etcd=120.0, control_plane=120.0, node=20.0))


def at_the_soak(cluster: SimCluster, seconds: float, noise: Callable[[World], None]) -> Narrator:
    world = cluster.world
    return Begins("/soak", lambda: world.later(seconds, lambda: noise(world)))


@pytest.mark.parametrize("after", [20.0, 119.0], ids=["in the middle", "at its end"])
def test_a_disk_that_stalls_in_a_soak_is_no_regression(after: float) -> None:
    @virtual
    async def go() -> None:
        cluster = SimCluster(policy=SOAKING)

        def noise(world: World) -> None:
            world.briefly(MOMENT, world.etcd.stalled, *MEMBERS)
            world.briefly(MOMENT, world.unready, *EVERYWHERE)

        narrator = at_the_soak(cluster, after, noise)
        ended = await drive(cluster, planned(cluster, ETCD), narrator=narrator)
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why

    go()


@pytest.mark.parametrize(
    ("noise", "why"),
    [
        (lambda w: w.etcd.stalled.add("etcd-2"), "etcd member etcd-2 is not healthy."),
        (lambda w: w.unready.add("cp-1"), "API server cp-1 is not ready."),
        (lambda w: w.silent.add("nodes"), "nodes could not be read"),
    ],
    ids=["member", "API server", "not read"],
)
@pytest.mark.parametrize("after", [20.0, 119.0], ids=["in the middle", "at its end"])
def test_what_stays_worse_in_a_soak_is_a_regression(
    noise: Callable[[World], None], why: str, after: float
) -> None:
    @virtual
    async def go() -> None:
        cluster = SimCluster(policy=SOAKING)
        narrator = at_the_soak(cluster, after, noise)
        ended = await drive(cluster, planned(cluster, ETCD), narrator=narrator)
        assert ended.outcome == "failed"
        assert why in ended.why
        assert "The exit is open: pawl rollback." in ended.why
        assert versions(cluster)["etcd"] == {"3.5.33", "3.6.14"}, "before the last member"

    go()


@virtual
async def test_what_is_unwell_for_a_moment_at_the_end_has_landed() -> None:
    await lands(
        quick(), CONTROL_PLANE, "landed", lambda w: w.briefly(MOMENT, w.unready, *EVERYWHERE)
    )


@virtual
async def test_what_has_not_landed_is_told() -> None:
    cluster = quick()
    plan = planned(cluster, CONTROL_PLANE)

    def sick() -> None:
        cluster.world.unready.add("cp-2")

    ended = await drive(cluster, plan, narrator=Begins("landed", sick))
    assert ended.outcome == "failed"
    assert "not landed: " in ended.why
    assert "/cp-2" in ended.why
    cluster.world.unready.clear()
    resume(cluster)
    assert (await drive(cluster, plan)).outcome == "done"


@pytest.mark.parametrize("tenths", range(26, 38))
def test_an_api_server_that_hesitates_before_the_balancer_enters_it(tenths: int) -> None:
    """It is ready 2.5 s after its start, and asked three times; then its etcd has no answer."""

    @virtual
    async def go() -> None:
        cluster = quick()

        def noise(world: World) -> None:
            world.later(tenths / 10, lambda: world.briefly(MOMENT, world.unready, "cp-1"))

        cluster.world.on("after", "start", "cp-1/kube-apiserver", noise)
        ended = await drive(cluster, planned(cluster, CONTROL_PLANE))
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why

    go()


@virtual
async def test_a_leader_without_a_follower_that_is_near_enough_waits_for_one() -> None:
    cluster = quick()

    def noise(world: World) -> None:
        behind = dict.fromkeys(MEMBERS[1:], 10**9)
        world.etcd.lagging.update(behind)
        world.later(MOMENT, lambda: [world.etcd.lagging.pop(h) for h in behind] and None)

    await lands(cluster, ETCD, "move-leader", noise)


@virtual
async def test_no_leader_for_a_moment_is_no_end() -> None:
    await lands(
        quick(), ETCD, "move-leader", lambda w: w.briefly(2.0, w.silent, "etcd member list")
    )


@virtual
async def test_an_approval_that_was_long_in_coming_leaves_the_patience_whole() -> None:
    """What was waited for was a person; then a host does not answer for a moment."""
    cluster = SimCluster(policy=PolicyConfig(soak=QUICK.soak))
    world, plan = cluster.world, planned(cluster, ETCD)
    approve(cluster, plan)

    def approved() -> None:
        approve(cluster, plan, "etcd-last-member")
        world.briefly(MOMENT, world.silent, "nodes")

    gate = Begins("etcd/3.6.14/swap/etcd-3", lambda: world.later(3600.0, approved))
    ended = await drive(cluster, plan, narrator=gate)
    assert (ended.outcome, world.violations) == ("done", []), ended.why
