"""The figures that a run is judged by, with their targets: the rows of the report's first table.

Sources of the targets: etcd's figures were measured over 171 rolls of three members under 150
writes a second (docs/report.md), those of the API behind a drained HAProxy. A figure without data
has `ok=None` and says "not measured".
"""

from __future__ import annotations

import msgspec

from pawl.core.evidence_summary import Lane, Measured

WORST_GAP_MS = 150.0
SLOWEST_MS = 100.0
CONTROL_NOISE = 0.5
"""A slow request is blamed on the prober's machine when its control lane, in the same seconds, was
slow for at least this share of it."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One judged figure. `said` is the whole of it as a clause ("0 of 5,120 ... lost")."""

    name: str
    value: str
    target: str
    ok: bool | None
    said: str


def _figure(name: str, value: str, target: str, ok: bool | None, said: str) -> Figure:
    if ok is None:
        return Figure(
            name=name, value="not measured", target=target, ok=None, said=f"{name}: not measured"
        )
    return Figure(name=name, value=value, target=target, ok=ok, said=said)


def figures_of(measured: Measured | None, *, ledger_open: int) -> tuple[Figure, ...]:
    """All figures, the judged and the unmeasured alike, in the order of the report."""
    found: list[Figure] = [_coverage(measured)]
    etcd = measured.etcd if measured else None
    found += [
        _figure(
            "acknowledged etcd writes lost",
            f"{etcd.lost} of {etcd.acked:,}" if etcd else "",
            "0",
            None
            if etcd is None or etcd.lost is None or etcd.read_back_errors
            else etcd.lost + (etcd.wrong or 0) == 0 and etcd.acked > 0,
            f"{etcd.lost} of {etcd.acked:,} acknowledged etcd writes lost, read back from "
            f"{etcd.read_back_from} members"
            if etcd
            else "",
        ),
        _figure(
            "etcd writes failed by their deadline",
            f"{etcd.failed}" if etcd else "",
            "0",
            None if etcd is None or not (etcd.acked + etcd.failed) else etcd.failed == 0,
            f"{etcd.failed} etcd writes failed by their deadline" if etcd else "",
        ),
        _figure(
            "etcd write gap, worst",
            f"{etcd.worst_gap_ms:,.0f} ms" if etcd and etcd.worst_gap_ms is not None else "",
            f"≤ {WORST_GAP_MS:.0f} ms",
            None
            if etcd is None or etcd.worst_gap_ms is None
            else etcd.worst_gap_ms <= WORST_GAP_MS,
            f"the longest time without any acknowledged etcd write was {etcd.worst_gap_ms:,.0f} ms"
            if etcd and etcd.worst_gap_ms is not None
            else "",
        ),
        _figure(
            "etcd leader changes",
            f"{etcd.leader_changes}" if etcd else "",
            "≤ 1",
            None if etcd is None or etcd.leader_changes is None else etcd.leader_changes <= 1,
            f"etcd's leader changed {_times(etcd.leader_changes)}" if etcd else "",
        ),
        _figure(
            "etcd members down at once",
            f"{etcd.most_down}" if etcd else "",
            "≤ 1",
            None if etcd is None or etcd.most_down is None else etcd.most_down <= 1,
            f"at most {etcd.most_down} etcd member was down at once" if etcd else "",
        ),
        _figure(
            "etcd member ids and HashKV",
            "unchanged, equal" if etcd and etcd.ids_unchanged and etcd.hashes_equal else "differ",
            "unchanged, equal",
            None
            if etcd is None or etcd.ids_unchanged is None or etcd.hashes_equal is None
            else etcd.ids_unchanged and etcd.hashes_equal,
            "member ids are unchanged and HashKV is equal on all members"
            if etcd and etcd.ids_unchanged and etcd.hashes_equal
            else "member ids changed, or HashKV differs between members",
        ),
    ]
    lanes = {lane.name: lane for lane in measured.lanes} if measured else {}
    for name, label in (("api new", "new connections"), ("api reused", "kept connections")):
        found += _lane_figures(lanes.pop(name, None), f"API through the balancer, {label}", True)
    watch = measured.watch if measured else None
    found.append(
        _figure(
            "watch events missed",
            f"{watch.missed} of {watch.delivered + watch.missed:,}" if watch else "",
            "0",
            None if watch is None or not (watch.delivered + watch.missed) else watch.missed == 0,
            f"{watch.missed} of {watch.delivered + watch.missed:,} watch events missed"
            if watch
            else "",
        )
    )
    for name, lane in sorted(lanes.items()):
        found += _lane_figures(lane, name, False)
    found.append(
        Figure(
            name="changes not given back",
            value=str(ledger_open),
            target="0",
            ok=ledger_open == 0,
            said="everything that pawl changed for a while was given back"
            if ledger_open == 0
            else f"{ledger_open} changes were not given back",
        )
    )
    return tuple(found)


def _coverage(measured: Measured | None) -> Figure:
    name, target = "time measured", "all of the run"
    if measured is None:
        return _figure(name, "", target, None, "")
    total = max(measured.end - measured.start, 1e-9)
    missing = sum(h.seconds for h in measured.holes)
    share = f"{100 * (1 - min(missing / total, 1)):.0f} %"
    if missing:
        return Figure(
            name=name,
            value=share,
            target=target,
            ok=None,
            said=f"the prober was silent for {missing:.0f} s of {total:.0f} s",
        )
    return _figure(name, share, target, True, f"the prober measured all {total:.0f} s of the run")


def _lane_figures(lane: Lane | None, label: str, judge_speed: bool) -> list[Figure]:
    some = lane is not None and lane.requests > 0
    failed = _figure(
        f"{label}: requests failed",
        f"{lane.failed} of {lane.requests:,} ({lane.lost_seconds} s)" if lane else "",
        "0",
        lane.failed == 0 if lane and some else None,
        f"{label}: {lane.failed} of {lane.requests:,} requests failed" if lane else "",
    )
    if not judge_speed:
        return [failed]
    worst = lane.worst_ms if lane else None
    return [
        failed,
        _figure(
            f"{label}: slowest request",
            f"{worst:,.0f} ms{_excuse(lane)}" if worst is not None else "",
            f"≤ {SLOWEST_MS:.0f} ms",
            None if worst is None else worst <= SLOWEST_MS,
            f"{label}: the slowest request took {worst:,.0f} ms{_excuse(lane)}"
            if worst is not None
            else "",
        ),
    ]


def _excuse(lane: Lane | None) -> str:
    """What the control lane says about the slowest request; it explains, it does not acquit."""
    slow = max(lane.slowest, key=lambda s: s.ms, default=None) if lane else None
    if slow is None or slow.control_ms is None or slow.control_ms < CONTROL_NOISE * slow.ms:
        return ""
    return f" (the prober's own control lane {slow.control_ms:,.0f} ms)"


def _times(count: int | None) -> str:
    return "once" if count == 1 else f"{count} times"
