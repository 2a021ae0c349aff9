"""The judge on series whose truth is known. (How often it errs is measured in bench/judge.py.)"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from pawl.core.config import GateConfig
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.gates import Gate, effective, shown
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Reading, sum_up
from pawl.core.verify.series import Line, Placed, Series, Sides, Split, arrange, grown, week

GATES = {g.name: g for g in CATALOG}
STEP = 15.0
APP = "shop/Deployment/web"


def noisy(rng: random.Random, level: float, spread: float = 0.05) -> Callable[[int], float]:
    return lambda i: level * (1 + rng.gauss(0, spread))


def line(subject: str, value: Callable[[int], float], count: int = 60, start: float = 0.0) -> Line:
    return Line(
        subject=subject,
        at=tuple(start + i * STEP for i in range(count)),
        values=tuple(value(i) for i in range(count)),
    )


def sides(
    gate: str,
    treated: Sequence[Line],
    control: Sequence[Line],
    **more: object,
) -> Sides:
    return Sides(
        gate=GATES[gate],
        group=APP,
        treated=tuple(treated),
        control=tuple(control),
        against="old nodes",
        **more,  # type: ignore[arg-type]
    )


def one(given: Sides) -> Reading:
    (reading,) = judge([given])
    return reading


def nodes(level: float, names: str, seed: int = 1, count: int = 60) -> list[Line]:
    rng = random.Random(f"{seed}{names}")
    return [line(n, noisy(rng, level), count) for n in names]


def test_equal_nodes_pass() -> None:
    reading = one(sides("http-latency", nodes(0.1, "abc"), nodes(0.1, "xyz")))
    assert reading.verdict == "pass"
    assert "100 ms" in reading.why or "99" in reading.why or "101" in reading.why
    assert reading.smallest is not None
    assert 0 < reading.smallest < 0.2


def test_twenty_percent_more_latency_fails_with_both_numbers() -> None:
    reading = one(sides("http-latency", nodes(0.12, "abc"), nodes(0.1, "xyz")))
    assert reading.verdict == "fail"
    assert reading.change == pytest.approx(0.2, abs=0.03)
    assert reading.why.startswith(f"http latency of {APP} is 1")
    assert "on new nodes" in reading.why
    assert "on old nodes (+" in reading.why


def test_a_difference_within_the_bound_passes_however_certain_it_is() -> None:
    reading = one(sides("http-latency", nodes(0.106, "abc", count=400), nodes(0.1, "xyz", 2, 400)))
    assert reading.verdict == "pass"
    assert reading.change == pytest.approx(0.06, abs=0.02)


def test_nodes_that_differ_anyway_do_not_blame_a_new_one() -> None:
    """Samples alone would: each is certain. Old nodes reach from 70 to 130 ms."""
    old = [*nodes(0.07, "w"), *nodes(0.09, "x"), *nodes(0.11, "y"), *nodes(0.13, "z")]
    reading = one(sides("http-latency", nodes(0.125, "a"), old))
    assert reading.verdict == "inconclusive"
    assert "not proven" in reading.why


def test_one_bad_node_of_many_is_named() -> None:
    treated = [*nodes(0.1, "abcde"), *nodes(0.16, "f")]
    reading = one(sides("http-latency", treated, nodes(0.1, "uvwxyz")))
    assert reading.verdict == "fail"
    assert reading.subject == "f"
    assert " on f" in reading.why


def test_errors_from_none_to_half_a_percent() -> None:
    def errors(rng: random.Random, rate: float) -> Callable[[int], float]:
        return lambda i: sum(rng.random() < rate for _ in range(300)) / 300

    rng = random.Random(3)
    treated = [line(n, errors(rng, 0.005)) for n in "ab"]
    clean = [line(n, lambda i: 0.0) for n in "xyz"]
    assert one(sides("http-5xx", treated, clean)).verdict == "fail"
    assert one(sides("http-5xx", clean, clean)).verdict == "pass"


def test_a_single_burst_of_errors_is_no_failure() -> None:
    treated = [line(n, lambda i: 0.03 if i == 20 else 0.0) for n in "ab"]
    reading = one(sides("http-5xx", treated, [line(n, lambda i: 0.0) for n in "xyz"]))
    assert reading.verdict == "pass"


def test_less_is_worse_too_where_the_gate_says_so() -> None:
    reading = one(sides("http-traffic", nodes(2.0, "abc"), nodes(10.0, "xyz")))
    assert reading.verdict == "fail"
    assert one(sides("http-traffic", nodes(30.0, "abc"), nodes(10.0, "xyz"))).verdict == "pass"
    assert one(sides("cpu", nodes(2.0, "abc"), nodes(1.0, "xyz"))).verdict == "fail"
    assert one(sides("cpu", nodes(0.2, "abc"), nodes(1.0, "xyz"))).verdict == "fail"


def test_too_few_samples_are_inconclusive_and_said() -> None:
    reading = one(sides("http-latency", nodes(0.2, "a", count=5), nodes(0.1, "xyz")))
    assert reading.verdict == "inconclusive"
    assert "too few samples" in reading.why
    assert "5 on new nodes" in reading.why


def test_without_any_control_nothing_is_told() -> None:
    reading = one(sides("http-latency", nodes(0.2, "a"), []))
    assert reading.verdict == "inconclusive"
    assert "nothing to compare with" in reading.why


def test_what_is_missing_now_and_was_there_holds() -> None:
    gone = one(sides("http-latency", [], nodes(0.1, "xyz")))
    never = one(sides("http-latency", [], []))
    assert gone.verdict == "inconclusive"
    assert "measured on old nodes, and not on new ones" in gone.why
    assert never.verdict == "absent"


def test_a_node_that_was_bad_before_is_recorded_and_not_blamed() -> None:
    def given(now: float, then: float, beside: float) -> Sides:
        before = [*nodes(then, "ab", 9), *nodes(beside, "xyz", 9)]
        return sides("http-latency", nodes(now, "ab"), nodes(0.1, "xyz"), before=before)

    reading = one(given(0.2, 0.2, 0.1))
    assert reading.verdict == "pass"
    assert reading.known
    assert "recorded, not blamed" in reading.why
    assert one(given(0.3, 0.2, 0.1)).verdict == "fail", "it got worse again"
    assert one(given(0.2, 0.2, 0.2)).verdict == "fail", "an hour ago all were busier"


def test_the_control_counts_only_in_the_same_minutes() -> None:
    """Traffic tripled before the new pods came; that is no improvement of theirs."""
    rng = random.Random(5)

    def stepped(i: int) -> float:
        return (0.3 if i < 60 else 0.1) * (1 + rng.gauss(0, 0.05))

    treated = [line(n, noisy(rng, 0.12), 60, start=60 * STEP) for n in "abc"]
    reading = one(sides("http-latency", treated, [line(n, stepped, 120) for n in "xyz"]))
    assert reading.verdict == "fail"
    assert reading.control == pytest.approx(0.1, abs=0.01)


# -- trends ------------------------------------------------------------------------------------

MIB = 1024.0 * 1024.0


def memory(rng: random.Random, *, leak: float = 0.0, fills: float = 0.0) -> Callable[[int], float]:
    import math

    def value(i: int) -> float:
        cache = -0.2 * math.exp(-i * STEP / fills) if fills else 0.0
        return 400 * MIB * (1 + leak * i * STEP / 3600 + cache + rng.gauss(0, 0.004))

    return value


def leaking(
    new: dict[str, float], old: dict[str, float], against: str = "same age", count: int = 80
) -> Sides:
    rng = random.Random(8)
    return Sides(
        gate=GATES["memory-leak"],
        group=APP,
        treated=tuple(line(n, memory(rng, **new), count) for n in "abc"),
        control=tuple(line(n, memory(rng, **old), count) for n in "wxyz"),
        against=against,  # type: ignore[arg-type]
    )


def test_a_leak_is_found_beside_pods_that_were_as_young() -> None:
    reading = one(leaking({"leak": 0.3, "fills": 200}, {"fills": 200}))
    assert reading.verdict == "fail"
    assert "grows by" in reading.why
    assert "at that age" in reading.why


def test_a_cache_that_fills_is_no_leak() -> None:
    assert one(leaking({"fills": 300}, {"fills": 300})).verdict == "pass"


def test_beside_old_pods_alone_a_trend_needs_patience_and_holds_nobody() -> None:
    early = one(leaking({"fills": 300}, {}, against="old nodes"))
    assert early.verdict == "absent"
    assert "40 min" in early.why
    late = one(leaking({"leak": 0.3}, {}, against="old nodes", count=170))
    assert late.verdict == "fail"
    assert one(leaking({"fills": 300}, {}, against="old nodes", count=170)).verdict == "pass"


# -- limits ------------------------------------------------------------------------------------


def bounded(gate: str, values: Sequence[float], before: Sequence[float] = ()) -> Sides:
    def own(given: Sequence[float]) -> tuple[Line, ...]:
        return (line("etcd-1", lambda i: given[i], len(given)),) if given else ()

    return Sides(gate=GATES[gate], group="instance=etcd-1", treated=own(values), before=own(before))


def test_a_limit_needs_two_samples_in_a_row() -> None:
    assert one(bounded("etcd-fsync", [0.1, 0.9, 0.1, 0.9, 0.1])).verdict == "pass"
    failed = one(bounded("etcd-fsync", [0.1, 0.9, 0.8, 0.1]))
    assert failed.verdict == "fail"
    assert "900 ms, above 500 ms, 2 samples in a row" in failed.why
    assert "instance=etcd-1" in failed.why


def test_a_limit_from_below() -> None:
    assert one(bounded("etcd-leader", [1, 1, 0, 0])).verdict == "fail"
    assert one(bounded("etcd-leader", [1, 1, 0, 1])).verdict == "pass"


def test_a_limit_that_was_passed_before_is_known_until_it_gets_worse() -> None:
    known = one(bounded("etcd-fsync", [0.8] * 5, before=[0.7] * 5))
    assert known.verdict == "pass"
    assert known.known
    assert one(bounded("etcd-fsync", [1.8] * 5, before=[0.7] * 5)).verdict == "fail"


def test_what_old_nodes_have_too_is_not_the_new_ones_fault() -> None:
    given = sides("not-ready", [line("a", lambda i: 1.0, 5)], [line("x", lambda i: 1.0, 5)])
    reading = one(given)
    assert reading.verdict == "pass"
    assert reading.known
    assert "it is so on x too" in reading.why


# -- many at once, and the sum -----------------------------------------------------------------


def test_many_tests_are_corrected_for() -> None:
    """A p-value of about 0.01 convinces alone, and not as one of forty."""
    weak = sides("http-latency", nodes(0.117, "a", 4, 16), nodes(0.1, "wxyz", 4, 16))
    (alone,) = judge([weak])
    assert alone.p is not None
    assert 0.0005 < alone.p < 0.02
    assert alone.verdict == "fail"
    quiet = [
        sides("http-latency", nodes(0.1, "abc", s), nodes(0.1, "xyz", s)) for s in range(20, 60)
    ]
    assert judge([weak, *quiet])[0].verdict == "inconclusive"


def reading(gate: str, group: str, verdict: str, **more: object) -> Reading:
    return Reading(
        gate=gate, group=group, kind="compare", unit="s", verdict=verdict,  # type: ignore[arg-type]
        why=f"{gate} of {group}: {verdict}.", **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("readings", "errors", "verdict"),
    [
        ([], (), "inconclusive"),
        ([("a", "x", "absent")], (), "inconclusive"),
        ([("a", "x", "pass"), ("b", "x", "absent")], (), "pass"),
        ([("a", "x", "pass"), ("b", "x", "inconclusive")], (), "inconclusive"),
        ([("a", "x", "pass"), ("a", "y", "pass"), ("a", "z", "inconclusive")], (), "pass"),
        ([("a", "x", "pass"), ("a", "y", "inconclusive"), ("a", "z", "inconclusive")], (),
         "inconclusive"),
        ([("a", "x", "fail"), ("b", "x", "inconclusive")], ("lost",), "fail"),
        ([("a", "x", "pass")], ("lost",), "inconclusive"),
    ],
)  # fmt: skip
def test_the_sum(
    readings: list[tuple[str, str, str]], errors: tuple[str, ...], verdict: str
) -> None:
    made = [reading(*r) for r in readings]
    assert sum_up(made, at=1.0, since=0.0, errors=errors).verdict == verdict


def test_a_required_gate_without_data_holds() -> None:
    made = [reading("a", "x", "pass"), reading("b", "x", "absent", required=True)]
    assert sum_up(made, at=1.0, since=0.0).verdict == "inconclusive"


def test_what_a_person_accepted_is_not_blamed_again() -> None:
    made = [reading("a", "x", "fail"), reading("b", "x", "pass")]
    assert sum_up(made, at=1.0, since=0.0).verdict == "fail"
    assert sum_up(made, at=1.0, since=0.0, accepted=frozenset({"a/x"})).verdict == "pass"


# -- laying out ----------------------------------------------------------------------------------


def series(pod: str, value: float, count: int = 20) -> Series:
    return Series(
        labels={"namespace": "shop", "pod": pod},
        at=tuple(i * STEP for i in range(count)),
        values=(value,) * count,
    )


def test_pods_are_gathered_by_workload_and_node_after_their_warm_up() -> None:
    split = Split(
        new=frozenset({"n1"}),
        old=frozenset({"o1"}),
        placed=(
            Placed(namespace="shop", pod="web-1", node="n1", workload=APP, since=0.0),
            Placed(namespace="shop", pod="web-2", node="n1", workload=APP, since=60.0),
            Placed(namespace="shop", pod="web-3", node="o1", workload=APP, since=-9999.0),
            Placed(namespace="shop", pod="lost", node="elsewhere", workload=APP, since=0.0),
        ),
    )
    made = arrange(
        GATES["cpu"],
        [series("web-1", 1.0), series("web-2", 3.0), series("web-3", 5.0), series("lost", 9.0),
         series("unknown", 9.0)],
        split,
    )  # fmt: skip
    (treated,), (control,) = made[APP]
    assert treated.subject == "n1"
    assert treated.at[0] == 120.0
    assert treated.values[0] == 1.0  # web-2 is still warming up
    assert treated.values[treated.at.index(180.0)] == 2.0
    assert control.values == (5.0,) * 20


def test_how_long_a_pod_warms_up_is_a_setting_and_a_trend_takes_longer() -> None:
    web = Placed(namespace="shop", pod="web-1", node="n1", workload=APP, since=0.0)
    split = Split(new=frozenset({"n1"}), old=frozenset(), placed=(web,))
    for gate, first in (("cpu", 60.0), ("memory-leak", 135.0)):
        made = arrange(GATES[gate], [series("web-1", 1.0)], split, warm_up=54.0)
        (treated,), _ = made[APP]
        assert treated.at[0] == first, gate


def test_cluster_series_are_groups_of_their_own() -> None:
    none = Split(new=frozenset(), old=frozenset())
    bare = Series(labels={}, at=(0.0,), values=(1.0,))
    told = [Series(labels={"instance": n}, at=(0.0,), values=(1.0,)) for n in ("e1", "e2")]
    assert list(arrange(GATES["api-errors"], [bare], none)) == ["the cluster"]
    assert list(arrange(GATES["etcd-fsync"], told, none)) == ["instance=e1", "instance=e2"]


def test_an_earlier_week_is_scaled_by_the_hour_before() -> None:
    before_now, before_then = nodes(130.0, "a"), nodes(100.0, "a")
    factor = grown(before_now, before_then)
    assert factor == pytest.approx(1.3, abs=0.05)
    moved = week(2, line("x", lambda i: 10.0, 3), factor, 1000.0)
    assert moved.subject == "2 weeks ago"
    assert moved.at == (1000.0, 1015.0, 1030.0)
    assert moved.values[0] == pytest.approx(13, abs=0.5)
    assert grown(nodes(1000.0, "a"), nodes(1.0, "a")) == 2.0
    assert grown([], before_then) == 1.0


# -- declarations ------------------------------------------------------------------------------


def test_numbers_are_overridden_and_gates_switched_off() -> None:
    made = effective(
        CATALOG,
        {
            "http-latency": GateConfig(ratio=1.5, required=True),
            "cpu": GateConfig(enabled=False),
            "queue": GateConfig(kind="limit", query="sum(queue_length)", by="cluster", limit=9.0),
        },
    )
    by_name = {g.name: g for g in made}
    assert by_name["http-latency"].ratio == 1.5
    assert by_name["http-latency"].change == GATES["http-latency"].change
    assert "cpu" not in by_name
    assert by_name["queue"].required
    assert by_name["queue"].limit == 9.0


def test_all_mistakes_in_gates_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="metrics") as caught:
        effective(
            CATALOG,
            {
                "mine": GateConfig(query="up"),
                "http-latncy": GateConfig(enabled=False),
                "cpu": GateConfig(ratio=0.9),
            },
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "needs `kind` and `query`" in lines[0]
    assert "cannot be switched off" in lines[1]
    assert "ratio" in lines[2]


@pytest.mark.parametrize("gate", CATALOG, ids=lambda g: g.name)
def test_the_shipped_gates_are_sound(gate: Gate) -> None:
    assert effective((gate,), {}) == (gate,)
    assert gate.query.count("(") == gate.query.count(")")
    assert gate.query.count("{") == gate.query.count("}")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.231, "s", "231 ms"), (1.5, "s", "1.50 s"), (0.005, "ratio", "0.5 %"),
     (312 * MIB, "bytes", "312 MiB"), (0.25, "cores", "250 mCPU"), (3, "count", "3")],
)  # fmt: skip
def test_values_as_a_person_reads_them(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text  # type: ignore[arg-type]
