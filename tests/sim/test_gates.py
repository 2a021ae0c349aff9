"""Gates in whole runs, in virtual time: what is worse on new nodes stops a roll, and only that."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from harness import RUN, drive, planned, resume, virtual
from msgspec.structs import replace
from test_faults import nodes_only

from pawl.core import report, report_html, report_md
from pawl.core.actions import Soak
from pawl.core.config import GatesConfig, MetricsConfig, PolicyConfig, SoakConfig
from pawl.core.errors import Refused
from pawl.core.events import (
    AnyEvent,
    Evidence,
    GatesJudged,
    GatesWatched,
    Paused,
    RunEnded,
    StepDone,
)
from pawl.core.progress import RunView
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Reading
from pawl.core.verify.series import Sides
from pawl.engine.effects import Effect, EffectHook, NoHook
from pawl.engine.gatekeeping import Gating
from pawl.engine.measuring import Measurer
from pawl.engine.record import view_of
from pawl.engine.reverse import nodes_back
from pawl.testing.cluster import SimCluster, SimSession
from pawl.testing.metrics import SimMetrics

POLICY = PolicyConfig(
    approvals=(),
    soak=SoakConfig(etcd=20.0, control_plane=20.0, node=300.0, last=300.0),
    gates=GatesConfig(mode="block", patience=1200.0),
)


async def judge_here(sides: Sequence[Sides]) -> tuple[Reading, ...]:
    """Without a thread, which does not live in virtual time."""
    return judge(sides)


class Roll:
    """Nodes go from 1.36 to 1.37 one by one, watched."""

    def __init__(
        self,
        workers: int = 4,
        held: str = "",
        policy: PolicyConfig = POLICY,
        strategy: str = "in-place",
    ) -> None:
        self.cluster = SimCluster(workers=workers, policy=policy)
        metrics = MetricsConfig(url="http://sim")
        self.cluster.config = replace(self.cluster.config, metrics=metrics)
        target = replace(nodes_only(self.cluster), node_strategy=strategy)
        self.plan = planned(self.cluster, target)
        self.metrics = SimMetrics(self.cluster.world, "1.36.0")
        self.held = held

    def session(self, name: str) -> SimSession:
        session = self.cluster.session(name)
        session.gating = Gating(
            measurer=Measurer(
                self.metrics, MetricsConfig(url="http://sim"), CATALOG, window=3600.0
            ),
            held=self.held,
            judge=judge_here,
        )
        return session

    async def go(self, name: str = "me", hook: EffectHook | None = None) -> RunEnded:
        session = self.session(name)
        return await drive(self.cluster, self.plan, session=session, holder=name, hook=hook)

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        return self.cluster.journal.events(RUN)

    @property
    def swapped(self) -> int:
        return sum(n.kubelet == "1.37.0" for n in self.cluster.world.nodes.values())

    @property
    def pauses(self) -> list[str]:
        return [e.why for e in self.events if isinstance(e, Paused)]


@virtual
async def test_a_quiet_roll_passes_its_gates_between_all_batches() -> None:
    roll = Roll()
    ended = await roll.go()
    assert ended.outcome == "done", ended.why
    assert roll.pauses == []
    done = [e for e in roll.events if isinstance(e, StepDone) and "/swap/" in e.step]
    assert len(done) == 4
    for earlier, later in pairwise(done[1:]):
        between = [
            e.verdict
            for e in roll.events
            if isinstance(e, GatesJudged) and earlier.at < e.at < later.at
        ]
        assert "pass" in between, (earlier.step, later.step)


def soaks(roll: Roll) -> list[str]:
    return [s.id for s in roll.plan.steps if isinstance(s.action, Soak)]


@pytest.mark.parametrize("strategy", ["in-place", "replace"])
def test_the_last_nodes_are_judged_before_the_run_has_landed(strategy: str) -> None:
    @virtual
    async def go() -> None:
        roll = Roll(strategy=strategy)
        roll.metrics.since = roll.cluster.world.now - 7200
        assert soaks(roll) == ["nodes/1.37.0/default/soak", "nodes/1.37.0/soak"]
        ended = await roll.go()
        assert ended.outcome == "done", ended.why
        assert roll.pauses == []
        assert roll.swapped == 4
        soaked = next(
            e for e in roll.events if isinstance(e, StepDone) and e.step == soaks(roll)[1]
        )
        judged = [e for e in roll.events if isinstance(e, GatesJudged) and e.at <= soaked.at]
        assert judged[-1].verdict == "pass"

    go()


@pytest.mark.parametrize("strategy", ["in-place", "replace"])
def test_worse_latency_on_the_last_node_alone_is_found(strategy: str) -> None:
    @virtual
    async def go() -> None:
        roll = Roll(strategy=strategy)
        roll.metrics.latency_on_new, roll.metrics.worse = 1.6, "worker-4"
        ended = await roll.go()
        assert ended.outcome == "paused", ended.why
        assert roll.swapped == 4
        assert "http latency of shop/DaemonSet/web is 1" in ended.why
        assert "worker-4" in ended.why

    go()


@virtual
async def test_what_cannot_be_told_of_the_last_nodes_is_said_and_keeps_the_run_no_longer() -> None:
    roll = Roll()

    class Lost(NoHook):
        async def after(self, effect: Effect) -> None:
            if effect.name == "uncordon" and effect.target == "worker-4":
                roll.metrics.empty = True

    ended = await roll.go(hook=Lost())
    assert ended.outcome == "done", ended.why
    assert roll.pauses == []
    own = [e for e in roll.events if getattr(e, "step", "") == soaks(roll)[1]]
    begun, done = own[0], own[-1]
    assert isinstance(done, StepDone)
    assert "without a regression, but the gates cannot tell yet" in done.note
    assert 2 * 300 <= done.at - begun.at < 2 * 300 + 60


@virtual
async def test_without_a_time_for_it_or_without_gates_the_run_lands_at_once() -> None:
    none = replace(POLICY, soak=replace(POLICY.soak, last=0.0))
    off = replace(POLICY, gates=GatesConfig(mode="off"))
    assert [len(soaks(Roll(policy=p))) for p in (POLICY, none, off)] == [2, 1, 1]
    unmeasured = SimCluster(policy=POLICY)
    plan = planned(unmeasured, nodes_only(unmeasured))
    assert sum(isinstance(s.action, Soak) for s in plan.steps) == 1


@virtual
async def test_worse_latency_on_the_canary_stops_the_roll_and_names_the_way_back() -> None:
    roll = Roll()
    roll.metrics.latency_on_new = 1.6
    ended = await roll.go()
    assert ended.outcome == "paused"
    assert roll.swapped == 1, "only the canary"
    assert "http latency of shop/DaemonSet/web is 1" in ended.why
    assert "on old nodes (+" in ended.why
    assert "1 nodes go back to 1.36.0" in ended.why
    assert "pawl rollback" in ended.why
    kept = [e for e in roll.events if isinstance(e, Evidence) and e.name == "gates"]
    assert kept
    assert "http-latency" in kept[0].data


@virtual
async def test_a_soak_does_not_end_before_it_was_judged_however_slow_the_judge_is() -> None:
    roll = Roll()
    roll.metrics.latency_on_new = 1.6

    class Slow(NoHook):
        async def after(self, effect: Effect) -> None:
            if effect.name == "uncordon":
                roll.metrics.takes = 60.0

    ended = await roll.go(hook=Slow())
    judged = [e.at for e in roll.events if isinstance(e, GatesJudged)]
    assert max(later - earlier for earlier, later in pairwise(judged)) > POLICY.soak.node
    assert ended.outcome == "paused", ended.why
    assert roll.swapped == 1, "only the canary"


@virtual
async def test_a_person_may_go_on_with_what_was_told() -> None:
    roll = Roll()
    roll.metrics.latency_on_new = 1.6
    assert (await roll.go()).outcome == "paused"
    resume(roll.cluster)
    ended = await roll.go("after a look")
    assert ended.outcome == "done", ended.why
    assert len(roll.pauses) == 1, "it is not blamed again"


@virtual
async def test_a_monitoring_that_is_down_pauses_and_blames_nothing() -> None:
    roll = Roll()
    roll.metrics.down = True
    ended = await roll.go()
    assert ended.outcome == "paused"
    assert "could not be read 5 times in a row" in ended.why
    assert "cannot be reached" in ended.why
    assert roll.swapped <= 1
    resume(roll.cluster)
    assert (await roll.go("after a look")).outcome == "done"


@virtual
async def test_no_data_holds_the_end_of_the_soak_until_a_person_tells() -> None:
    roll = Roll()
    roll.metrics.empty = True
    ended = await roll.go()
    assert ended.outcome == "paused"
    assert roll.swapped == 1
    assert "no data never passes" in ended.why
    assert "pawl resume" in ended.why
    resume(roll.cluster)
    assert (await roll.go("after a look")).outcome == "done"


@virtual
async def test_gates_that_are_not_proven_only_watch() -> None:
    roll = Roll(held="the gates have not been proven.")
    roll.metrics.latency_on_new = 1.6
    ended = await roll.go()
    assert ended.outcome == "done"
    assert roll.pauses == []
    judged = [e for e in roll.events if isinstance(e, GatesJudged)]
    failing = [e.failed for e in judged if e.failed]
    assert len(failing) > 5
    kept = [e for e in roll.events if isinstance(e, Evidence) and e.name == "gates"]
    assert len(kept) <= len({key for keys in failing for key in keys}) + 1, "not at every look"


@virtual
async def test_a_mistake_in_the_measuring_breaks_off_no_step() -> None:
    roll = Roll()

    async def mistaken(query: str, at: float) -> None:
        raise IndexError("tuple index out of range")

    roll.metrics.query = mistaken  # type: ignore[assignment,method-assign]
    ended = await roll.go()
    assert ended.outcome == "paused"
    assert "a mistake in pawl: IndexError" in ended.why


@virtual
async def test_the_nodes_alone_go_back_after_a_fail() -> None:
    roll = Roll()
    roll.metrics.latency_on_new = 1.6
    assert (await roll.go()).outcome == "paused"
    view = view_of(roll.cluster.journal, RUN)
    assert view.paused_by == "gates"
    assert view.gates is not None
    assert view.gates.failed
    back = nodes_back(roll.plan, view, roll.cluster.state(), roll.cluster.config)
    assert {s.phase for s in back.steps} <= {"nodes", "landed"}
    session = roll.session("back")
    ended = await drive(roll.cluster, back, run="run-back", session=session, holder="back")
    assert ended.outcome == "done", ended.why
    watched = [e for e in roll.cluster.journal.events("run-back") if isinstance(e, GatesWatched)]
    assert [e.blocking for e in watched] == [False], "gates stop nobody who goes back"
    assert roll.swapped == 0
    fresh = Roll()
    with pytest.raises(Refused, match="no node was changed"):
        nodes_back(fresh.plan, RunView(), fresh.cluster.state(), fresh.cluster.config)


@virtual
async def test_the_report_shows_what_the_gates_saw() -> None:
    roll = Roll()
    roll.metrics.latency_on_new = 1.6
    await roll.go()
    made = report.build(roll.plan, roll.events, None)
    assert made.gates is not None
    assert made.gates.verdict == "fail"
    assert "| http-latency | shop/DaemonSet/web | fail |" in report_md.render(made)
    page = report_html.render(made)
    assert "<h2>Gates: fail" in page
    assert page.count("<polyline") >= 2


@virtual
async def test_without_gates_nothing_is_asked() -> None:
    roll = Roll()
    session = roll.cluster.session("me")
    ended = await drive(roll.cluster, roll.plan, session=session)
    assert ended.outcome == "done"
    assert roll.metrics.queries == 0
