"""The dependency graph and the order of the moves, drawn as SVG by pure functions.

Columns are tiers, from what moves first on the left to what moves last on the right, so every arrow
points to the left, from a consumer to its provider. Inside a column each workload stands as near as
it can to what it depends on (the barycentre heuristic of layered drawings, Sugiyama 1981). Colours
are CSS classes, so that the page's light and dark themes apply.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape

from pawl.core.workloads.graph import Edge
from pawl.core.workloads.moves import Move, MovePlan, WorkloadPlan
from pawl.core.workloads.views import short

BOX, HEIGHT, GAP, COLUMN = 170.0, 34.0, 12.0, 250.0
TOP, MARGIN = 46.0, 16.0
DRAWN = 400
"""Workloads in one picture; more are left to the table, the most connected are drawn."""
LANES = 60
"""Workloads in the picture of the moves."""
LETTERS = 24


def chosen(made: MovePlan) -> tuple[list[WorkloadPlan], int]:
    """What is drawn, and how many are left out: those without a dependency go first."""
    degree: dict[str, int] = defaultdict(int)
    for e in made.graph.edges:
        degree[e.consumer] += 1
        degree[e.provider] += 1
    drawn = [w for w in made.workloads if degree[w.key] or len(made.workloads) <= 40]
    if len(drawn) > DRAWN:
        keep = {w.key for w in sorted(drawn, key=lambda w: (-degree[w.key], w.key))[:DRAWN]}
        drawn = [w for w in drawn if w.key in keep]
    return drawn, len(made.workloads) - len(drawn)


def graph(made: MovePlan) -> str:
    """The graph as one <svg>."""
    drawn, _ = chosen(made)
    keys = {w.key for w in drawn}
    edges = [e for e in made.graph.edges if e.consumer in keys and e.provider in keys]
    columns: dict[int, list[WorkloadPlan]] = defaultdict(list)
    for w in drawn:
        columns[w.tier].append(w)
    tiers = sorted(columns)
    x = {tier: MARGIN + i * COLUMN for i, tier in enumerate(tiers)}
    y = _rows(columns, tiers, edges)
    width = MARGIN * 2 + (len(tiers) - 1) * COLUMN + BOX if tiers else BOX
    height = TOP + max((y[k] for k in y), default=0.0) + HEIGHT + MARGIN
    at = {w.key: (x[w.tier], TOP + y[w.key]) for w in drawn}
    parts = [
        f'<text class="h" x="{x[t]:.0f}" y="18">{i + 1}. {escape(columns[t][0].tier_name)}</text>'
        f'<text x="{x[t]:.0f}" y="34">{len(columns[t])} workloads</text>'
        for i, t in enumerate(tiers)
    ]
    parts += [_edge(e, at) for e in sorted(edges, key=lambda e: e.strength)]
    parts += [_box(w, *at[w.key]) for w in drawn]
    return (
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="min-width:{min(width, 2400):.0f}px" role="img" '
        f'aria-label="Dependencies of the workloads">{_ARROW}{"".join(parts)}</svg>'
    )


_ARROW = (
    '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
)


def _rows(
    columns: dict[int, list[WorkloadPlan]], tiers: list[int], edges: list[Edge]
) -> dict[str, float]:
    """The height of each box: two sweeps, each column sorted by the mean of its neighbours."""
    near: dict[str, list[str]] = defaultdict(list)
    for e in edges:
        near[e.consumer].append(e.provider)
        near[e.provider].append(e.consumer)
    row = {
        w.key: float(i)
        for tier in tiers
        for i, w in enumerate(sorted(columns[tier], key=lambda w: w.key))
    }
    for sweep in (tiers, tiers[::-1], tiers):
        for tier in sweep:
            mean = {
                w.key: sum(row[n] for n in near[w.key]) / len(near[w.key])
                if near[w.key]
                else row[w.key]
                for w in columns[tier]
            }
            ordered = sorted(columns[tier], key=lambda w: (mean[w.key], w.key))
            for i, w in enumerate(ordered):
                row[w.key] = float(i)
    return {k: r * (HEIGHT + GAP) for k, r in row.items()}


def _box(w: WorkloadPlan, x: float, y: float) -> str:
    name = short(w.key)
    shown = name if len(name) <= LETTERS else f"…{name[-LETTERS + 1 :]}"
    said = (
        f"{w.key}: {w.kind}, {w.ready} of {w.replicas} ready, {w.moving} move by {w.method}. "
        f"{w.why} {' '.join(w.notes)}"
    )
    return (
        f'<g><title>{escape(said)}</title><rect class="m-{w.method}" x="{x:.0f}" y="{y:.0f}" '
        f'width="{BOX:.0f}" height="{HEIGHT:.0f}" rx="6"/>'
        f'<text class="v" x="{x + 8:.0f}" y="{y + 14:.0f}">{escape(shown)}</text>'
        f'<text x="{x + 8:.0f}" y="{y + 27:.0f}">{escape(w.kind)} · {w.method} · '
        f"{w.moving}</text></g>"
    )


def _edge(e: Edge, at: dict[str, tuple[float, float]]) -> str:
    (x1, y1), (x2, y2) = at[e.consumer], at[e.provider]
    y1, y2 = y1 + HEIGHT / 2, y2 + HEIGHT / 2
    if x1 > x2:
        start, end = x1, x2 + BOX
        bend = max(30.0, (start - end) / 2)
        path = f"M{start:.0f} {y1:.0f}C{start - bend:.0f} {y1:.0f} {end + bend:.0f} {y2:.0f} "
        path += f"{end:.0f} {y2:.0f}"
    else:  # the same column: a cycle
        side = x1 + BOX
        path = f"M{side:.0f} {y1:.0f}C{side + 40:.0f} {y1:.0f} {side + 40:.0f} {y2:.0f} "
        path += f"{side:.0f} {y2:.0f}"
    css = "strong" if e.strength >= 60 else "fair" if e.strength >= 45 else "weak"
    said = "; ".join(f"{v.source} {v.strength}: {v.text}" for v in e.evidence[:6])
    return (
        f'<path class="e {css}" d="{path}" marker-end="url(#to)"><title>'
        f"{escape(short(e.consumer))} depends on {escape(short(e.provider))} ({escape(said)})"
        "</title></path>"
    )


def timeline(made: MovePlan) -> str:
    """When each workload's pods start, on one axis over all waves."""
    begun, at = [], 0.0
    for w in made.waves:
        begun.append(at)
        at += w.seconds
    total = max(at, 1.0)
    lanes: dict[str, list[Move]] = defaultdict(list)
    for m in made.moves:
        lanes[m.workload].append(m)
    keys = [w.key for w in made.workloads if w.key in lanes][:LANES]
    left, width, lane = 200.0, 1100.0, 18.0
    scale = (width - left - 20) / total
    boot = made.pace.boot
    parts = []
    for i, start in enumerate(begun):
        x = left + start * scale
        parts.append(
            f'<path class="g" d="M{x:.1f} 18V{24 + lane * len(keys):.0f}"/>'
            f'<text x="{x + 3:.1f}" y="12">wave {i + 1}</text>'
        )
    for row, key in enumerate(keys):
        y = 24 + row * lane
        parts.append(
            f'<text class="l" x="{left - 8:.0f}" y="{y + 13:.0f}">{escape(short(key))}</text>'
        )
        for m in lanes[key]:
            x = left + (begun[m.wave] + boot + m.start) * scale
            said = f"{m.pod}: {m.source} to {m.target}, {m.method}, {m.seconds:.0f} s"
            parts.append(
                f'<rect class="m-{m.method}" x="{x:.1f}" y="{y + 3:.0f}" '
                f'width="{max(m.seconds * scale, 1.5):.1f}" height="{lane - 6:.0f}" rx="2">'
                f"<title>{escape(said)}</title></rect>"
            )
    height = 32 + lane * len(keys)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Order of the moves">'
        f"{''.join(parts)}</svg>"
    )
