"""The report as Markdown: for a ticket, a pull request or a terminal."""

from __future__ import annotations

from pawl.core.report import Report
from pawl.core.report_tables import Table, duration, notes, tables


def table(t: Table) -> list[str]:
    clean = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in t.rows]
    lines = ["| " + " | ".join(t.head) + " |", "|" + " --- |" * len(t.head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in clean), ""]


def render(r: Report) -> str:
    lines = [f"# {r.cluster}: {r.goal}", "", f"**{r.verdict.sentence}**", ""]
    lines += [
        f"Run `{r.run}`, plan `{r.plan[:12]}`, by {r.operator}; {duration(r.seconds)}, "
        f"{r.effects} effects, resumed {r.resumed} times.",
        "",
    ]
    for t in tables(r):
        lines += [f"## {t.title}", "", *table(t)]
    lines += ["## Notes", "", *(f"- {n}" for n in notes(r)), ""]
    return "\n".join(lines)
