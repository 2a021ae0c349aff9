"""The workloads as one self-contained page: no script, nothing fetched, light and dark."""

from __future__ import annotations

from html import escape

from pawl.core.findings import Severity
from pawl.core.render import duration
from pawl.core.report_html import STYLE
from pawl.core.workloads import drawing, views
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.moves import MovePlan
from pawl.core.workloads.obstacles import RESOLUTIONS, Obstacle
from pawl.core.workloads.surroundings import METHODS

_OWN = """
.m-surge,.m-surge-restart{fill:var(--v2)}.m-evict{fill:var(--slow)}.m-operator{fill:var(--cp)}
.m-wait{fill:var(--v1)}.m-decide{fill:var(--bad)}.m-stay{fill:var(--v0)}
.graph rect{opacity:.35}.graph .v{font-weight:600}.e{fill:none;stroke:var(--dim);stroke-width:1.2}
.e.strong{stroke:var(--etcd);stroke-width:1.8}.e.weak{stroke-dasharray:4 3;opacity:.7}
.e:hover{stroke:var(--bad);stroke-width:3}.tip{fill:var(--dim)}
.key span{display:inline-block;margin-right:14px}.key i{display:inline-block;width:12px;height:12px;
border-radius:3px;margin-right:5px;vertical-align:-1px}
.key .m-surge{background:var(--v2)}.key .m-evict{background:var(--slow)}
.key .m-operator{background:var(--cp)}.key .m-wait{background:var(--v1)}
.key .m-decide{background:var(--bad)}.key .m-stay{background:var(--v0)}
tr.blocker td:first-child{border-left:4px solid var(--bad);padding-left:8px}
tr.warning td:first-child{border-left:4px solid var(--slow);padding-left:8px}
tr.info td:first-child{border-left:4px solid var(--line);padding-left:8px}
"""
SHOWN = 2000
"""Rows of one table; a page of more is no use to anybody (-o json has all)."""


def render(facts: Workloads, made: MovePlan, cluster: str) -> str:
    blockers, forever = len(made.blockers), made.forever
    open_ones = [o for o in forever if not o.resolution]
    if not facts.complete:
        tone, verdict = "open", f"Incomplete: {len(facts.unread)} sources were not read."
    elif blockers:
        tone, verdict = "bad", f"{blockers} things need a person before any node is closed."
    else:
        tone, verdict = "good", "Nothing stands in the way that the plan does not resolve."
    tiles = [
        (str(len(made.moves)), "pods move, each once", "good"),
        (f"{made.dip:.0f}", "pod-seconds of missing capacity", "good" if not made.dip else "open"),
        (duration(made.seconds) if made.waves else "0 s", "predicted time", "open"),
        (duration(made.least) if made.waves else "0 s", f"at the least: {made.term}", "open"),
        (f"{len(forever)} / {len(open_ones)}", "would block a drain for ever / unresolved",
         "bad" if open_ones else "good"),
    ]  # fmt: skip
    _, left_out = drawing.chosen(made)
    more = f"<p class=meta>{left_out} workloads without a dependency are in the table only.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(cluster)}: workloads</title><style>{STYLE}{_OWN}</style></head>"
        f"<body><main><h1>{escape(cluster)}: workloads</h1>"
        f'<p class="meta">{escape(views.summary(facts, made))}</p>'
        f'<div class="card verdict {tone}">{escape(verdict)}</div><div class="tiles">'
        + "".join(f'<div class="tile {t}"><b>{escape(v)}</b>{escape(n)}</div>' for v, n, t in tiles)
        + "</div>"
        + _card("What blocks for ever", _obstacles(forever) or "<p>Nothing.</p>")
        + _card(
            "Who depends on whom, and who moves first",
            f"{_key()}{drawing.graph(made)}{more if left_out else ''}",
        )
        + (_card("When each pod moves", drawing.timeline(made)) if made.moves else "")
        + _card("Workloads, in the order of moving", _workloads(made))
        + _least(made)
        + _card(
            "What else to know",
            _obstacles(tuple(o for o in made.obstacles if not o.forever)) or "<p>Nothing.</p>",
        )
        + _card("Dependencies and their evidence", _edges(made))
        + _unread(facts)
        + "</main></body></html>\n"
    )


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{body}</section>'


def _key() -> str:
    return (
        '<p class="key meta">'
        + "".join(
            f'<span><i class="m-{m}"></i>{escape(m)}</span>'
            for m in METHODS
            if m != "surge-restart"
        )
        + "An arrow points to what is depended on; rest the pointer on it for the evidence.</p>"
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, list[str]]]) -> str:
    if not rows:
        return ""
    cut = f"<p class=meta>… and {len(rows) - SHOWN} more.</p>" if len(rows) > SHOWN else ""
    return (
        "<table><tr>"
        + "".join(f"<th>{escape(h)}</th>" for h in head)
        + "</tr>"
        + "".join(
            f'<tr class="{css}">' + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>"
            for css, row in rows[:SHOWN]
        )
        + f"</table>{cut}"
    )


def _obstacles(found: tuple[Obstacle, ...]) -> str:
    return _table(
        ("code", "what", "why", "what is done"),
        [
            (
                str(Severity(o.severity)),
                [
                    f"PAWL-{o.code}",
                    o.subject,
                    o.message,
                    f"{RESOLUTIONS[o.resolution]} (by the plan)" if o.resolution else o.remedy,
                ],
            )
            for o in found
        ],
    )


def _workloads(made: MovePlan) -> str:
    head = (*views.COLUMNS, "how and why", "volumes", "ends within")
    return _table(
        head,
        [
            (
                "",
                [
                    *row,
                    " ".join([w.why, *w.notes]),
                    ", ".join([*w.claims[:3], *w.zones]) or "-",
                    f"{w.grace:.0f} s",
                ],
            )
            for row, w in zip(views.rows(made), made.workloads, strict=True)
        ],
    )


def _least(made: MovePlan) -> str:
    lines = "\n".join(views.least(made))
    return _card("At the least", f"<pre>{escape(lines)}</pre>") if lines else ""


def _edges(made: MovePlan) -> str:
    strongest = sorted(made.graph.edges, key=lambda e: (-e.strength, e.consumer, e.provider))
    return (
        _table(
            ("consumer", "provider", "strength", "evidence"),
            [
                (
                    "",
                    [
                        views.short(e.consumer),
                        views.short(e.provider),
                        str(e.strength),
                        "; ".join(f"{v.source}: {v.text}" for v in e.evidence),
                    ],
                )
                for e in strongest
            ],
        )
        or "<p>None is known.</p>"
    )


def _unread(facts: Workloads) -> str:
    if facts.complete:
        return ""
    rows = [("warning", [u.source, u.why]) for u in facts.unread]
    return _card("Not read", _table(("source", "why"), rows))
