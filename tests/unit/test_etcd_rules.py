"""Hops, floors and dropped flags of etcd; quorum arithmetic."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pawl.core import etcd_rules, quorum
from pawl.core.version import Minor, Version
from pawl.testing.clusters import cluster


def path(start: str, end: str) -> list[str]:
    hops, problems = etcd_rules.hops(Version.parse(start), Version.parse(end))
    assert problems == ()
    return [str(v) for v in hops]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("3.5.33", "3.6.14", ["3.6.14"]),
        ("3.5.31", "3.6.14", ["3.5.33", "3.6.14"]),
        ("3.5.32", "3.6.14", ["3.6.14"]),
        ("3.6.10", "3.7.1", ["3.6.14", "3.7.1"]),
        ("3.4.30", "3.7.1", ["3.5.33", "3.6.14", "3.7.1"]),
        ("3.5.20", "3.5.33", ["3.5.33"]),
        ("3.5.33", "3.5.33", []),
    ],
)
def test_hops(start: str, end: str, expected: list[str]) -> None:
    assert path(start, end) == expected


def test_a_hop_below_its_floor_is_a_problem() -> None:
    low = {Minor(3, 5): Version.parse("3.5.30")}
    _, problems = etcd_rules.hops(Version.parse("3.5.20"), Version.parse("3.6.14"), low)
    assert "3.5.32 or newer" in problems[0]


def test_an_unknown_minor_cannot_be_passed() -> None:
    _, problems = etcd_rules.hops(Version.parse("3.7.1"), Version.parse("3.9.0"))
    assert "no release of etcd 3.8 is known" in problems[0]


@pytest.mark.parametrize(
    ("flag", "target", "refused"),
    [
        ("--enable-v2=true", "3.6.14", True),
        ("--enable-v2=true", "3.5.33", False),
        ("--proxy-dial-timeout=1", "3.6.14", True),
        ("--experimental-initial-corrupt-check", "3.6.14", False),
        ("--experimental-initial-corrupt-check", "3.7.1", True),
        ("--name=a", "3.7.1", False),
    ],
)
def test_dropped_flags(flag: str, target: str, refused: bool) -> None:
    assert bool(etcd_rules.dropped_flags((flag,), Version.parse(target))) is refused


def test_every_row_names_its_source() -> None:
    rows = [*etcd_rules.FLOORS, *etcd_rules.BAD, *etcd_rules.DROPPED, *etcd_rules.DOWNGRADES]
    assert all(r.source for r in rows)


@pytest.mark.parametrize(
    ("members", "sick", "allowed"),
    [
        (1, (), True),
        (2, (), False),
        (3, (), True),
        (3, (1,), False),
        (4, (), True),
        (4, (1,), False),
        (5, (1,), False),  # quorum would hold, but a voluntary stop asks for more
        (7, (), True),
    ],
)
def test_when_a_member_may_stop(members: int, sick: tuple[int, ...], allowed: bool) -> None:
    state = cluster(members=members)
    state = replace(
        state,
        members=tuple(replace(m, healthy=i not in sick) for i, m in enumerate(state.members)),
    )
    assert (quorum.why_not_stop(state, "etcd-1") == "") is allowed


def test_a_member_that_is_down_may_be_finished_though_another_failed() -> None:
    state = cluster()
    down = tuple(replace(m, healthy=m.host == "etcd-3") for m in state.members)
    state = replace(state, members=down)
    assert quorum.why_not_stop(state, "etcd-1") == ""
    assert "only 0 of 3" in quorum.why_not_stop(state, "etcd-3")
