"""For any cluster: every prefix of every plan is safe, and a crash anywhere loses nothing."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pawl.core import invariants
from pawl.core.actions import AnyAction
from pawl.core.config import Config, LimitConfig, PolicyConfig
from pawl.core.decide import Done, Halt, Start, Wait, decide
from pawl.core.errors import Refused
from pawl.core.events import (
    AnyEvent,
    Approved,
    Paused,
    Resumed,
    RunStarted,
    StepDone,
    StepFailed,
    StepStarted,
)
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Target, decode, encode
from pawl.core.planner import plan
from pawl.core.progress import fold
from pawl.testing.clusters import cluster, config

EXAMPLES = int(os.environ.get("PAWL_EXAMPLES", "15"))
"""Few, so that the fast suite stays fast; PAWL_EXAMPLES=500 for a thorough search."""
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
RELEASES = {f"1.{m}": f"1.{m}.2" for m in range(28, 42)}
STRATEGIES = st.sampled_from(["in-place", "replace"])
POLICY = PolicyConfig(limits=LimitConfig(api_servers_left=1, max_unavailable=2, surge=2))


@st.composite
def cases(draw: st.DrawFn) -> tuple[ClusterState, Target, Config]:
    """A healthy cluster, a target 1–4 minors ahead, and a configuration that fits both."""
    first = draw(st.integers(min_value=29, max_value=37))
    minors = draw(st.integers(min_value=0, max_value=4))
    cp_strategy = draw(STRATEGIES)
    two_step = draw(st.booleans())
    only = draw(st.sampled_from([(), (), (), ("etcd",), ("control-plane",), ("nodes",)]))
    behind = draw(st.integers(min_value=0, max_value=2))
    if cp_strategy == "replace":  # refused where a new machine would be too new for the others
        first, two_step = max(first, 31), True
    if only == ("nodes",):
        minors = 0
    elif only == ("control-plane",):
        minors = min(minors, 3 - behind)
    cluster_of = {
        "members": draw(st.sampled_from([1, 3, 4, 5, 6, 7])),
        "control_planes": draw(st.integers(min_value=1, max_value=5)),
        "workers": draw(st.one_of(st.integers(1, 5), st.integers(1, 5), st.integers(1, 50))),
    }
    etcd_strategy = draw(STRATEGIES)
    stacked = "replace" not in (cp_strategy, etcd_strategy) and draw(st.booleans())
    if stacked and cluster_of["control_planes"] == 2:
        cluster_of["control_planes"] = 3
    state = cluster(
        **cluster_of,
        kubernetes=f"1.{first}.1",
        kubelet=f"1.{first - behind}.1",
        etcd=draw(st.sampled_from(["3.4.45", "3.5.30", "3.5.33", "3.6.14"])),
        stacked=stacked,
        control_plane_nodes=cp_strategy == "in-place" and draw(st.booleans()),
    )
    running = state.members[0].version or ""
    aims = [v for v in ("3.5.33", "3.6.14", "3.7.1") if v > running]
    if running == "3.6.14" and etcd_strategy == "in-place":
        aims.append("3.5.33")
    target = Target(
        kubernetes=f"1.{first + minors}.2",
        etcd=draw(st.sampled_from(["", *aims])),
        etcd_strategy=etcd_strategy,
        control_plane_strategy=cp_strategy,
        node_strategy=draw(STRATEGIES),
        two_step=two_step,
        only=only,
    )
    return state, target, config(state, policy=POLICY)


def planned(state: ClusterState, target: Target, conf: Config) -> Plan:
    try:
        return plan(state, target, conf, releases=RELEASES)
    except Refused:
        assume(False)
        raise


def essence(state: ClusterState) -> object:
    """What the end of a plan is about: who is there, at which version, serving or not."""
    return (
        sorted(
            (m.host, m.member_id, m.version, m.cluster_version, m.healthy) for m in state.members
        ),
        sorted((a.host, a.version, a.emulation_version, a.ready) for a in state.api_servers),
        sorted((c.component, c.host, c.version, c.healthy) for c in state.controllers),
        sorted((n.name, n.kubelet, n.kube_proxy, n.ready, n.unschedulable) for n in state.nodes),
        sorted((b.host, b.admin) for b in state.balancer),
        sorted(m.name for m in state.machines),
    )


def run(state: ClusterState, the_plan: Plan, steps: int | None = None) -> ClusterState:
    for step in the_plan.steps[:steps]:
        state = invariants.after(step.action, state)
    return state


@given(case=cases())
@BOUNDED
def test_every_prefix_keeps_quorum_and_skew(case: tuple[ClusterState, Target, Config]) -> None:
    state, target, conf = case
    for step in planned(state, target, conf).steps:
        assert invariants.violations(invariants.during(step.action, state)) == (), step.id
        state = invariants.after(step.action, state)
        assert invariants.violations(state) == (), step.id


@given(case=cases(), data=st.data())
@BOUNDED
def test_a_crash_anywhere_and_a_new_plan_end_at_the_same_state(
    case: tuple[ClusterState, Target, Config], data: st.DataObject
) -> None:
    state, target, conf = case
    whole = planned(state, target, conf)
    end = essence(run(state, whole))
    cut = data.draw(st.integers(min_value=0, max_value=len(whole.steps) - 1))
    crashed = run(state, whole, cut)
    if data.draw(st.booleans()):
        crashed = invariants.during(whole.steps[cut].action, crashed)
    rest = plan(crashed, target, conf, releases=RELEASES)
    ids = [s.id for s in whole.steps]
    assert {s.id for s in rest.steps} <= set(ids)
    hit = ids[cut].rsplit("/", 1)[-1]  # what was stopped may be brought back by an earlier step
    finished = {
        i
        for i in ids[:cut]
        if ("/swap/" in i or "/retire/" in i or "/finish/" in i) and not i.endswith(f"/{hit}")
    }
    assert not finished & {s.id for s in rest.steps}
    assert essence(run(crashed, rest)) == end
    assert [s.id for s in plan(run(crashed, rest), target, conf, releases=RELEASES).steps] == [
        "landed"
    ]


@given(case=cases())
@BOUNDED
def test_a_plan_is_deterministic_and_survives_encoding(
    case: tuple[ClusterState, Target, Config],
) -> None:
    state, target, conf = case
    one = planned(state, target, conf)
    shuffled = replace(
        state,
        hosts=state.hosts[::-1],
        members=state.members[::-1],
        api_servers=state.api_servers[::-1],
        nodes=state.nodes[::-1],
        controllers=state.controllers[::-1],
    )
    assert plan(shuffled, target, conf, releases=RELEASES).digest == one.digest
    assert decode(encode(one)) == one


@given(case=cases())
@BOUNDED
def test_edges_name_only_earlier_steps(case: tuple[ClusterState, Target, Config]) -> None:
    seen: set[str] = set()
    for step in planned(*case).steps:
        assert set(step.after) <= seen, step.id
        assert step.id not in seen
        assert step.why
        seen.add(step.id)


def _kinds(action: AnyAction) -> str:
    return type(action).__name__


@given(case=cases(), data=st.data())
@settings(BOUNDED, max_examples=max(10, EXAMPLES // 2))
def test_the_run_loop_ends_though_it_crashes_and_fails(
    case: tuple[ClusterState, Target, Config], data: st.DataObject
) -> None:
    """decide, perform, journal: with crashes inside steps and single failures, until Done."""
    state, target, conf = case
    the_plan = planned(state, target, conf)
    policy = conf.policy
    now = state.taken_at
    names = ("plan", *dict.fromkeys(s.approval for s in the_plan.steps if s.approval))
    events: list[AnyEvent] = [
        Approved(at=now, run="r", digest=the_plan.digest, name=n, by="t") for n in names
    ]
    accidents = data.draw(st.lists(st.integers(0, 2 * len(the_plan.steps)), max_size=4))
    for tick in range(4 * len(the_plan.steps) + 20):
        now += 10
        decision = decide(the_plan, fold(events), state, now, policy)
        if isinstance(decision, Done):
            break
        assert isinstance(decision, Start), decision
        step = decision.step
        events.append(StepStarted(at=now, run="r", step=step.id, attempt=1))
        if tick in accidents:
            state = invariants.during(step.action, state)
            events.append(
                StepFailed(at=now, run="r", step=step.id, why="an accident.")
                if tick % 2
                else RunStarted(at=now, run="r", plan=the_plan.digest, operator="t", resumed=True)
            )
            continue
        worst = invariants.during(step.action, state)
        assert invariants.violations(worst) == (), step.id
        state = invariants.after(step.action, state)
        events.append(StepDone(at=now, run="r", step=step.id))
    else:
        pytest.fail("the run never ended")
    assert essence(state) == essence(run(case[0], the_plan))


@given(case=cases(), data=st.data())
@BOUNDED
def test_decide_is_total(case: tuple[ClusterState, Target, Config], data: st.DataObject) -> None:
    """Any history beside any observation of any cluster gets an answer with a reason."""
    state, target, conf = case
    the_plan = planned(state, target, conf)
    ids = [s.id for s in the_plan.steps] + ["no-such-step"]
    some_id = st.sampled_from(ids)
    times = st.floats(min_value=0, max_value=2_000_000_000)
    event = st.one_of(
        st.builds(StepStarted, at=times, run=st.just("r"), step=some_id, attempt=st.just(1)),
        st.builds(StepDone, at=times, run=st.just("r"), step=some_id),
        st.builds(StepFailed, at=times, run=st.just("r"), step=some_id, why=st.just("no.")),
        st.builds(Paused, at=times, run=st.just("r"), why=st.just("tea."), by=st.just("me")),
        st.builds(Resumed, at=times, run=st.just("r"), by=st.just("me")),
        st.builds(
            Approved,
            at=times,
            run=st.just("r"),
            digest=st.just(the_plan.digest),
            name=st.sampled_from(["plan", "etcd-last-member"]),
            by=st.just("me"),
        ),
    )
    view = fold(data.draw(st.lists(event, max_size=12)))
    cut = data.draw(st.integers(0, len(the_plan.steps) - 1))
    seen = run(state, the_plan, cut)
    for _ in range(data.draw(st.integers(0, 2))):
        step = data.draw(st.sampled_from(the_plan.steps))
        seen = invariants.during(step.action, seen)
    decision = decide(the_plan, view, seen, data.draw(times), conf.policy)
    assert isinstance(decision, Start | Wait | Halt | Done)
    assert decision.why
