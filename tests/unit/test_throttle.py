"""Additive increase, multiplicative decrease, between one and the plan's cap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pawl.core.pace import Pace
from pawl.core.workloads.throttle import Flight, Throttle

PACE = Pace()


def flight(workload: str = "shop/Deployment/web", since: float = 0.0, **fields: object) -> Flight:
    return Flight(workload=workload, since=since, **fields)  # type: ignore[arg-type]


def test_no_more_than_the_cap_and_no_more_of_one_workload_than_it_says() -> None:
    throttle = Throttle(2, PACE)
    assert throttle.why_not("a", 1, {}) == ""
    throttle.begin("1", flight("a"))
    assert "1 of a are on their way" in throttle.why_not("a", 1, {})
    assert throttle.why_not("b", 1, {}) == ""
    throttle.begin("2", flight("b"))
    assert throttle.why_not("c", 9, {}) == "2 pods are on their way"
    throttle.land("1", 1.0)
    assert throttle.why_not("c", 9, {}) == ""
    assert throttle.peak == 2


def test_a_provider_gets_so_many_new_clients_at_once_and_none_while_it_is_unwell() -> None:
    throttle = Throttle(9, PACE)
    needs = {"clients of redis": 2, "image pulls from docker.io": 9}
    for key in "12":
        assert throttle.why_not("a", 9, needs) == ""
        throttle.begin(key, flight("a", needs=tuple(needs)))
    assert throttle.why_not("b", 9, needs) == "as many clients of redis as may be at once (2)"
    assert throttle.why_not("b", 9, {"clients of postgres": 1}) == ""
    throttle.land("1", 1.0)
    assert throttle.why_not("b", 9, needs, "redis-0 is not Ready") == "redis-0 is not Ready"


def test_a_crash_begins_no_second_flight_and_an_unknown_one_lands_nowhere() -> None:
    throttle = Throttle(2, PACE)
    throttle.begin("1", flight(since=1.0))
    throttle.begin("1", flight(since=5.0))
    assert throttle.flights["1"].since == 1.0
    throttle.land("9", 1.0)
    throttle.drop(["1", "9"])
    assert throttle.flights == {}


def test_the_api_s_no_halves_once_for_one_cause_and_clean_batches_give_back() -> None:
    throttle = Throttle(8, PACE)
    for at in (0.0, 0.1, PACE.cut_every - 0.1):
        throttle.cut("the API asks for fewer requests", at)
    assert throttle.allowed == 4
    throttle.cut("again", PACE.cut_every)
    assert (throttle.allowed, throttle.why) == (2, "again")
    at, landed = 10.0, 0
    while throttle.allowed < 8:
        throttle.begin("x", flight(since=at, expected=1.0))
        throttle.land("x", at + 1.0)
        landed += 1
    assert landed == PACE.clean * (2 + 3 + 4 + 5 + 6 + 7)
    assert throttle.why == ""


def test_a_start_of_twice_its_time_is_a_sign() -> None:
    throttle = Throttle(4, PACE)
    throttle.begin("1", flight(since=0.0, expected=3.0))
    throttle.land("1", 5.9)
    assert throttle.allowed == 4
    throttle.begin("1", flight(since=10.0, expected=3.0))
    throttle.land("1", 16.5)
    assert throttle.allowed == 2
    assert "took 6 s" in throttle.why


def test_what_is_slow_how_often_it_is_cut_and_what_is_clean_are_settings() -> None:
    throttle = Throttle(8, Pace(slow=1.5, cut_every=20.0, clean=1))
    throttle.begin("1", flight(since=0.0, expected=10.0))
    throttle.land("1", 16.0)
    assert throttle.allowed == 4
    throttle.cut("too soon", 35.0)
    assert throttle.allowed == 4
    throttle.cut("again", 36.0)
    assert throttle.allowed == 2
    for key in "ab":
        throttle.begin(key, flight(since=40.0))
        throttle.land(key, 41.0)
    assert throttle.allowed == 3


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from(["begin", "land", "cut"]), st.integers(0, 9)), max_size=80),
)
def test_it_never_leaves_its_bounds(cap: int, steps: list[tuple[str, int]]) -> None:
    throttle, at = Throttle(cap, PACE), 0.0
    for verb, key in steps:
        at += 1.0
        if verb == "begin" and not throttle.why_not("w", 99, {}):
            throttle.begin(str(key), flight("w", at, expected=2.0))
            assert len(throttle.flights) <= throttle.allowed
        elif verb == "land":
            throttle.land(str(key), at)
        elif verb == "cut":
            throttle.cut("x", at)
        assert 1 <= throttle.allowed <= cap
