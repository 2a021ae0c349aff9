"""`pawl verify`: judge by measurements, now or over the past."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from pawl.core.errors import ConfigError, Unreachable
from pawl.core.events import RunEnded, RunStarted
from pawl.core.verify import picture, replay
from pawl.core.verify.gates import shown
from pawl.core.verify.judge import judge
from pawl.core.verify.pack import worst
from pawl.core.verify.reading import Judgement, Reading, sum_up
from pawl.core.verify.replay import History, Window
from pawl.engine.gatekeeping import first_new_node, split_by_version, split_of_plan, turned
from pawl.engine.measuring import Measurer, Situation
from pawl.engine.proving import prove
from pawl.engine.record import view_of
from pawl.interfaces import wiring
from pawl.interfaces.cli import exits, tabular
from pawl.interfaces.cli.choosing import ENDED
from pawl.interfaces.cli.live import duration
from pawl.interfaces.cli.options import ConfigFile, Format, Output
from pawl.interfaces.wiring import Session

app = App(
    name="verify",
    help=(
        "Is what runs on the new nodes as good as what ran before? Measured, not assumed.\n\n"
        "Reads the Prometheus-compatible server of `metrics` in pawl.yaml and changes nothing. "
        "Pods on new nodes are compared with pods on old nodes in the same minutes, or with the "
        "same hour of earlier weeks; limits and alerting rules are judged as they are.\n\n"
        "Exit codes: 0 pass, 1 fail, 3 it cannot be told, or something could not be read.\n\n"
        "For example:\n\n"
        "    pawl verify                   # judge now, each gate with a small picture\n"
        "    pawl verify --gate http-latency -o json\n"
        "    pawl verify --new worker-1 --minutes 20\n"
        "    pawl verify --history         # how often would it have cried wolf?\n"
        "    pawl verify gates             # the gates that hold, with their numbers\n"
        "    pawl verify pack shop.yaml --phase after"
    ),
)

EXIT = {"pass": exits.DONE, "fail": exits.FINDINGS, "inconclusive": exits.INCOMPLETE}


@app.default
async def verify(
    *,
    history: Annotated[
        bool, Parameter(negative=(), help="Replay the judge over the past instead.")
    ] = False,
    windows: Annotated[int, Parameter(help="Past windows to replay.")] = 40,
    days: Annotated[float, Parameter(help="How far back they reach.")] = 7.0,
    new: Annotated[
        tuple[str, ...],
        Parameter(
            help="Nodes to take for new; without it those at the plan's, or the newest, version.",
            consume_multiple=True,
            negative=(),
        ),
    ] = (),
    minutes: Annotated[
        float | None,
        Parameter(help="Judge the last minutes; without it since the run's first new node, or 30."),
    ] = None,
    gate: Annotated[
        tuple[str, ...], Parameter(help="Only these gates.", consume_multiple=True, negative=())
    ] = (),
    all_: Annotated[
        bool, Parameter(name="--all", negative=(), help="List what is not measured too.")
    ] = False,
    output: Output = "table",
    config: ConfigFile = None,
) -> int:
    """Judge now, or replay the past with --history."""
    wrong = [
        f"{name} {value:g}: more than 0"
        for name, value in (("--windows", windows), ("--days", days), ("--minutes", minutes))
        if value is not None and not 0 < value < math.inf
    ]
    if wrong:
        raise ConfigError("pawl verify", wrong)
    async with wiring.open_session(config) as session:
        measurer = _measurer(session, gate)
        if history:
            return await _history(session, measurer, windows, days, output, kept=not gate)
        judgement = await _now(session, measurer, new, minutes)
    if output == "table":
        _print(judgement, everything=all_)
    else:
        sys.stdout.write(tabular.document(judgement, output))
    return EXIT[judgement.verdict]


def _measurer(session: Session, only: tuple[str, ...]) -> Measurer:
    measurer, config = session.measurer, session.config.metrics
    if measurer is None or config is None:
        raise ConfigError(
            "pawl verify",
            [
                "no metrics are configured, so there is nothing to judge by: add `metrics: {url: "
                "https://…}` to pawl.yaml (docs/verify.md)."
            ],
        )
    if not only:
        return measurer
    known = {g.name for g in measurer.gates}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ConfigError(
            "--gate", [f"no gate is called {n}; known: {', '.join(sorted(known))}" for n in unknown]
        )
    return Measurer(
        session.metrics or measurer.metrics,
        config,
        [g for g in measurer.gates if g.name in only],
        window=session.config.policy.gates.window,
    )


async def _now(
    session: Session, measurer: Measurer, new: tuple[str, ...], minutes: float | None
) -> Judgement:
    now = session.clock.now()
    since = now - (minutes if minutes is not None else 30.0) * 60
    begun = since
    became: dict[str, float] = {}
    if new:
        nodes = {p.node for p in await measurer.pods(since, now)}
        unknown = [n for n in new if n not in nodes]
        if unknown:
            raise ConfigError(
                "--new", [f"no pod runs on a node {n}, as far as metrics tell" for n in unknown]
            )
        fresh, old = frozenset(new), frozenset(nodes) - frozenset(new)
    else:
        fresh, old, changed, became = await _split(session)
        if changed is not None and minutes is None:
            since, begun = max(changed, now - session.config.policy.gates.window), changed
    measured = await measurer.measure(
        Situation(new=fresh, old=old, since=since, begun=begun, now=now, turned=became)
    )
    return sum_up(
        [*judge(measured.sides), *measured.rules],
        at=now,
        since=since,
        errors=measured.errors,
    )


async def _split(
    session: Session,
) -> tuple[frozenset[str], frozenset[str], float | None, dict[str, float]]:
    """(new nodes, old nodes, since when there are new ones, and since when each that was swapped in
    place): by the unfinished run's plan, else by the kubelets' versions."""
    state = await session.observer.observe()
    if not state.nodes:
        lost = "; ".join(f"{u.source}: {u.why}" for u in state.unread)
        raise Unreachable(f"which nodes are new cannot be told ({lost}); name them with --new")
    for run in session.journal.runs()[:1]:
        view = view_of(session.journal, run)
        if view.plan and view.outcome not in ENDED:
            plan = session.journal.plan(view.plan)
            fresh, old = split_of_plan(plan, state)
            return fresh, old, first_new_node(plan, view), turned(plan, view)
    fresh, old = split_by_version(state)
    return fresh, old, None, {}


_ORDER = {"fail": 0, "inconclusive": 1, "pass": 2, "absent": 3}


def _print(judgement: Judgement, *, everything: bool) -> None:
    listed = [r for r in judgement.readings if everything or r.verdict != "absent" or r.required]
    listed.sort(key=lambda r: (_ORDER[r.verdict], r.known is False, r.gate, r.group))
    rows = [_row(r) for r in listed]
    if rows:
        tabular.lines(rows, ("gate", "of", "new", "control", "change", "q", "", "verdict"))
        print()
    for reading in listed:
        if reading.verdict in ("fail", "inconclusive") or reading.known:
            print(f"{reading.verdict}: {reading.why}")
    for error in judgement.errors:
        print(f"not read: {error}")
    absent = sum(r.verdict == "absent" for r in judgement.readings)
    more = f" {absent} gates and rules say nothing here (--all lists them)." if absent else ""
    span = duration(judgement.at - judgement.since)
    print(f"{judgement.verdict} over the last {span}: {judgement.why}{more}")


def _row(reading: Reading) -> tuple[str, ...]:
    def value(given: float | None) -> str:
        return "" if given is None else shown(given, reading.unit)

    control = value(reading.control)
    if reading.limit is not None:
        control = f"limit {shown(reading.limit, reading.unit)}"
    change = "" if reading.change is None or reading.limit is not None else f"{reading.change:+.0%}"
    where = f"{reading.group} on {reading.subject}" if reading.subject else reading.group
    return (
        reading.gate,
        where,
        value(reading.treated),
        control,
        change,
        "" if reading.q is None else f"{reading.q:.2g}",
        picture.text(reading),
        "known" if reading.known else reading.verdict,
    )


# -- history -----------------------------------------------------------------------------------


async def _history(
    session: Session, measurer: Measurer, count: int, days: float, output: Format, *, kept: bool
) -> int:
    now = session.clock.now()
    quiet = output != "table" or not sys.stderr.isatty()

    def told(window: Window) -> None:
        if not quiet:
            print(f"  {window.outcome:<12} {window.comparisons} comparisons", file=sys.stderr)

    found = await prove(
        measurer,
        digest=session.gates_digest,
        now=now,
        count=count,
        days=days,
        busy=_busy(session, measurer.warm_up),
        told=told,
    )
    if kept:
        session.proofs.save(found)
    if output == "table":
        _print_history(found, session, kept=kept)
    else:
        sys.stdout.write(tabular.document(found, output))
    if found.rate is None or found.errors:
        return exits.INCOMPLETE
    loud = found.rate > session.config.policy.gates.false_alarms
    return exits.FINDINGS if loud else exits.DONE


def _busy(session: Session, warm_up: float) -> list[tuple[float, float]]:
    """When pawl's own runs went on."""
    spans = []
    for run in session.journal.runs():
        events = session.journal.events(run)
        starts = [e.at for e in events if isinstance(e, RunStarted)]
        ends = [e.at for e in events if isinstance(e, RunEnded)]
        if starts:
            spans.append((min(starts) - warm_up, max([*ends, events[-1].at]) + replay.SPAN))
    return spans


def _print_history(found: History, session: Session, *, kept: bool) -> None:
    for window in found.windows:
        if window.outcome == "fail":
            print(f"false alarm with {', '.join(window.called_new)} called new: {window.why}")
    for error in found.errors:
        print(f"not read: {error}")
    unclear = len(found.windows) - found.judged
    if unclear:
        why = next(w.why for w in found.windows if w.outcome == "inconclusive")
        print(f"{unclear} windows could not be judged, for example: {why}")
    for gate, times in found.by_gate.items():
        print(f"  {gate}: {times} false alarms")
    if found.rate is None:
        print(f"No past window of {len(found.windows)} could be judged.")
        return
    bound = 1 - 0.05 ** (1 / found.judged) if not found.alarms else None
    surely = f" (the true rate is below {bound:.1%}, with 95 % confidence)" if bound else ""
    print(
        f"False alarms: {found.alarms} of {found.judged} past windows of "
        f"{replay.SPAN / 60:.0f} min, {found.rate:.1%}{surely}."
    )
    if kept:
        policy = session.config.policy.gates
        held = replay.unproven(found, session.gates_digest, policy.false_alarms, found.at)
        print(f"They may not block: {held}" if held else "With that they may block a run.")


# -- what holds --------------------------------------------------------------------------------


@app.command
async def gates(*, output: Output = "table", config: ConfigFile = None) -> int:
    """List the gates that hold here: the shipped ones with this cluster's numbers, and its own.

    For example:

        pawl verify gates
        pawl verify gates -o json
    """
    async with wiring.open_session(config) as session:
        held = session.gates
        rules = session.rules
    rows = [
        {
            "gate": g.name,
            "kind": g.kind,
            "by": g.by,
            "allowed": _allowed(g.kind, g.worse, g.ratio, g.ratio_down, g.limit, g.unit),
            "query": " ".join(g.query.split()),
            "why": g.why,
        }
        for g in held
    ]
    rows += [
        {
            "gate": f"rule {r.name}",
            "kind": "rule",
            "by": "cluster",
            "allowed": "not true twice",
            "query": " ".join(r.expr.split()),
            "why": r.summary,
        }
        for r in rules
    ]
    columns = ("gate", "kind", "by", "allowed", "query")
    if output == "table":
        tabular.lines([[row[c] for c in columns] for row in rows], columns)
    else:
        sys.stdout.write(tabular.document(rows, output))
    return 0


@app.command
async def pack(
    file: Annotated[Path, Parameter(help="The pack's file.")],
    /,
    *,
    phase: Annotated[
        Literal["before", "during", "after"], Parameter(help="Which of its checks.")
    ] = "before",
    output: Output = "table",
    config: ConfigFile = None,
) -> int:
    """Make the checks of a verification pack once.

    Exit codes: 0 all hold, 1 one says no, 3 one could not be made, or the phase has none.

    For example:

        pawl verify pack shop.yaml --phase after
    """
    async with wiring.open_session(config) as session:
        outcomes = await session.packer(file).make(phase)
    if output == "table":
        rows = [(o.check, o.verdict, duration(o.seconds), o.why) for o in outcomes]
        tabular.lines(rows, ("check", "verdict", "took", "what was seen"))
        for o in outcomes:
            if o.verdict != "pass" and o.output:
                print(f"-- the last output of {o.check}:\n{o.output}")
    else:
        sys.stdout.write(tabular.document(outcomes, output))
    return {"pass": 0, "fail": 1, "error": 3, "none": 3}[worst(outcomes)]


def _allowed(
    kind: str, worse: str, ratio: float, ratio_down: float, limit: float, unit: object
) -> str:
    if kind == "limit":
        sign = "≥" if worse == "down" else "≤"
        return f"{sign} {shown(limit, unit)}"  # type: ignore[arg-type]
    if kind == "trend":
        return f"+{ratio - 1:.0%} an hour"
    up = f"×{ratio:g}" if worse != "down" else ""
    down = f"×{ratio_down:g}" if worse != "up" else ""
    return " to ".join(p for p in (down, up) if p)
