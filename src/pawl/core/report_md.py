"""The report as Markdown: for a ticket, a pull request or a terminal."""

from __future__ import annotations

import datetime

from pawl.core.report import Report


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


def mark(ok: bool | None) -> str:
    return {True: "ok", False: "MISSED", None: "not measured"}[ok]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    clean = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in rows]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in clean), ""]


def sections(r: Report) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Every table of the report: title, head and rows. Both renderers draw these."""
    found: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        (
            "Figures",
            ("figure", "measured", "target", ""),
            [(f.name, f.value, f.target, mark(f.ok)) for f in r.figures],
        ),
        (
            "Predicted against actual",
            ("phase", "steps", "predicted", "actual", "waited for a person"),
            [
                (
                    p.name,
                    str(p.steps),
                    duration(p.predicted),
                    duration(p.actual),
                    duration(p.waited),
                )
                for p in r.phases
            ],
        ),
    ]
    if r.measured:
        found.append(
            (
                "Lanes of the prober",
                (
                    "lane",
                    "requests",
                    "failed",
                    "over 100 ms",
                    "middle",
                    "p99",
                    "slowest",
                    "retries",
                ),
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
                    for lane in r.measured.lanes
                ],
            )
        )
        if r.measured.etcd:
            found.append(
                (
                    "etcd's leaders",
                    ("since", "leader", "term"),
                    [
                        (clock(x.at), x.host or x.member_id, str(x.term))
                        for x in r.measured.etcd.leaders
                    ],
                )
            )
    if r.gates:
        found.append(
            (
                "Gates",
                ("gate", "of", "verdict", "what was seen"),
                [
                    (x.gate, x.group, "known" if x.known else x.verdict, x.why)
                    for x in r.gates.readings
                    if x.verdict != "absent" or x.known
                ],
            )
        )
    if r.packs:
        found.append(
            (
                "Verification packs",
                ("check", "phase", "verdict", "what was seen"),
                [(x.check, x.phase, x.verdict, x.why) for x in r.packs],
            )
        )
    if r.emptied:
        found.append(
            (
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
        )
        least = [(x.node, p) for x in r.emptied for p in x.pieces]
        least += [("all nodes", p) for p in (r.rolled.pieces if r.rolled else ())]
        found.append(
            (
                "At the least, piece by piece",
                ("of", "seconds", "what", "says"),
                [(of, f"{p.seconds:.1f}", p.what, p.source) for of, p in least],
            )
        )
    found += [
        (
            "Approvals",
            ("at", "what", "by"),
            [(clock(a.at), a.name, a.by) for a in r.approvals],
        ),
        (
            "Inventory before and after",
            ("kind", "name", "before", "after"),
            [(i.kind, i.name, i.before or "not read", i.after or "not read") for i in r.inventory],
        ),
        (
            "Changed and given back",
            ("what", "target", "changed at", "given back at", "by"),
            [
                (x.what, x.target, clock(x.at), clock(x.given_back), x.by or "nothing")
                for x in r.ledger
            ],
        ),
        (
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
        ),
    ]
    return [section for section in found if section[2]]


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


def render(r: Report) -> str:
    lines = [f"# {r.cluster}: {r.goal}", "", f"**{r.verdict.sentence}**", ""]
    lines += [
        f"Run `{r.run}`, plan `{r.plan[:12]}`, by {r.operator}; {duration(r.seconds)}, "
        f"{r.effects} effects, resumed {r.resumed} times.",
        "",
    ]
    for title, head, rows in sections(r):
        lines += [f"## {title}", "", *table(head, rows)]
    lines += ["## Notes", "", *(f"- {n}" for n in notes(r)), ""]
    return "\n".join(lines)
