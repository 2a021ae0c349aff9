"""Does the judge find what is worse on new nodes, and is it silent when nothing is?

Simulated series, because the truth must be known: a cluster with half of its nodes new, workloads
on all of them, a day's traffic with bursts, nodes that differ by a few percent, samples that depend
on their neighbours (15 s scrapes of 1 min rates), outliers, gaps in scraping, caches that fill and
heaps that are collected. The judge looks every 30 s for the 30 minutes after the pods' start, as in
a run, and a fail counts when it is seen twice in a row.

Beside it: Mann-Whitney on the raw samples alone, at the same 2 % and with the same bounds on the
effect, and stock alerts (`for: 15m`), which cannot fire within the window at all.

    python bench/judge.py [--runs 20] [--nodes 8] [--workloads 6] [--seed 1]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence

from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.gates import Gate
from pawl.core.verify.hypothesis import ALPHA
from pawl.core.verify.judge import judge
from pawl.core.verify.mann_whitney import mann_whitney
from pawl.core.verify.reading import Reading, sum_up
from pawl.core.verify.series import TREND, WARM_UP, Line, Sides

STEP, SOAK, LOOK = 15.0, 1800.0, 30.0
RATE = 4
"""Samples of 15 s in a rate over one minute: neighbours share three quarters of their data."""
MIB = 1024.0 * 1024.0
GATES = {g.name: g for g in CATALOG}


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong on `nodes` new nodes of workload `workload` (None: of all)."""

    name: str
    latency: float = 1.0
    errors: float = 0.0
    leak_share: float = 0.0
    """Of the level, an hour."""
    cpu: float = 1.0
    nodes: int = 10**6
    workload: int | None = 0
    gate: str = ""


FAULTS = (
    Fault("latency +20 %, one workload", latency=1.2, gate="http-latency"),
    Fault("latency +20 %, all workloads", latency=1.2, workload=None, gate="http-latency"),
    Fault("errors 0 -> 0.5 %", errors=0.005, gate="http-5xx"),
    Fault("memory leak, 30 % an hour", leak_share=0.3, gate="memory-leak"),
    Fault("one bad node of many: latency x 1.5", latency=1.5, nodes=1, gate="http-latency"),
    Fault("one bad node of many: errors 2 %", errors=0.02, nodes=1, gate="http-5xx"),
    Fault("CPU +40 %, one workload", cpu=1.4, gate="cpu"),
)


class Simulation:
    """One run's series: `sides(now)` is what the judge would get `now` seconds into the soak."""

    def __init__(self, rng: random.Random, nodes: int, workloads: int, fault: Fault | None) -> None:
        self._rng = rng
        self._steps = int(SOAK / STEP) + 1
        self._at = tuple(i * STEP for i in range(self._steps))
        self._lines: list[tuple[Gate, str, list[Line], list[Line]]] = []
        names = [f"node-{i}" for i in range(nodes)]
        new, old = names[: nodes // 2], names[nodes // 2 :]
        quirk = {n: rng.gauss(1, 0.02) for n in names}  # no two machines are quite equal
        for w in range(workloads):
            self._workload(w, new, old, quirk, fault)

    def _workload(
        self,
        w: int,
        new: list[str],
        old: list[str],
        quirk: dict[str, float],
        fault: Fault | None,
    ) -> None:
        rng = self._rng
        base = {
            "rps": rng.uniform(10, 60),
            "latency": rng.uniform(0.02, 0.3),
            "memory": rng.uniform(150, 900) * MIB,
            "cpu": rng.uniform(0.1, 1.5),
            "errors": rng.choice([0.0, 0.0, 0.0005]),
            "cache": rng.uniform(0.05, 0.25),
            "fills": rng.uniform(100, 400),
        }
        traffic = self._traffic()
        heap = rng.random() < 0.4  # a garbage-collected heap saws
        gathered: dict[str, tuple[list[Line], list[Line]]] = {}
        for position, node in enumerate([*new, *old]):
            fresh = position < len(new)
            hit = fault is not None and fresh and position < fault.nodes
            mine = fault if hit and fault and fault.workload in (None, w) else None
            for gate, values in self._pod(base, traffic, quirk[node], fresh, heap, mine):
                warm_up = WARM_UP * (TREND if GATES[gate].kind == "trend" else 1.0)
                start = int(warm_up / STEP) if fresh else 0
                kept = [
                    (t, v)
                    for t, v in zip(self._at[start:], values[start:], strict=True)
                    if rng.random() > 0.01  # a scrape is missed now and then
                ]
                line = Line(
                    subject=node, at=tuple(t for t, _ in kept), values=tuple(v for _, v in kept)
                )
                gathered.setdefault(gate, ([], []))[0 if fresh else 1].append(line)
        for gate, (treated, control) in gathered.items():
            self._lines.append((GATES[gate], f"shop/Deployment/app-{w}", treated, control))

    def _traffic(self) -> list[float]:
        """Shared by all pods of a workload: a slope of the day, slow swings, and bursts."""
        rng, swing, values = self._rng, 0.0, []
        slope = rng.uniform(-0.15, 0.15)
        burst = 0.0
        for i in range(self._steps):
            swing = 0.95 * swing + rng.gauss(0, 0.03)
            burst = 0.7 * burst + (rng.uniform(0.3, 1.0) if rng.random() < 0.01 else 0.0)
            values.append(max(0.2, 1 + slope * i / self._steps + swing + burst))
        return values

    def _pod(
        self,
        base: dict[str, float],
        traffic: Sequence[float],
        quirk: float,
        fresh: bool,
        heap: bool,
        fault: Fault | None,
    ) -> Iterator[tuple[str, list[float]]]:
        rng, steps = self._rng, range(self._steps)
        share = rng.gauss(1, 0.05)  # balancers do not share out evenly
        requests = [max(0.0, base["rps"] * traffic[i] * share * STEP) for i in steps]
        counts = [max(0, round(rng.gauss(r, math.sqrt(r)))) for r in requests]
        slow = self._noise(0.05)
        latency = [
            base["latency"]
            * quirk
            * (1 + 0.15 * (traffic[i] - 1))
            * (1 + slow[i])
            * (3.0 if rng.random() < 0.004 else 1.0)
            * (fault.latency if fault else 1.0)
            for i in steps
        ]
        rate = base["errors"] + (fault.errors if fault else 0.0)
        errors = [sum(rng.random() < rate for _ in range(c)) if rate else 0 for c in counts]
        work = self._noise(0.06)
        cpu = [
            base["cpu"] * quirk * traffic[i] * share * (1 + work[i]) * (fault.cpu if fault else 1)
            for i in steps
        ]
        wave, phase = self._noise(0.004), rng.random()
        young = []
        for i in steps:
            filled = 1 - base["cache"] * math.exp(-i * STEP / base["fills"])
            saw = 0.06 * ((i * STEP / 170 + phase) % 1) if heap else 0.0
            leak = fault.leak_share * i * STEP / 3600 if fault else 0.0
            young.append(base["memory"] * quirk * (filled + saw + wave[i] + leak))
        yield "http-latency", _rated(latency)
        yield "cpu", _rated(cpu)
        yield "http-traffic", _rated([c / STEP for c in counts])
        yield (
            "http-5xx",
            [
                sum(errors[max(0, i - RATE + 1) : i + 1])
                / max(1, sum(counts[max(0, i - RATE + 1) : i + 1]))
                for i in steps
            ],
        )
        # an old pod's memory now, and, for the leak, when it was as young as the new ones are
        yield "memory", young if fresh else [base["memory"] * quirk * (1 + w) for w in wave]
        yield "memory-leak", young

    def _noise(self, size: float) -> list[float]:
        """First-order autoregressive with standard deviation `size`."""
        rng, value, values = self._rng, 0.0, []
        for _ in range(self._steps):
            value = 0.6 * value + rng.gauss(0, size * 0.8)
            values.append(value)
        return values

    def sides(self, now: float) -> list[Sides]:
        return [
            Sides(
                gate=gate,
                group=group,
                treated=tuple(line for t in treated if (line := _until(t, now)).at),
                control=tuple(_until(c, now) for c in control),
                against="same age" if gate.kind == "trend" else "old nodes",
            )
            for gate, group, treated, control in self._lines
        ]


def _rated(values: Sequence[float]) -> list[float]:
    return [
        sum(part) / len(part)
        for i in range(len(values))
        if (part := values[max(0, i - RATE + 1) : i + 1])
    ]


def _until(line: Line, now: float) -> Line:
    end = sum(t <= now for t in line.at)
    return Line(subject=line.subject, at=line.at[:end], values=line.values[:end])


Answer = Callable[[Sequence[Sides]], list[Reading]]


def by_judge(sides: Sequence[Sides]) -> list[Reading]:
    return list(sum_up(judge(sides), at=0.0, since=0.0).failed)


def by_ranks_alone(sides: Sequence[Sides]) -> list[Reading]:
    """What a plain canary analysis does: every sample counts, nodes do not, each test by itself."""
    found = []
    for one in sides:
        if one.gate.kind != "compare":
            continue
        new = [v for t in one.treated for v in t.values]
        old = [v for c in one.control for v in c.values]
        if len(new) < 8 or len(old) < 8:
            continue
        ranks = mann_whitney(new, old)
        effect, base = sum(new) / len(new) - sum(old) / len(old), sum(old) / len(old)
        up = effect > 0
        if abs(effect) < one.gate.change or (one.gate.worse == "down" and up):
            continue
        if one.gate.worse == "up" and not up:
            continue
        ratio = (base + effect) / base if base else math.inf
        beyond = ratio > one.gate.ratio if up else ratio < one.gate.ratio_down
        if beyond and (ranks.greater if up else ranks.less) <= ALPHA:
            found.append(
                Reading(
                    gate=one.gate.name,
                    group=one.group,
                    kind="compare",
                    unit=one.gate.unit,
                    verdict="fail",
                    why="",
                )
            )
    return found


def watched(simulation: Simulation, answer: Answer) -> tuple[float | None, list[Reading], int]:
    """(when it stopped, what it said, looks): a fail counts when the next look says it too."""
    before: set[str] = set()
    now, looks = WARM_UP + LOOK, 0
    while now <= SOAK:
        looks += 1
        failed = answer(simulation.sides(now))
        again = [r for r in failed if r.key in before]
        if again:
            return now, again, looks
        before = {r.key for r in failed}
        now += LOOK
    return None, [], looks


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--workloads", type=int, default=6)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(
        f"{args.nodes} nodes, half of them new; {args.workloads} workloads; {args.runs} runs each; "
        f"30 min after the start, a look every {LOOK:.0f} s\n"
    )
    print(
        "| injected on new nodes only | found | by the right gate | told after (median) "
        "| ranks alone found | stock alerts |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for fault in [f for f in FAULTS if args.only in f.name]:
        hits, right, after, plain = 0, 0, [], 0
        for run in range(args.runs):
            seed = f"{args.seed}/{fault.name}/{run}"
            make = lambda seed=seed, fault=fault: Simulation(  # noqa: E731
                random.Random(seed), args.nodes, args.workloads, fault
            )
            at, said, _ = watched(make(), by_judge)
            hits += at is not None
            right += any(r.gate == fault.gate for r in said)
            after += [at] if at is not None else []
            plain += any(r.gate == fault.gate for r in watched(make(), by_ranks_alone)[1])
        told = f"{sorted(after)[len(after) // 2] / 60:.1f} min" if after else "-"
        print(
            f"| {fault.name} | {hits}/{args.runs} | {right}/{args.runs} | {told} "
            f"| {plain}/{args.runs} | 0 |"
        )
    alarms = plain = looks = comparisons = 0
    said: list[str] = []
    began = time.perf_counter()
    spent = 0.0
    for run in range(args.runs):
        make_quiet = lambda run=run: Simulation(  # noqa: E731
            random.Random(f"{args.seed}/quiet/{run}"), args.nodes, args.workloads, None
        )
        simulation = make_quiet()
        started = time.perf_counter()
        at, failed, count = watched(simulation, by_judge)
        spent += time.perf_counter() - started
        looks += count
        comparisons = len(simulation.sides(SOAK))
        alarms += at is not None
        said += [r.why for r in failed]
        plain += watched(make_quiet(), by_ranks_alone)[0] is not None
    print(f"| nothing: false alarms | {alarms}/{args.runs} |  |  | {plain}/{args.runs} | 0 |")
    print(
        f"\nquiet: {looks} looks at {comparisons} comparisons, "
        f"{spent / max(looks, 1) * 1000:.0f} ms of judging a look; "
        f"{time.perf_counter() - began:.0f} s in all"
    )
    for why in said:
        print("  false:", why)


if __name__ == "__main__":
    main()
