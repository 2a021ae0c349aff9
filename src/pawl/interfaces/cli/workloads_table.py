"""The table of `pawl workloads`, for a person."""

from __future__ import annotations

import sys

from rich.console import Console

from pawl.core.workloads import views
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.moves import MovePlan
from pawl.interfaces.cli.tabular import lines

STYLES = {"x": "red", "!": "yellow", "-": "dim"}


def show(facts: Workloads, made: MovePlan) -> None:
    """What blocks for ever first, then the order of moving, its least time, the rest of the
    findings, the graph."""
    console = Console(highlight=False, soft_wrap=True, file=sys.stdout)
    console.print(views.summary(facts, made), markup=False)
    for u in facts.unread:
        console.print(f"not read: {u.source}: {u.why}", style="yellow", markup=False)
    _section(console, "What blocks for ever", list(views.forever(made)) or ["nothing"])
    print("\nWorkloads, in the order of moving")
    sys.stdout.flush()
    lines(views.rows(made), views.COLUMNS)
    for cycle in views.cycles(made.workloads):
        print(f"one tier, because they depend on one another: {', '.join(cycle)}")
    if least := list(views.least(made)):
        _section(console, "At the least (+ is what adds up)", least)
    rest = [line for o in made.obstacles if not o.forever for line in views.told(o)]
    if rest:
        _section(console, "What else to know", rest)
    if made.graph.edges:
        _section(console, "Who depends on whom (strength, evidence)", list(views.edges(made)))
    looked = len(facts.connections_seen)
    if facts.nodes and not looked:
        print("\nConnections on the nodes were not looked at.")
    elif looked:
        print(f"\nConnections were looked at on {looked} of {len(facts.nodes)} nodes.")


def _section(console: Console, title: str, said: list[str]) -> None:
    console.print(f"\n{title}", style="bold" if console.is_terminal else "", markup=False)
    for line in said:
        console.print(line, style=STYLES.get(line[:1], ""), markup=False)
