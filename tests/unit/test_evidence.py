"""The maths over the prober's records: what was not measured must never look like zero."""

from __future__ import annotations

import msgspec

from pawl.core import evidence as ev
from pawl.core.evidence_summary import measure


def test_a_torn_last_line_is_counted_and_the_rest_is_read() -> None:
    line = msgspec.json.encode(ev.Tick(at=1.0, control_ms=1, loop_ms=1, cpu=0.1))
    records, bad = ev.parse([line, line[:9]])
    assert [r.at for r in records] == [1.0]
    assert bad == 1


def test_a_prober_that_was_silent_leaves_a_hole() -> None:
    ticks = [1.0, 2.0, 3.0, 20.0, 21.0]
    assert ev.uncovered(ticks, 1.0, 21.0) == (ev.Interval(3.0, 20.0),)
    assert ev.uncovered([], 0.0, 60.0) == (ev.Interval(0.0, 60.0),)


def test_a_write_gap_across_a_hole_says_nothing_about_etcd() -> None:
    gaps = ev.write_gaps([1.0, 1.1, 9.0, 9.3], (ev.Interval(2.0, 8.0),))
    assert round(gaps[0].seconds, 3) == 0.3


def test_members_that_follow_each_other_are_not_down_at_once() -> None:
    seen = [
        ev.MemberSeen(at=1, host="a", up=False),
        ev.MemberSeen(at=2, host="a", up=True),
        ev.MemberSeen(at=2, host="b", up=False),
        ev.MemberSeen(at=3, host="b", up=True),
    ]
    assert ev.most_at_once(ev.down_intervals(seen, 0, 10)) == 1
    overlapping = [*seen[:1], ev.MemberSeen(at=1.5, host="b", up=False)]
    assert ev.most_at_once(ev.down_intervals(overlapping, 0, 10)) == 2


def test_a_term_is_one_leader_change_however_many_members_report_it() -> None:
    def said(at: float, host: str, leader: str, term: int) -> ev.MemberStatus:
        return ev.MemberStatus(
            at=at, host=host, member_id=host, version="3.5.33", leader_id=leader, term=term
        )

    statuses = [said(1, "a", "a", 2), said(1, "b", "a", 2), said(5, "b", "b", 3)]
    statuses += [said(5.1, "a", "0", 3), said(5.2, "a", "b", 3)]
    assert [t[1:] for t in ev.leader_changes(statuses)] == [("a", 2), ("b", 3)]


def test_nothing_read_back_is_not_nothing_lost() -> None:
    write = ev.EtcdWrite(at=1.0, writer=0, seq=0, ms=2.0, revision=7, endpoint="e")
    measured = measure([write], 0.0, 2.0)
    assert measured is not None
    assert measured.etcd is not None
    assert measured.etcd.lost is None
    assert measured.etcd.leader_changes is None
    assert measured.control_worst_ms is None
