"""A plan of moves as text for a person, and its graph for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pawl.core.findings import Severity
from pawl.core.render import duration
from pawl.core.workloads.bound import Piece
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.moves import MovePlan, WorkloadPlan
from pawl.core.workloads.obstacles import RESOLUTIONS, Obstacle

EDGES_SHOWN = 40
COLUMNS = ("tier", "workload", "class", "pods", "moves", "method", "each", "dip", "budget")


def short(key: str) -> str:
    """ "shop/Deployment/web" -> "shop/web" where the kind stands beside it."""
    namespace, _, rest = key.partition("/")
    return f"{namespace}/{rest.partition('/')[2]}"


def summary(facts: Workloads, made: MovePlan) -> str:
    """Two sentences: what moves, how long it takes, what binds, and what it costs."""
    nodes = sum(len(w.old) for w in made.waves)
    running = sum(w.ready for w in made.workloads)
    first = (
        f"{len(made.workloads)} workloads with {running} Ready pods on {len(facts.nodes)} nodes, "
        f"{len(made.graph.edges)} dependencies."
    )
    if not nodes:
        return f"{first} No node is to be replaced, so nothing moves."
    waves = f"{len(made.waves)} waves" if len(made.waves) > 1 else "one wave"
    efficiency = made.least / made.seconds if made.seconds else 1.0
    return (
        f"{first}\nReplacing {nodes} nodes moves {len(made.moves)} pods, each once, in {waves}: "
        f"about {duration(made.seconds)}, at the least {duration(made.least)} "
        f"({efficiency:.0%}), bound by {made.term}; "
        f"at most {made.starts_cap} pods start at a time. "
        f"Missing capacity: {made.dip:.0f} pod-seconds."
    )


def rows(made: MovePlan) -> list[list[str]]:
    """One row a workload, in the order of moving."""
    return [
        [
            str(w.tier),
            short(w.key),
            w.kind if w.kind != "operator" else f"operator: {w.operator.partition('/')[0]}",
            f"{w.ready}/{w.replicas}",
            str(w.moving),
            w.method if w.at_once == 1 or not w.restarts else f"{w.method} ×{w.at_once}",
            f"{w.seconds:.0f} s" if w.restarts else "-",
            f"{w.dip:.0f} pod-s" if w.dip else "-",
            ", ".join(b.partition("/")[2] for b in w.budgets) or "-",
        ]
        for w in made.workloads
    ]


def forever(made: MovePlan) -> Iterator[str]:
    """The section "what blocks for ever": each with what the plan does, or what a person must."""
    for o in made.forever:
        yield from told(o)


def least(made: MovePlan) -> Iterator[str]:
    """The least time of the longest wave: its machines, and each reason, what binds first."""
    wave = max(made.waves, key=lambda w: w.least, default=None)
    if wave is None or not wave.moves:
        return
    for p in wave.machines:
        yield f"+ {p}"
    for i, term in enumerate(wave.terms):
        mark, whole = "-" if i else "+", Piece(what=term.what, seconds=term.seconds)
        if len(term.pieces) == 1 and term.pieces[0].what == term.what:
            whole = term.pieces[0]
        yield f"{mark} {whole}"
        yield from (f"    {p}" for p in term.pieces if p != whole)


def told(o: Obstacle) -> Iterator[str]:
    mark = {Severity.BLOCKER: "x", Severity.WARNING: "!", Severity.INFO: "-"}[o.severity]
    yield f"{mark} PAWL-{o.code} {o.subject} {o.message}"
    if o.resolution:
        yield f"    resolved: {RESOLUTIONS[o.resolution]}."
    if o.remedy:
        yield f"    {o.remedy}"


def edges(made: MovePlan, most: int = EDGES_SHOWN) -> Iterator[str]:
    """Consumer -> provider, how strong, and the best piece of evidence."""
    strongest = sorted(made.graph.edges, key=lambda e: (-e.strength, e.consumer, e.provider))
    for e in strongest[:most]:
        best = e.evidence[0]
        more = f" (+{len(e.evidence) - 1})" if len(e.evidence) > 1 else ""
        yield (
            f"{short(e.consumer)} -> {short(e.provider)}  {e.strength:>3} {best.source}: "
            f"{best.text}{more}"
        )
    if len(strongest) > most:
        yield f"… and {len(strongest) - most} more (-o json, dot or html shows all)"


def dot(made: MovePlan) -> str:
    """The graph for Graphviz: providers on the left, tiers as ranks."""
    lines = ["digraph workloads {", "  rankdir=RL; node [shape=box, style=rounded];"]
    tiers: dict[int, list[WorkloadPlan]] = {}
    for w in made.workloads:
        tiers.setdefault(w.tier, []).append(w)
    for tier, members in tiers.items():
        lines.append(f"  {{ rank=same; // tier {tier}: {members[0].tier_name}")
        for w in members:
            text = f"{short(w.key)}\\n{w.kind}, {w.method}"
            lines.append(f'    "{_quoted(w.key)}" [label="{_quoted(text)}"];')
        lines.append("  }")
    for e in made.graph.edges:
        style = "solid" if e.strength >= 45 else "dashed"
        label = f"{e.evidence[0].source} {e.strength}"
        lines.append(
            f'  "{_quoted(e.consumer)}" -> "{_quoted(e.provider)}" '
            f'[label="{label}", style={style}, tooltip="{_quoted(e.evidence[0].text)}"];'
        )
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


def cycles(workloads: Sequence[WorkloadPlan]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(w.cycle for w in workloads if w.cycle))
