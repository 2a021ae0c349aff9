"""Each fault ends safe, with a sentence that explains it, and the run goes on once it is mended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest
from harness import RUN, Crash, Watch, drive, pause, planned, resume, versions, virtual
from msgspec.structs import replace
from test_whole_runs import NEW

from pawl.adapters.store import SqliteJournal
from pawl.core.config import PolicyConfig, SoakConfig, TimeoutConfig
from pawl.core.errors import Fenced, PawlError, Refused
from pawl.core.events import Aborted, Approved, StepDone, StepFailed
from pawl.core.plan import Target
from pawl.engine.effects import Effect
from pawl.engine.runner import Stop
from pawl.testing.cluster import SimCluster, SimLock, SimSession
from pawl.testing.journal import MemoryJournal
from pawl.testing.world import World

ETCD = Target(etcd="3.6.14", only=("etcd",))
ETCD_REPLACE = Target(etcd="3.6.14", only=("etcd",), etcd_strategy="replace")
CONTROL_PLANE = Target(kubernetes="1.37.0", only=("control-plane",))
QUICK = PolicyConfig(
    approvals=(),
    soak=SoakConfig(etcd=20.0, control_plane=20.0, node=10.0),
    timeouts=TimeoutConfig(eviction=60.0, node_ready=60.0),
    patience=60.0,
)


def quick() -> SimCluster:
    return SimCluster(policy=QUICK)


def nodes_only(cluster: SimCluster) -> Target:
    """Nodes may follow once the control plane is there; make it so."""
    for host in cluster.world.hosts.values():
        for component, unit in host.units.items():
            if component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
                host.install(component, "1.37.0")
                unit.version = "1.37.0"
    return Target(kubernetes="1.37.0", only=("nodes",))


async def goes_on(cluster: SimCluster, target: Target = ETCD) -> None:
    """After the cause is mended, the same plan ends as if nothing had been."""
    resume(cluster)
    plan = cluster.journal.plan(cluster.journal.plans()[0])
    ended = await drive(cluster, plan, holder="after mending")
    assert ended.outcome == "done", ended.why
    assert [v for v in cluster.world.violations if "at once" not in v] == []


# -- etcd ------------------------------------------------------------------------------------------


@virtual
async def test_the_new_binary_crash_loops() -> None:
    cluster = quick()
    cluster.world.crashing.add(("etcd", "3.6.14"))
    ended = await drive(cluster, planned(cluster, ETCD))
    assert ended.outcome == "failed"
    assert "crashed 2 times after its start" in ended.why
    assert "etcd 3.5.33 runs there again, healthy, on the same data" in ended.why
    assert versions(cluster)["etcd"] == {"3.5.33"}
    assert cluster.world.violations == []
    cluster.world.crashing.clear()
    await goes_on(cluster)
    assert versions(cluster)["etcd"] == {"3.6.14"}


@virtual
async def test_the_new_binary_never_becomes_healthy() -> None:
    cluster = quick()
    cluster.world.never_ready.add(("etcd", "3.6.14"))
    ended = await drive(cluster, planned(cluster, ETCD))
    assert ended.outcome == "failed"
    assert "does not answer yet. This did not change for 60 s." in ended.why
    assert "runs there again" in ended.why
    assert versions(cluster)["etcd"] == {"3.5.33"}
    cluster.world.never_ready.clear()
    await goes_on(cluster)


@virtual
async def test_a_second_member_dies_while_one_is_stopped() -> None:
    cluster = quick()

    def dies(world: World) -> None:
        world.excused.add("etcd-3")
        world.power_off("etcd-3")

    cluster.world.on("after", "stop", "etcd-2/etcd", dies)
    ended = await drive(cluster, planned(cluster, ETCD))
    assert ended.outcome in ("failed", "paused")
    assert "etcd-3" in ended.why
    assert cluster.world.violations == []
    assert cluster.world.runs("etcd-2", "etcd"), "the member that was stopped is up again"
    at = {c.identity: c.at for c in cluster.world.changes}
    down = at["start", "etcd-2/etcd"] - at["stop", "etcd-2/etcd"]
    assert down < 8.0, f"without quorum for {down:.0f} s, because the API was asked first"
    assert cluster.world.etcd.has_quorum()
    cluster.world.boot("etcd-3")
    await goes_on(cluster)


@virtual
async def test_the_transferee_dies_during_the_move() -> None:
    cluster = quick()

    def dies(world: World) -> None:
        world.excused.add("etcd-2")
        world.power_off("etcd-2")
        world.later(40.0, lambda: world.boot("etcd-2"))

    cluster.world.on("before", "move-leader", "etcd-2", dies)
    ended = await drive(cluster, planned(cluster, ETCD))
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert cluster.world.etcd.leader != "etcd-1"


@virtual
async def test_the_leader_changes_between_check_and_stop() -> None:
    cluster = quick()
    stopped_leading: list[str] = []

    def watch(world: World) -> None:
        stopped_leading.append(world.etcd.leader)

    cluster.world.on("after", "restore-proof", "etcd-2", lambda w: None)
    cluster.world.on("after", "snapshot", "etcd-2", lambda w: w.etcd.lead("etcd-2"))
    cluster.world.on("before", "switch", "etcd-2/etcd to 3.6.14", watch)
    plan = planned(cluster, ETCD)
    cluster.world.etcd.lead("etcd-2")
    ended = await drive(cluster, plan)
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert stopped_leading != ["etcd-2"]
    moves = [c for c in cluster.world.changes if c.verb == "move-leader"]
    assert moves, "a leader was moved away before its stop"


@virtual
async def test_the_host_reboots_during_the_swap() -> None:
    cluster = quick()
    cluster.world.on("after", "switch", "etcd-2/etcd to 3.6.14", lambda w: w.reboot("etcd-2", 30.0))
    ended = await drive(cluster, planned(cluster, ETCD))
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why


@pytest.mark.parametrize("verb", ["stop etcd-2/etcd", "switch etcd-2/etcd to 3.6.14"])
def test_ssh_drops_after_the_command_ran(verb: str) -> None:
    @virtual
    async def go() -> None:
        cluster = quick()
        name, _, target = verb.partition(" ")

        def drops(world: World) -> None:
            from pawl.core.errors import Unreachable

            raise Unreachable("the connection to etcd-2 was lost.")

        cluster.world.on("after", name, target, drops)
        ended = await drive(cluster, planned(cluster, ETCD))
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
        done = [c for c in cluster.world.changes if c.identity == (name, target)]
        assert len(done) == 1, "the effect had happened, and was found"

    go()


@virtual
async def test_a_machine_comes_back_with_an_empty_disk() -> None:
    cluster = quick()
    cluster.world.blank_disks.add("etcd-2")
    ended = await drive(cluster, planned(cluster, ETCD_REPLACE))
    assert ended.outcome == "failed"
    assert "etcd-2 came back with an empty data disk" in ended.why
    assert "member remove" in ended.why
    unit = cluster.world.hosts["etcd-2"].units["etcd"]
    assert unit.active == "inactive", "stopped, so that it cannot vote with an empty log"
    made = [c for c in cluster.world.changes if c.verb == "replace-machine"]
    assert len(made) == 1, "the old image would have found the same disk"
    assert sorted(cluster.world.etcd.up()) == ["etcd-1", "etcd-3"]
    assert cluster.world.violations == []
    cluster.world.hosts["etcd-2"].disk_has_data = True
    cluster.world.start(cluster.world.hosts["etcd-2"], "etcd")
    await goes_on(cluster)


@virtual
async def test_data_that_was_made_anew_since_the_plan_is_not_taken_for_a_wrong_disk() -> None:
    cluster = quick()
    plan = planned(cluster, ETCD_REPLACE)
    source = replace(plan.source, disks={**plan.source.disks, "etcd-2": "data-before"})
    ended = await drive(cluster, replace(plan, source=source).sealed())
    assert ended.outcome == "failed"
    assert "the data of etcd member etcd-2 was made anew since the plan" in ended.why
    assert not [c for c in cluster.world.changes if c.verb in ("stop", "replace-machine")]


@virtual
async def test_nospace_stops_the_roll_before_a_member_is_touched() -> None:
    cluster = quick()
    plan = planned(cluster, ETCD)

    def full(world: World) -> None:
        world.etcd.alarms = ("NOSPACE",)

    cluster.world.on("after", "stage", "etcd-3/etcd 3.6.14", full)
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert "NOSPACE" in ended.why
    assert not [c for c in cluster.world.changes if c.verb == "stop"]
    cluster.world.etcd.alarms = ()
    await goes_on(cluster)


@virtual
async def test_different_hashes_stop_everything() -> None:
    cluster = quick()

    def rots(world: World) -> None:
        world.etcd.corrupt.add("etcd-2")

    cluster.world.on("after", "start", "etcd-2/etcd", rots)
    ended = await drive(cluster, planned(cluster, ETCD))
    assert ended.outcome == "failed"
    assert "hold different data" in ended.why
    assert not [c for c in cluster.world.changes if c.identity == ("stop", "etcd-3/etcd")]


@virtual
async def test_a_wrong_checksum_installs_nothing() -> None:
    cluster = quick()
    cluster.world.bad_checksums.add(("etcd", "3.6.14"))
    ended = await drive(cluster, planned(cluster, ETCD))
    assert ended.outcome == "failed"
    assert "checksum" in ended.why
    assert cluster.world.changes == []


@virtual
async def test_flags_that_the_new_binary_refuses_stop_before_anything_does() -> None:
    cluster = quick()
    for i in (1, 2, 3):
        cluster.world.hosts[f"etcd-{i}"].flags["etcd"] = ("--enable-v2=true",)
    plan = planned_anyway(cluster)
    cluster.world.refused_flags[("--enable-v2", "3.6.14")] = "unknown flag: --enable-v2."
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert "--enable-v2" in ended.why
    assert not [c for c in cluster.world.changes if c.verb == "stop"]


def planned_anyway(cluster: SimCluster) -> object:
    """A plan from before the flag was there: the checks would refuse it now."""
    flags = {}
    for host in cluster.world.hosts.values():
        flags[host.name] = dict(host.flags)
        host.flags = dict.fromkeys(host.flags, ())
    plan = planned(cluster, ETCD)
    for host in cluster.world.hosts.values():
        host.flags = flags[host.name]
    return plan


# -- the control plane -----------------------------------------------------------------------------


@virtual
async def test_an_api_server_is_never_ready() -> None:
    cluster = quick()
    cluster.world.never_ready.add(("kube-apiserver", "1.37.0"))
    ended = await drive(cluster, planned(cluster, CONTROL_PLANE))
    assert ended.outcome == "failed"
    assert "kube-apiserver 1.36.0 runs there again" in ended.why
    assert versions(cluster)["kube-apiserver"] == {"1.36.0"}
    assert {b.admin for b in cluster.state().balancer} == {"ready"}, "back in the balancer"
    assert cluster.world.violations == []
    cluster.world.never_ready.clear()
    await goes_on(cluster)


@virtual
async def test_the_finish_does_not_come_up_and_the_emulation_does() -> None:
    cluster = quick()

    def breaks(world: World) -> None:
        world.crashing.add(("kube-apiserver@cp-1", "1.37.0"))
        world.later(0.1, world.crashing.clear)

    plan = planned(cluster, CONTROL_PLANE)
    cluster.world.on("before", "start", "cp-1/kube-apiserver", lambda w: None)
    first_start = [0]

    def second(world: World) -> None:
        first_start[0] += 1
        breaks(world)

    # The first start is the swap, the second the finish.
    cluster.world.on(
        "after",
        "start",
        "cp-1/kube-apiserver",
        lambda w: w.on("before", "start", "cp-1/kube-apiserver", second),
    )
    ended = await drive(cluster, plan)
    assert first_start == [1]
    assert ended.outcome == "failed", ended.why
    assert "did not become healthy" in ended.why
    state = cluster.state()
    assert state.api_server("cp-1").emulation_version == "1.36"  # type: ignore[union-attr]
    assert {b.admin for b in state.balancer} == {"ready"}
    await goes_on(cluster)


@virtual
async def test_what_has_mended_itself_is_seen_though_no_step_touches_it() -> None:
    """A controller that lost its lease is back after some seconds; who waits for it looks there."""
    cluster = quick()
    plan = planned(cluster, CONTROL_PLANE)
    world, name = cluster.world, "kube-controller-manager"
    at: dict[str, float] = {}

    def falls(w: World) -> None:
        at["down"] = w.now
        w.stop(w.host("cp-3"), name)
        w.later(4.0, lambda: w.start(w.host("cp-3"), name))

    staged = [s for s in plan.steps if "/stage/" in s.id and s.id.endswith("/cp-3")]
    last = staged[-1].action
    world.on("after", "stage", f"cp-3/{last.component} {last.version}", falls)  # type: ignore[union-attr]
    world.on("before", "stop", "cp-1/kube-apiserver", lambda w: at.setdefault("on", w.now))
    ended = await drive(cluster, plan)
    assert (ended.outcome, world.violations) == ("done", []), ended.why
    assert at["on"] - at["down"] < 30.0


@virtual
async def test_the_load_balancer_cannot_be_reached() -> None:
    cluster = quick()
    plan = planned(cluster, CONTROL_PLANE)

    def gone(world: World) -> None:
        world.balancer_up = False

    cluster.world.on("before", "drain", "cp-2", gone)
    ended = await drive(cluster, plan)
    assert ended.outcome in ("failed", "paused")
    assert "load balancer" in ended.why
    assert not [c for c in cluster.world.changes if c.identity == ("stop", "cp-2/kube-apiserver")]
    assert cluster.world.violations == []
    cluster.world.balancer_up = True
    await goes_on(cluster)


# -- nodes -----------------------------------------------------------------------------------------


@virtual
async def test_a_budget_that_never_allows_gives_the_cordon_back() -> None:
    cluster = quick()
    target = nodes_only(cluster)
    plan = planned(cluster, target)

    def tightens(world: World) -> None:
        for deployment in world.pods.deployments:
            if deployment.minimum is not None:
                deployment.minimum = deployment.replicas
                deployment.surges = False

    cluster.world.on("after", "stage", "worker-1/kubelet 1.37.0", tightens)
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    assert "disruption budget web-budget needs 6 healthy pods and has 6 currently" in ended.why
    assert not [n for n in cluster.state().nodes if n.unschedulable]
    for deployment in cluster.world.pods.deployments:
        if deployment.minimum is not None:
            deployment.minimum = 3
    await goes_on(cluster)


@virtual
async def test_a_node_that_never_gets_ready_goes_back() -> None:
    cluster = quick()
    target = nodes_only(cluster)
    cluster.world.never_ready.add(("kubelet", "1.37.0"))
    ended = await drive(cluster, planned(cluster, target))
    assert ended.outcome == "failed"
    assert "kubelet 1.36.0 runs there again" in ended.why
    state = cluster.state()
    assert all(n.ready and not n.unschedulable for n in state.nodes)
    assert not [c for c in cluster.world.changes if c.verb == "stop" and "worker-2" in c.target]


@virtual
async def test_a_denying_webhook_is_asked_again() -> None:
    cluster = quick()
    target = nodes_only(cluster)
    for pod in cluster.world.pods.pods.values():
        cluster.world.pods.webhook_denials[pod.name] = 2
    ended = await drive(cluster, planned(cluster, target))
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why


@virtual
async def test_somebody_elses_cordon_stays() -> None:
    cluster = quick()
    target = nodes_only(cluster)
    cluster.world.nodes["worker-2"].unschedulable = True
    cluster.world.nodes["worker-2"].cordoned_by = "ana"
    ended = await drive(cluster, planned(cluster, target))
    assert ended.outcome == "done", ended.why
    node = cluster.state().node("worker-2")
    assert node is not None
    assert (node.unschedulable, node.cordoned_by, node.kubelet) == (True, "ana", "1.37.0")


# -- the operator ----------------------------------------------------------------------------------


class Freeze:
    """SIGSTOP right before one effect."""

    def __init__(self, session: object, at: int) -> None:
        self._operator = session.operator  # type: ignore[attr-defined]
        self._left = at

    async def before(self, effect: Effect) -> None:
        self._left -= 1
        if self._left == 0:
            self._operator.freeze()

    async def after(self, effect: Effect) -> None:
        return


@virtual
async def test_a_stopped_operator_wakes_up_fenced() -> None:
    """SIGSTOP for a minute while a second pawl on another machine takes over, then SIGCONT."""
    cluster = quick()
    plan = planned(cluster)
    first = cluster.session("first")
    told: list[BaseException] = []

    async def stopped() -> None:
        try:
            await drive(cluster, plan, session=first, holder="first", hook=Freeze(first, 20))
        except Fenced as error:
            told.append(error)

    task = asyncio.create_task(stopped())
    await asyncio.sleep(60.0)
    acted = len(cluster.world.changes)
    ended = await drive(cluster, plan, holder="second", lock=SimLock(), run="run-2")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    by_second = len(cluster.world.changes)
    assert by_second > acted
    first.operator.thaw()
    await task
    assert told, "the first one was fenced"
    assert len(cluster.world.changes) == by_second, "and did nothing more"
    assert versions(cluster) == NEW


class SleepBefore:
    """SIGSTOP between the check and the act of one effect."""

    def __init__(self, session: SimSession, name: str, target: str) -> None:
        self._operator = session.operator
        self._instant = (name, target)

    async def before(self, effect: Effect) -> None:
        if (effect.name, effect.target) == self._instant:
            self._operator.freeze()

    async def after(self, effect: Effect) -> None:
        return


@virtual
async def test_a_machine_made_anew_knows_its_operator_from_its_first_second() -> None:
    """The first operator sleeps right before it stops etcd-2; the second makes that machine anew
    and dies before it could claim it; then the first wakes."""
    cluster = quick()
    plan = planned(cluster, ETCD_REPLACE)
    first = cluster.session("first")
    told: list[BaseException] = []

    async def stopped() -> None:
        try:
            hook = SleepBefore(first, "stop", "etcd-2/etcd")
            await drive(cluster, plan, session=first, holder="first", hook=hook)
        except Fenced as error:
            told.append(error)

    task = asyncio.create_task(stopped())
    await asyncio.sleep(60.0)

    class DiesAfter(Watch):
        async def after(self, effect: Effect) -> None:
            if effect.name == "replace-machine":
                raise Crash

    with pytest.raises(Crash):
        await drive(cluster, plan, hook=DiesAfter(), holder="second", lock=SimLock(), run="run-2")
    stops = [c for c in cluster.world.changes if c.verb == "stop"]
    first.operator.thaw()
    await task
    assert told, "the first one was fenced by the new machine"
    assert [c for c in cluster.world.changes if c.verb == "stop"] == stops
    await asyncio.sleep(5.0)
    assert sorted(cluster.world.etcd.up()) == ["etcd-1", "etcd-2", "etcd-3"]


@virtual
async def test_two_pawls_at_once() -> None:
    cluster = quick()
    plan = planned(cluster)
    outcomes: list[str] = []

    async def go(holder: str, lock: SimLock) -> None:
        try:
            ended = await drive(cluster, plan, holder=holder, lock=lock)
            outcomes.append(ended.outcome)
        except Refused as error:
            outcomes.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(go, "one", cluster.lock)
        group.start_soon(go, "two", cluster.lock)
        group.start_soon(go, "elsewhere", SimLock())
    assert sorted(o[:7] for o in outcomes) == ["done", "refused", "refused"], outcomes
    assert cluster.world.violations == []


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_the_clock_jumps(jump: float) -> None:
    @virtual
    async def go() -> None:
        cluster = quick()
        session = cluster.session()

        def jumps(world: World) -> None:
            session.operator.clock.offset = jump

        cluster.world.on("after", "stop", "etcd-2/etcd", jumps)
        ended = await drive(cluster, planned(cluster, ETCD), session=session)
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why

    go()


@virtual
async def test_a_clock_that_jumps_while_a_member_comes_up_is_no_deadline_passed() -> None:
    cluster = quick()
    session = cluster.session()

    def jumps() -> None:
        session.operator.clock.offset = 3600.0

    cluster.world.on("after", "start", "etcd-2/etcd", lambda w: w.later(0.05, jumps))
    ended = await drive(cluster, planned(cluster, ETCD), session=session)
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    started = [c for c in cluster.world.changes if c.identity == ("start", "etcd-2/etcd")]
    assert len(started) == 1, "the healthy new binary was not taken back"


@virtual
async def test_a_clock_that_jumps_does_not_end_a_soak() -> None:
    cluster = SimCluster(policy=PolicyConfig(approvals=(), soak=SoakConfig(etcd=600.0)))
    session = cluster.session()
    plan = planned(cluster, ETCD)

    def jumps() -> None:
        session.operator.clock.offset = 3600.0

    cluster.world.later(120.0, jumps)
    began = asyncio.get_running_loop().time()
    ended = await drive(cluster, plan, session=session)
    assert ended.outcome == "done", ended.why
    assert asyncio.get_running_loop().time() - began > 600.0, "what nobody watched is no soak"


@pytest.mark.parametrize("how", ["deleted", "full", "read-only"])
def test_the_journal_fails_in_the_middle(how: str, tmp_path: Path) -> None:
    @virtual
    async def go() -> None:
        cluster = quick()
        plan = planned(cluster, ETCD)
        path = tmp_path / "journal.db"
        session = cluster.session()
        journal = session.journal = SqliteJournal(path)  # type: ignore[assignment]

        def fails(world: World) -> None:
            match how:
                case "deleted":
                    path.unlink()
                case "full":
                    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
                    journal._db.execute(f"PRAGMA max_page_count={pages}")
                case "read-only":
                    journal._db.execute("PRAGMA query_only=1")

        cluster.world.on("after", "stop", "etcd-2/etcd", fails)
        with pytest.raises(PawlError, match="The cluster is not harmed"):
            # A full disk is met by whichever write needs a new page.
            await drive(cluster, plan, session=session)
        assert cluster.world.violations == []
        ended = await drive(cluster, plan, holder="with a new journal")
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
        stops = [c for c in cluster.world.changes if c.identity == ("stop", "etcd-2/etcd")]
        assert len(stops) == 1

    go()


@virtual
async def test_a_journal_lost_while_the_last_member_is_stopped() -> None:
    """A new plan cannot soak: what it would hold back is down already. A person is asked."""
    cluster = quick()

    class Dies(Watch):
        async def after(self, effect: Effect) -> None:
            if (effect.name, effect.target) == ("stop", "etcd-1/etcd"):
                raise Crash

    with pytest.raises(Crash):
        await drive(cluster, planned(cluster, ETCD), hook=Dies(), holder="killed")
    cluster.journal = MemoryJournal()
    plan = planned(cluster, ETCD)
    assert not [s.id for s in plan.steps if s.id.endswith("/soak")]
    (gate,) = (s for s in plan.steps if s.id.endswith("/point-of-no-return"))
    assert "etcd-1 is stopped" in gate.why
    ended = await drive(cluster, plan, holder="with a new journal", run="run-2")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert versions(cluster)["etcd"] == {"3.6.14"}


@virtual
async def test_pause_stops_at_a_safe_point_and_resume_goes_on() -> None:
    cluster = quick()
    plan = planned(cluster)
    cluster.world.on("after", "stop", "etcd-3/etcd", lambda w: pause(cluster))
    ended = await drive(cluster, plan)
    assert ended.outcome == "paused"
    assert "lunch" in ended.why
    assert cluster.world.runs("etcd-3", "etcd"), "the step that ran was finished"
    await goes_on(cluster)
    assert versions(cluster) == NEW


@virtual
async def test_a_signal_interrupts_a_soak_at_once() -> None:
    cluster = SimCluster(policy=PolicyConfig(approvals=(), soak=SoakConfig(etcd=3600.0)))
    plan = planned(cluster, ETCD)
    stop = Stop()
    began = cluster.session().clock.now()

    async def later() -> None:
        await asyncio.sleep(300.0)
        stop.ask("SIGINT was received.")

    task = asyncio.create_task(later())
    ended = await drive(cluster, plan, stop=stop)
    await task
    assert ended.outcome == "interrupted"
    assert cluster.session().clock.now() - began < 330.0


@virtual
async def test_abort_gives_everything_back() -> None:
    cluster = quick()
    target = Target(kubernetes="1.37.0", only=("nodes",), node_strategy="replace")
    nodes_only(cluster)
    plan = planned(cluster, target)

    def aborts(world: World) -> None:
        cluster.journal.append(Aborted(at=0.0, run=RUN, why="wrong window.", by="test"))

    cluster.world.on("after", "drain", "cp-1", aborts)
    cluster.world.later(30.0, lambda: aborts(cluster.world))
    ended = await drive(cluster, plan)
    assert ended.outcome == "aborted"
    assert "wrong window" in ended.why
    state = cluster.state()
    assert not [n for n in state.nodes if n.unschedulable or n.taints]


@virtual
async def test_abort_of_a_killed_run_finishes_what_was_half_done() -> None:
    cluster = quick()
    plan = planned(cluster, CONTROL_PLANE)

    class KillAtSwitch(Watch):
        async def after(self, effect: Effect) -> None:
            if effect.name == "switch":
                raise Crash

    with pytest.raises(Crash):
        await drive(cluster, plan, hook=KillAtSwitch(), holder="killed")
    assert not cluster.world.runs("cp-1", "kube-apiserver")
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="enough.", by="test"))
    ended = await drive(cluster, plan, holder="aborting")
    assert ended.outcome == "aborted"
    assert cluster.world.runs("cp-1", "kube-apiserver")
    assert {b.admin for b in cluster.state().balancer} == {"ready"}
    assert cluster.world.violations == []


@virtual
async def test_abort_puts_back_what_the_run_drained_and_nothing_else() -> None:
    cluster = quick()
    plan = planned(cluster, CONTROL_PLANE)

    class KillOnceDrained(Watch):
        async def after(self, effect: Effect) -> None:
            if effect.name == "drain-balancer":
                raise Crash

    with pytest.raises(Crash):
        await drive(cluster, plan, hook=KillOnceDrained(), holder="killed")
    (ours,) = [b.host for b in cluster.state().balancer if b.admin != "ready"]
    person = next(b for b in cluster.world.balancer.values() if b.host != ours)
    person.admin = "drain"
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="enough.", by="test"))
    ended = await drive(cluster, plan, holder="aborting")
    assert ended.outcome == "aborted"
    assert [b.host for b in cluster.state().balancer if b.admin != "ready"] == [person.host]
    assert f"{ours} serves behind the balancer again" in ended.why
    assert f"{person.host} stays out of the balancer" in ended.why


@virtual
async def test_a_plan_that_needs_a_drained_server_first_asks_for_an_abort() -> None:
    cluster = quick()
    forward = Target(kubernetes="1.37.0", etcd="3.6.14")
    plan = planned(cluster, forward)

    class KillOnceDrained(Watch):
        async def after(self, effect: Effect) -> None:
            if effect.name == "drain-balancer" and "finish" in effect.step:
                raise Crash

    with pytest.raises(Crash):
        await drive(cluster, plan, hook=KillOnceDrained(), holder="killed")
    assert "PAWL-C008" in [f.code for f in planned(cluster, forward).findings]
    back = Target(kubernetes="1.36.0", etcd="3.5.33")
    with pytest.raises(Refused, match="pawl abort"):
        planned(cluster, back)
    cluster.journal.append(Aborted(at=0.0, run=RUN, why="enough.", by="test"))
    assert (await drive(cluster, plan, holder="aborting")).outcome == "aborted"
    assert "pawl abort" not in " ".join(f.remedy for f in planned(cluster, back).findings)


@virtual
async def test_a_point_of_no_return_waits_for_its_approval() -> None:
    policy = PolicyConfig(soak=QUICK.soak)
    cluster = SimCluster(policy=policy)
    plan = planned(cluster, ETCD)

    def says(name: str) -> None:
        cluster.journal.append(Approved(at=0.0, run="", digest=plan.digest, name=name, by="ana"))

    refused = await drive(cluster, plan, wait=False)
    assert (refused.outcome, cluster.world.changes) == ("paused", [])
    says("plan")
    held = await drive(cluster, plan, wait=False)
    assert held.outcome == "paused"
    assert "etcd-last-member" in held.why
    assert sorted(m.version or "" for m in cluster.state().members) == ["3.5.33"] + ["3.6.14"] * 2
    assert {m.cluster_version for m in cluster.state().members} == {"3.5.0"}
    says("etcd-last-member")
    assert (await drive(cluster, plan, wait=False)).outcome == "done"


@virtual
async def test_a_regression_in_the_soak_stops_before_the_gate() -> None:
    cluster = SimCluster(policy=PolicyConfig(approvals=(), soak=SoakConfig(etcd=600.0)))
    plan = planned(cluster, ETCD)

    def restarts(world: World) -> None:
        world.hosts["etcd-2"].units["etcd"].restarts += 1

    cluster.world.later(120.0, lambda: restarts(cluster.world))
    ended = await drive(cluster, plan)
    assert ended.outcome == "failed"
    assert "etcd.service on etcd-2 was restarted by systemd" in ended.why
    assert "pawl rollback" in ended.why


@virtual
async def test_a_change_by_hand_is_seen() -> None:
    cluster = quick()
    plan = planned(cluster, ETCD)

    def by_hand(world: World) -> None:
        host = world.hosts["etcd-3"]
        host.install("etcd", "3.5.32")
        world.stop(host, "etcd")
        world.start(host, "etcd")
        host.units["etcd"].version = "3.5.32"

    cluster.world.on("after", "start", "etcd-2/etcd", by_hand)
    cluster.world.excused.add("etcd-3")
    ended = await drive(cluster, plan)
    assert ended.outcome in ("paused", "failed")
    assert "etcd on etcd-3 runs 3.5.32" in ended.why


@virtual
async def test_every_failure_names_its_step_and_stands_in_the_journal() -> None:
    cluster = quick()
    cluster.world.crashing.add(("etcd", "3.6.14"))
    await drive(cluster, planned(cluster, ETCD))
    failed = [e for e in cluster.journal.events(RUN) if isinstance(e, StepFailed)]
    done = {e.step for e in cluster.journal.events(RUN) if isinstance(e, StepDone)}
    assert [e.step for e in failed] == ["etcd/3.6.14/swap/etcd-2"]
    assert "etcd/3.6.14/swap/etcd-2" not in done
