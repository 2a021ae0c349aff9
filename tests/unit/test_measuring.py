"""What is laid out for the judge when pods move: what has moved is not missing, and what is missing
is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from pawl.core.actions import RetireNode
from pawl.core.config import MetricsConfig
from pawl.core.plan import Plan, Source, Step, Target
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Reading, sum_up
from pawl.core.verify.series import Series
from pawl.engine.gatekeeping import split_of_plan
from pawl.engine.measuring import Measured, Measurer, Situation
from pawl.ports.metrics import Alert, AlertingRule
from pawl.testing.clusters import cluster

STEP, WINDOW, WARM_UP = 15.0, 60.0, 120.0
NOW = 1_000_000 * STEP
BEGUN, SINCE = NOW - 1815, NOW - 900
GATES = {g.name: g for g in CATALOG}
Stretch = tuple[Mapping[str, str], float, float]
"""Labels of a series, and from when to when it has points."""


class Stretches:
    """A metrics server with series that are there for a stretch of time and always 0."""

    def __init__(self, placed: Sequence[Stretch], series: Sequence[Stretch]) -> None:
        self.placed, self.series = placed, series

    async def range(self, query: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        asked = self.placed if "kube_pod_info" in query else self.series
        made = []
        for labels, a, b in asked:
            grid = [start + i * step for i in range(int((end - start) // step) + 1)]
            at = tuple(t for t in grid if a <= t < b)
            if at:
                made.append(Series(labels=dict(labels), at=at, values=(0.0,) * len(at)))
        return tuple(made)

    async def query(self, query: str, at: float) -> tuple[Series, ...]:
        return tuple(
            Series(labels=dict(labels), at=(at,), values=(a,))
            for labels, a, b in self.placed
            if a <= at < b
        )

    async def rules(self) -> tuple[AlertingRule, ...]:
        return ()

    async def alerts(self) -> tuple[Alert, ...]:
        return ()


def pod(name: str, node: str, a: float = 1.0, b: float = NOW + 1) -> Stretch:
    owner = {"created_by_kind": "StatefulSet", "created_by_name": name.rsplit("-", 1)[0]}
    return {"namespace": "shop", "pod": name, "node": node, **owner}, a, b


def of(name: str, a: float = 1.0, b: float = NOW + 1) -> Stretch:
    return {"namespace": "shop", "pod": name}, a, b


def measured(
    placed: Sequence[Stretch],
    series: Sequence[Stretch],
    gate: str = "websocket-errors",
    new: Sequence[str] = ("n1",),
    turned: Mapping[str, float] | None = None,
) -> Measured:
    config = MetricsConfig(url="http://sim", step=STEP, rate_window=WINDOW, warm_up=WARM_UP)
    measurer = Measurer(Stretches(placed, series), config, [GATES[gate]])
    situation = Situation(
        new=frozenset(new),
        old=frozenset({"o1", "o2"}),
        since=SINCE,
        begun=BEGUN,
        now=NOW,
        turned=dict(turned or {}),
    )
    return asyncio.run(measurer.measure(situation))


def told(made: Measured) -> dict[str, Reading]:
    assert made.errors == ()
    return {r.group.rpartition("/")[2]: r for r in judge(made.sides)}


EDGE = [pod("edge-1", "n1"), pod("edge-2", "o1")]
"""A workload that stays, so that the gate as such is measured on both sides."""
HERE = [of("edge-1"), of("edge-2")]


def test_pods_that_have_left_a_node_are_not_missing_there_when_it_is_new() -> None:
    """The node was emptied, swapped in place, and is new now; what ran there runs on an old one."""
    for when in (SINCE - 60, NOW - 5):  # where pods run is looked up each minute, and just now
        left = [pod("web-1", "n1", b=when), pod("web-2", "o1", SINCE - 60)]
        series = [*HERE, of("web-1", b=SINCE), of("web-2")]
        readings = told(measured([*EDGE, *left], series))
        assert set(readings) == {"edge"}
        assert readings["edge"].verdict == "pass"


def test_pods_on_a_new_node_that_are_measured_only_elsewhere_hold_and_it_is_said_why() -> None:
    both = [pod("web-1", "n1", SINCE), pod("web-2", "o1")]
    held = told(measured([*EDGE, *both], [*HERE, of("web-2")]))["web"]
    assert held.verdict == "inconclusive"
    assert "is measured on old nodes, and not on new ones" in held.why


def test_a_workload_that_moved_and_is_measured_nowhere_any_more_holds() -> None:
    moved = [pod("web-1", "o1", b=SINCE), pod("web-2", "n1", SINCE)]
    held = told(measured([*EDGE, *moved], [*HERE, of("web-1", b=SINCE)]))["web"]
    assert held.verdict == "inconclusive"
    assert "was measured before, and no longer is" in held.why
    nothing_else = told(measured(moved, [of("web-1", b=SINCE)]))["web"]
    assert nothing_else.verdict == "inconclusive"


def test_a_pod_that_is_too_young_to_be_measured_is_not_missing() -> None:
    young = NOW - WARM_UP - WINDOW
    moved = [pod("web-1", "o1", b=young), pod("web-2", "n1", young)]
    assert set(told(measured([*EDGE, *moved], [*HERE, of("web-1", b=young)]))) == {"edge"}
    assert set(told(measured(moved, [of("web-1", b=BEGUN)]))) == set()


def test_a_trend_looks_at_pods_later_and_misses_them_no_sooner() -> None:
    """Measured from 300 s on, while other gates miss a pod after 225 s."""
    grown = NOW - 270
    moved = [pod("web-1", "o1"), pod("web-2", "n1", grown)]
    series = [of("web-1"), of("web-2", grown)]
    assert set(told(measured(moved, series, "memory-leak"))) == set()


def test_a_workload_that_runs_nowhere_is_nobodys_loss() -> None:
    gone = [pod("web-1", "o1", b=SINCE)]
    readings = told(measured([*EDGE, *gone], [*HERE, of("web-1", b=SINCE)]))
    assert set(readings) == {"edge"}


def test_a_pod_that_took_its_name_along_counts_for_either_node_in_its_time() -> None:
    born = SINCE + 200
    for placed in (
        [pod("db-0", "o1", b=born), pod("db-0", "n1", born)],
        [pod("db-0", "n1", born), pod("db-0", "o1", b=born)],  # whichever the server tells first
    ):
        (sides,) = measured(placed, [of("db-0", BEGUN - 3600)]).sides
        (new,), (old,) = sides.treated, sides.control
        assert (new.subject, old.subject) == ("n1", "o1")
        assert new.at[0] >= born + WARM_UP
        assert old.at[-1] < born
        (before,) = sides.before
        assert before.subject == "o1"


def test_old_pods_that_had_gone_before_the_new_ones_were_measured_are_no_control() -> None:
    born = SINCE + 200
    moved = [pod("db-0", "o1", b=born), pod("db-0", "n1", born)]
    (sides,) = measured(moved, [of("db-0")]).sides
    assert sides.against == "earlier weeks"


def test_a_node_that_was_swapped_in_place_is_old_until_then() -> None:
    """What ran there before, and a DaemonSet's pod that stays, are its control and not its own."""
    turned = SINCE + 300
    there = [pod("agent-1", "n1"), pod("web-1", "n1", b=turned), pod("web-2", "n1", turned)]
    series = [of("agent-1", BEGUN - 3600), of("web-1", b=turned), of("web-2", turned)]
    made = measured(there, series, turned={"n1": turned})
    agent, web = sorted(made.sides, key=lambda s: s.group)
    assert agent.treated[0].at[0] >= turned > agent.control[0].at[-1]
    assert web.treated[0].at[0] >= turned + WARM_UP
    assert not [t for t in web.treated if t.at[0] < turned]


def test_a_node_that_the_plan_has_retired_stays_an_old_one() -> None:
    state = cluster()
    left = msgspec.structs.replace(
        state,
        nodes=tuple(
            msgspec.structs.replace(n, kubelet="1.37.0")
            for n in state.nodes
            if n.name != "worker-1"
        ),
    )
    steps = (Step(id="r", phase="nodes", action=RetireNode(node="worker-1")),)
    source = Source(taken_at=0.0, fingerprint="", versions={})
    plan = Plan(cluster="c", target=Target(kubernetes="1.37.0"), source=source, steps=steps)
    new, old = split_of_plan(plan, left)
    assert (new, old) == ({"worker-2", "worker-3"}, {"worker-1"})


def test_a_member_on_a_new_machine_is_another_instance_and_not_a_lost_one() -> None:
    def instance(name: str, a: float = 1.0, b: float = NOW + 1) -> Stretch:
        return {"instance": name}, a, b

    moved = [instance("e1", b=SINCE), instance("e4", SINCE), instance("e2")]
    readings = told(measured(EDGE, moved, "etcd-fsync"))
    assert {g: r.verdict for g, r in readings.items()} == {
        "instance=e2": "pass",
        "instance=e4": "pass",
    }
    (held,) = told(measured(EDGE, [instance("e1", b=SINCE)], "etcd-fsync")).values()
    assert held.verdict == "inconclusive"


def test_where_pods_run_is_not_guessed_when_nothing_tells_it_any_more() -> None:
    died = NOW - 400
    made = measured([pod("edge-1", "n1", b=died), pod("edge-2", "o1", b=died)], HERE)
    (error,) = made.errors
    assert "has given nothing for 4" in error
    judgement = sum_up(judge(made.sides), at=NOW, since=SINCE, errors=made.errors)
    assert judgement.verdict == "inconclusive"


def test_a_long_run_holds_no_more_of_the_past_than_a_short_one() -> None:
    """When no old node is left, the same hour of earlier weeks is asked for, and it moves on."""
    config = MetricsConfig(url="http://sim", step=STEP, rate_window=WINDOW, warm_up=WARM_UP)
    pods = [pod("web-1", "n1", b=1e12), pod("web-2", "n2", b=1e12)]
    server = Stretches(pods, [of("web-1", b=1e12), of("web-2", b=1e12)])
    measurer = Measurer(server, config, [GATES["websocket-errors"]], window=900.0)

    async def looks() -> list[int]:
        held = []
        for look in range(20):
            situation = Situation(
                new=frozenset({"n1", "n2"}), old=frozenset(), since=SINCE, begun=BEGUN,
                now=NOW + look * 30.0,
            )  # fmt: skip
            assert (await measurer.measure(situation)).sides[0].against == "earlier weeks"
            held.append(len(measurer._kept))
        return held

    held = asyncio.run(looks())
    assert max(held) == held[0]
