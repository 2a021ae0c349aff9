"""What a run does next: each decision has a reason, and no effect begins against an invariant."""

from __future__ import annotations

from msgspec.structs import replace

from pawl.core import invariants
from pawl.core.config import PolicyConfig
from pawl.core.decide import Decision, Done, Halt, Start, Wait, decide, finished
from pawl.core.events import (
    Aborted,
    AnyEvent,
    Approved,
    EffectDone,
    EffectIntended,
    Paused,
    Resumed,
    RunStarted,
    StepDone,
    StepFailed,
    StepStarted,
    Waiting,
)
from pawl.core.model import ClusterState, Unread
from pawl.core.plan import Target
from pawl.core.planner import plan
from pawl.core.predict import learned
from pawl.core.progress import fold
from pawl.testing.clusters import TAKEN_AT, cluster, config

STATE = cluster()
PLAN = plan(STATE, Target(kubernetes="1.37.0", etcd="3.6.14"), config(STATE))
NOW = TAKEN_AT
POLICY = PolicyConfig()
LAST = "etcd/3.6.14/swap/etcd-1"
FIRST = "etcd/3.6.14/swap/etcd-2"
SECOND = "etcd/3.6.14/swap/etcd-3"


def approved(*names: str) -> list[AnyEvent]:
    return [Approved(at=NOW, run="r", digest=PLAN.digest, name=n, by="me") for n in names]


def done(*steps: str) -> list[AnyEvent]:
    return [StepDone(at=NOW, run="r", step=s) for s in steps]


def failed(step: str, at: float = NOW) -> AnyEvent:
    return StepFailed(at=at, run="r", step=step, why="the disk is full.")


def before(step_id: str) -> tuple[list[AnyEvent], ClusterState]:
    """An approved run that stands just before a step: its journal and its cluster."""
    events, state = approved("plan"), STATE
    for step in PLAN.steps:
        if step.id == step_id:
            return events, state
        events += done(step.id)
        state = invariants.after(step.action, state)
    raise KeyError(step_id)


def answer(events: list[AnyEvent], state: ClusterState, now: float = NOW) -> Decision:
    return decide(PLAN, fold(events), state, now, POLICY)


def started(decision: Decision) -> str:
    assert isinstance(decision, Start), decision
    return decision.step.id


def test_nothing_begins_without_the_approval_of_this_very_plan() -> None:
    other = [Approved(at=NOW, run="r", digest="other", name="plan", by="me")]
    for events in ([], other):
        decision = answer(events, STATE)
        assert isinstance(decision, Wait)
        assert f"pawl approve {PLAN.digest[:12]}" in decision.why
    assert started(answer(approved("plan"), STATE)) == "preflight"


def test_the_point_of_no_return_needs_its_own_approval() -> None:
    events, state = before("etcd/3.6.14/point-of-no-return")
    meanwhile = [s for s in PLAN.steps if s.id.startswith("control-plane/1.37.0/stage/")]
    assert started(answer(events, state)) == meanwhile[0].id, "a wait is no reason to be idle"
    for step in meanwhile:
        events += done(step.id)
        state = invariants.after(step.action, state)
    decision = answer(events, state)
    assert isinstance(decision, Wait)
    assert decision.until is None
    assert "etcd-last-member" in decision.why
    assert started(answer(events + approved("etcd-last-member"), state)).endswith("no-return")


def test_a_step_that_somebody_else_has_done_is_done() -> None:
    events, state = before(FIRST)
    by_hand = invariants.after(PLAN.step(FIRST).action, state)
    assert started(answer(events, by_hand)) == SECOND


def test_an_unexpected_version_halts_with_its_reason() -> None:
    events, state = before(FIRST)
    members = tuple(
        replace(m, version="3.5.30") if m.host == "etcd-3" else m for m in state.members
    )
    decision = answer(events, replace(state, members=members))
    assert isinstance(decision, Halt)
    assert "etcd on etcd-3 runs 3.5.30" in decision.why
    assert "new plan" in decision.why


def test_a_changed_membership_halts() -> None:
    events, state = before(FIRST)
    gone = replace(state, members=state.members[:-1])
    assert isinstance(answer(events, gone), Halt)
    swapped = tuple(
        replace(m, member_id="ffff") if m.host == "etcd-3" else m for m in state.members
    )
    decision = answer(events, replace(state, members=swapped))
    assert isinstance(decision, Halt)
    assert "ffff" in decision.why


def test_a_step_done_by_the_run_and_undone_by_hand_halts() -> None:
    events, state = before(SECOND)
    back = tuple(replace(m, version="3.5.33") if m.host == "etcd-2" else m for m in state.members)
    decision = answer(events, replace(state, members=back))
    assert started(decision) == FIRST  # the plan's own source: it is simply done again


def test_no_second_member_stops_while_one_is_unwell() -> None:
    events, state = before(SECOND)
    sick = tuple(replace(m, healthy=m.host != "etcd-1") for m in state.members)
    decision = answer(events, replace(state, members=sick))
    assert isinstance(decision, Wait)
    assert "etcd-1" in decision.why
    assert decision.until is not None


def test_an_interrupted_swap_is_finished_though_another_member_died_meanwhile() -> None:
    """The stopped member is what brings quorum back."""
    events, state = before(SECOND)
    events += [
        StepStarted(at=NOW, run="r", step=SECOND, attempt=1),
        RunStarted(at=NOW, run="r", plan=PLAN.digest, operator="o", resumed=True),
    ]
    state = invariants.during(PLAN.step(SECOND).action, state)
    sick = tuple(replace(m, healthy=False) if m.host == "etcd-1" else m for m in state.members)
    decision = answer(events, replace(state, members=sick))
    assert started(decision) == SECOND
    assert "begun before" in decision.why


def test_no_api_server_leaves_while_another_is_out() -> None:
    events, state = before("control-plane/1.37.0/swap/cp-2")
    balancer = tuple(replace(b, admin="maint") if b.host == "cp-3" else b for b in state.balancer)
    decision = answer(events, replace(state, balancer=balancer))
    assert isinstance(decision, Wait)
    assert "cp-3" in decision.why


def test_an_api_server_waits_for_etcd_and_etcd_for_api_servers() -> None:
    events, state = before("control-plane/1.37.0/swap/cp-2")
    sick = tuple(replace(m, healthy=m.host != "etcd-3") for m in state.members)
    assert isinstance(answer(events, replace(state, members=sick)), Wait)
    events, state = before(SECOND)
    servers = tuple(replace(a, ready=a.host != "cp-1") for a in state.api_servers)
    decision = answer(events, replace(state, api_servers=servers))
    assert isinstance(decision, Wait)
    assert "cp-1 does not serve" in decision.why


def test_a_node_that_does_not_come_back_stops_the_roll() -> None:
    events, state = before("nodes/1.37.0/swap/worker-2")
    nodes = tuple(replace(n, ready=n.name != "worker-1") for n in state.nodes)
    decision = answer(events, replace(state, nodes=nodes))
    assert isinstance(decision, Wait)
    assert "worker-1 is not Ready" in decision.why


def test_not_read_is_not_clean() -> None:
    events, state = before(SECOND)
    blind = replace(state, unread=(Unread(source="etcd member etcd-1", why="timed out"),))
    decision = answer(events, blind)
    assert isinstance(decision, Wait)
    assert "etcd member etcd-1 could not be read (timed out)" in decision.why
    own = replace(state, unread=(Unread(source="etcd member etcd-3", why="refused"),))
    assert started(answer(events, own)) == SECOND


def test_waiting_ends_when_patience_does() -> None:
    events, state = before(SECOND)
    sick = replace(
        state, members=tuple(replace(m, healthy=m.host != "etcd-1") for m in state.members)
    )
    events.append(Waiting(at=NOW, run="r", step=SECOND, why="x", trouble=True))
    assert isinstance(answer(events, sick, NOW + POLICY.patience - 1), Wait)
    decision = answer(events, sick, NOW + POLICY.patience)
    assert isinstance(decision, Halt)
    assert decision.outcome == "failed"
    assert "pawl resume" in decision.why


def test_failures_are_retried_within_a_budget_and_a_resume_gives_a_new_one() -> None:
    events, state = before(FIRST)
    once = [*events, failed(FIRST)]
    waiting = answer(once, state)
    assert isinstance(waiting, Wait)
    assert waiting.until == NOW + POLICY.retry_delay
    assert started(answer(once, state, NOW + POLICY.retry_delay)) == FIRST
    spent = events + [failed(FIRST)] * POLICY.attempts
    halted = answer(spent, state, NOW + 60)
    assert isinstance(halted, Halt)
    assert "the disk is full" in halted.why
    again = [*spent, Resumed(at=NOW, run="r", by="me")]
    assert started(answer(again, state, NOW + 60)) == FIRST


def test_pause_resume_abort() -> None:
    events, state = before(FIRST)
    paused = [*events, Paused(at=NOW, run="r", why="tea.", by="ann")]
    decision = answer(paused, state)
    assert isinstance(decision, Halt)
    assert "ann" in decision.why
    assert "pawl resume" in decision.why
    assert started(answer([*paused, Resumed(at=NOW, run="r", by="ann")], state)) == FIRST
    aborted = answer([*events, Aborted(at=NOW, run="r", why="enough.", by="ann")], state)
    assert isinstance(aborted, Halt)
    assert aborted.outcome == "aborted"


def test_staging_goes_on_side_by_side() -> None:
    events = approved("plan") + done("preflight")
    first = started(answer(events, STATE))
    events.append(StepStarted(at=NOW, run="r", step=first, attempt=1))
    second = started(answer(events, STATE))
    assert {first, second} == {"etcd/3.6.14/stage/etcd-1", "etcd/3.6.14/stage/etcd-2"}


def test_a_running_step_that_all_wait_for_is_named() -> None:
    events, state = before(FIRST)
    events.append(StepStarted(at=NOW, run="r", step=FIRST, attempt=1))
    decision = answer(events, state)
    assert isinstance(decision, Wait)
    assert decision.step == FIRST


def test_a_question_is_asked_though_the_end_state_stands() -> None:
    """Converging also compares hashes: a cluster version that is new already is not enough."""
    events, state = before("etcd/3.6.14/converge")
    events += approved("etcd-last-member")
    there = invariants.after(PLAN.step("etcd/3.6.14/converge").action, state)
    assert started(answer(events, there)) == "etcd/3.6.14/converge"


def test_a_lost_journal_is_not_dangerous() -> None:
    """Without any record, what the cluster tells is not done twice."""
    _, state = before("control-plane/1.37.0/swap/cp-2")
    gone = finished(PLAN, fold([]), state)
    assert LAST in gone
    assert "etcd/3.6.14/soak" in gone
    assert "control-plane/1.37.0/swap/cp-1" in gone
    assert "control-plane/1.37.0/swap/cp-2" not in gone


def test_done() -> None:
    events, state = before("landed")
    assert started(answer(events, state)) == "landed"
    assert isinstance(answer(events + done("landed"), state), Done)


# -- the fold --------------------------------------------------------------------------------------


def test_effects_that_were_intended_and_not_done_are_remembered() -> None:
    intended = EffectIntended(at=NOW, run="r", step=FIRST, effect="stop", target="etcd-2")
    ended = EffectDone(at=NOW, run="r", step=FIRST, effect="stop", target="etcd-2")
    assert [e.effect for e in fold([intended]).unfinished] == ["stop"]
    assert fold([intended, ended]).unfinished == ()
    assert fold([intended, *done(FIRST)]).unfinished == ()


def test_a_new_process_finds_what_the_old_one_left_begun() -> None:
    events: list[AnyEvent] = [
        RunStarted(at=NOW, run="r", plan="p", operator="one"),
        StepStarted(at=NOW, run="r", step=FIRST, attempt=1),
        RunStarted(at=NOW + 5, run="r", plan="p", operator="two", resumed=True),
    ]
    view = fold(events)
    assert view.interrupted == (FIRST,)
    assert view.running == ()
    assert view.started_at == NOW
    again = fold([*events, StepStarted(at=NOW + 6, run="r", step=FIRST, attempt=2)])
    assert again.interrupted == ()
    assert again.step(FIRST).attempts == 2


def test_times_are_learned_from_a_journal() -> None:
    events: list[AnyEvent] = []
    for number, step in enumerate((FIRST, SECOND)):
        events.append(StepStarted(at=NOW, run="r", step=step, attempt=1))
        events.append(StepDone(at=NOW + 2 + 2 * number, run="r", step=step))
    assert learned(PLAN, events) == {"swap-etcd-member": 3.0}
