"""The tables of a report, and the notes to them: what Markdown and the page both draw."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from pawl.core.report import Report

Row = tuple[str, ...]


class Table(NamedTuple):
    title: str
    head: Row
    rows: Sequence[Row]


def clock(at: float | None) -> str:
    if at is None:
        return "never"
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M:%S")


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def milliseconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.1f} ms"


def tables(r: Report) -> list[Table]:
    """All that have a row, in the order of the report."""
    made = (of(r) for of in _IN_ORDER)
    return [table for table in made if table.rows]


def _figures(r: Report) -> Table:
    told = {True: "ok", False: "MISSED", None: "not measured"}
    return Table(
        "Figures",
        ("figure", "measured", "target", ""),
        [(f.name, f.value, f.target, told[f.ok]) for f in r.figures],
    )


def _phases(r: Report) -> Table:
    return Table(
        "Predicted against actual",
        ("phase", "steps", "predicted", "actual", "waited for a person"),
        [
            (p.name, str(p.steps), duration(p.predicted), duration(p.actual), duration(p.waited))
            for p in r.phases
        ],
    )


def _lanes(r: Report) -> Table:
    return Table(
        "Lanes of the prober",
        ("lane", "requests", "failed", "over 100 ms", "middle", "p99", "slowest", "retries"),
        [
            (
                lane.name,
                f"{lane.requests:,}",
                str(lane.failed),
                str(lane.stalled),
                milliseconds(lane.p50_ms),
                milliseconds(lane.p99_ms),
                milliseconds(lane.worst_ms),
                ", ".join(f"{k} ×{v}" for k, v in lane.rules.items()) or "none",
            )
            for lane in (r.measured.lanes if r.measured else ())
        ],
    )


def _leaders(r: Report) -> Table:
    etcd = r.measured.etcd if r.measured else None
    return Table(
        "etcd's leaders",
        ("since", "leader", "term"),
        [(clock(x.at), x.host or x.member_id, str(x.term)) for x in (etcd.leaders if etcd else ())],
    )


def _gates(r: Report) -> Table:
    return Table(
        "Gates",
        ("gate", "of", "verdict", "what was seen"),
        [
            (x.gate, x.group, "known" if x.known else x.verdict, x.why)
            for x in (r.gates.readings if r.gates else ())
            if x.verdict != "absent" or x.known
        ],
    )


def _packs(r: Report) -> Table:
    return Table(
        "Verification packs",
        ("check", "phase", "verdict", "what was seen"),
        [(x.check, x.phase, x.verdict, x.why) for x in r.packs],
    )


def _emptied(r: Report) -> Table:
    return Table(
        "Nodes emptied",
        ("node", "pods", "took", "at the least", "efficiency", "bound by"),
        [
            (
                x.node,
                str(x.moved),
                duration(x.seconds),
                duration(x.least),
                f"{x.efficiency:.0%}",
                x.term,
            )
            for x in r.emptied
        ],
    )


def _least(r: Report) -> Table:
    pieces = [(x.node, p) for x in r.emptied for p in x.pieces]
    if r.emptied and r.rolled:
        pieces += [("all nodes", p) for p in r.rolled.pieces]
    return Table(
        "At the least, piece by piece",
        ("of", "seconds", "what", "says"),
        [(of, f"{p.seconds:.1f}", p.what, p.source) for of, p in pieces],
    )


def _approvals(r: Report) -> Table:
    return Table(
        "Approvals",
        ("at", "what", "by"),
        [(clock(a.at), a.name, a.by) for a in r.approvals],
    )


def _inventory(r: Report) -> Table:
    return Table(
        "Inventory before and after",
        ("kind", "name", "before", "after"),
        [(i.kind, i.name, i.before or "not read", i.after or "not read") for i in r.inventory],
    )


def _ledger(r: Report) -> Table:
    return Table(
        "Changed and given back",
        ("what", "target", "changed at", "given back at", "by"),
        [(x.what, x.target, clock(x.at), clock(x.given_back), x.by or "nothing") for x in r.ledger],
    )


def _steps(r: Report) -> Table:
    return Table(
        "Steps",
        ("step", "state", "at", "took", "predicted", "note"),
        [
            (
                s.id,
                s.state,
                clock(s.start),
                duration(s.seconds) if s.start else "",
                duration(s.predicted),
                s.note,
            )
            for s in r.steps
        ],
    )


_IN_ORDER = (
    _figures,
    _phases,
    _lanes,
    _leaders,
    _gates,
    _packs,
    _emptied,
    _least,
    _approvals,
    _inventory,
    _ledger,
    _steps,
)


def notes(r: Report) -> list[str]:
    """What a reader must know about the measurement itself."""
    found = list(r.notes)
    if m := r.measured:
        found += m.notes
        if not m.whole:
            found.append(
                "The prober did not end by itself: what it acknowledged was not read back."
            )
        if m.unreadable_lines:
            found.append(f"{m.unreadable_lines} lines of the evidence could not be read.")
        found.append(
            "Control lane (the prober measuring itself): worst "
            f"{milliseconds(m.control_worst_ms)}. "
            "A lane's figure below that says nothing about the cluster."
        )
        found += [
            f"Not measured from {clock(h.start)} to {clock(h.end)}: the prober was silent."
            for h in m.holes
        ]
    return found
