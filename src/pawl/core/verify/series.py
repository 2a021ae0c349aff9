"""Measured series, and how they are laid out for the judge: by workload, by node, by side."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from pawl.core.verify.gates import Gate

Control = Literal["old nodes", "same age", "earlier weeks", "none"]
WHOLE = "the cluster"
WARM_UP = 120.0
"""Seconds after its start in which a pod is not judged: the default of `metrics.warm_up`."""
TREND = 2.5
"""How many times that for a trend: what fills after a start must have filled for the most part."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One series: labels and points. `at` rises, in seconds since the epoch; no value is NaN."""

    labels: dict[str, str]
    at: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def span(self) -> float:
        return self.at[-1] - self.at[0] if self.at else 0.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one subject did: a node, or one earlier week."""

    subject: str
    at: tuple[float, ...]
    values: tuple[float, ...]


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, the workload that it belongs to ("shop/Deployment/web"), its node, and since when.
    `until` is when it was last seen there, infinity while it is there. A pod of a StatefulSet that
    has moved is two of these: its name went with it.
    """

    namespace: str
    pod: str
    node: str
    workload: str
    since: float
    until: float = math.inf


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes are new and which are old, and which pods ran where. `turned`: when a new node
    became new, where that was in place; before, it was an old one."""

    new: frozenset[str]
    old: frozenset[str]
    placed: tuple[Placed, ...] = ()
    turned: dict[str, float] = {}

    @property
    def nodes(self) -> frozenset[str]:
        return self.new | self.old

    def parts(self, node: str, series: Series) -> Iterator[tuple[bool, Series]]:
        """(whether it is of a new node, the series or its part)."""
        turned = self.turned.get(node) if node in self.new else None
        if turned is None:
            yield node in self.new, series
        else:
            yield True, _between(series, turned, math.inf)
            yield False, _between(series, -math.inf, turned)


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate has to compare for one group (a workload, the nodes, or the whole cluster).

    `before` is the treated subjects' own past, from before anything was changed: what was bad then
    is recorded, not blamed.
    """

    gate: Gate
    group: str
    treated: tuple[Line, ...] = ()
    control: tuple[Line, ...] = ()
    against: Control = "none"
    before: tuple[Line, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.gate.name}/{self.group}"


def finite(at: Iterable[float], values: Iterable[float]) -> tuple[tuple[float, ...], ...]:
    """(at, values) without what is not a number: NaN is no data, and no data is not zero."""
    pairs = [(t, v) for t, v in zip(at, values, strict=True) if math.isfinite(v)]
    return tuple(t for t, _ in pairs), tuple(v for _, v in pairs)


def arrange(
    gate: Gate,
    series: Sequence[Series],
    split: Split,
    *,
    node_label: str = "node",
    warm_up: float = WARM_UP,
) -> dict[str, tuple[tuple[Line, ...], tuple[Line, ...]]]:
    """(on new nodes, on old nodes) by group. Pods in their warm-up are left out, and series that
    belong to no known pod or node are passed over."""
    if gate.by == "cluster":
        return {
            _name(s, alone=len(series) == 1): (
                (Line(subject=_name(s, alone=False), at=s.at, values=s.values),),
                (),
            )
            for s in series
        }
    gathered: dict[tuple[str, str, bool], list[Series]] = {}
    if gate.by == "node":
        for s in series:
            if (node := s.labels.get(node_label, "")) in split.nodes:
                for new, part in split.parts(node, s):
                    gathered.setdefault(("nodes", node, new), []).append(part)
    else:
        pods: dict[tuple[str, str], list[Placed]] = {}
        for p in sorted(split.placed, key=lambda p: p.since):
            pods.setdefault((p.namespace, p.pod), []).append(p)
        for s in series:
            places = pods.get((s.labels.get("namespace", ""), s.labels.get("pod", "")), [])
            for i, place in enumerate(places):
                if place.node in split.nodes:
                    end = places[i + 1].since if i + 1 < len(places) else math.inf
                    grown = _between(s, place.since + young(gate, warm_up), end)
                    for new, part in split.parts(place.node, grown):
                        gathered.setdefault((place.workload, place.node, new), []).append(part)
    groups: dict[str, tuple[list[Line], list[Line]]] = {}
    for (group, node, new), own in sorted(gathered.items()):
        line = mean_of(node, own)
        if line.at:
            groups.setdefault(group, ([], []))[0 if new else 1].append(line)
    return {g: (tuple(new), tuple(old)) for g, (new, old) in groups.items()}


def young(gate: Gate, warm_up: float) -> float:
    """Seconds after its start in which this gate does not judge a pod."""
    return warm_up * (TREND if gate.kind == "trend" else 1.0)


def _name(series: Series, *, alone: bool) -> str:
    """What a series of a cluster-wide query is called: its labels, if any."""
    told = ",".join(f"{k}={v}" for k, v in sorted(series.labels.items()) if k != "__name__")
    return WHOLE if alone or not told else told


def _between(series: Series, start: float, end: float) -> Series:
    """From `start` on, and before `end`."""
    kept = [(t, v) for t, v in zip(series.at, series.values, strict=True) if start <= t < end]
    return Series(
        labels=series.labels, at=tuple(t for t, _ in kept), values=tuple(v for _, v in kept)
    )


def mean_of(subject: str, series: Sequence[Series]) -> Line:
    """The mean over several series at each instant at which at least one has a value."""
    if len(series) == 1:
        return Line(subject=subject, at=series[0].at, values=series[0].values)
    at: dict[float, list[float]] = {}
    for s in series:
        for t, v in zip(s.at, s.values, strict=True):
            at.setdefault(t, []).append(v)
    times = sorted(at)
    return Line(
        subject=subject, at=tuple(times), values=tuple(statistics.fmean(at[t]) for t in times)
    )


GROWTH = 2.0
"""A week's traffic is scaled at most by this: more is no growth but another situation."""


def grown(now_before: Sequence[Line], then_before: Sequence[Line]) -> float:
    """How much the level has grown since an earlier week, told from the hour before each: the
    trend of the day is taken out, and so is a busier season. 1.0 where it cannot be told."""
    now = [v for line in now_before for v in line.values]
    then = [v for line in then_before for v in line.values]
    if not now or not then:
        return 1.0
    a, b = statistics.fmean(now), statistics.fmean(then)
    if a <= 0 or b <= 0:
        return 1.0
    return min(max(a / b, 1 / GROWTH), GROWTH)


def week(number: int, line: Line, factor: float, moved: float) -> Line:
    """An earlier week's line as a control subject, scaled by `factor`, and moved by `moved`
    seconds onto the present time axis."""
    return Line(
        subject=f"{number} week{'s' if number > 1 else ''} ago",
        at=tuple(t + moved for t in line.at),
        values=tuple(v * factor for v in line.values),
    )


def pooled(subject: str, lines: Sequence[Line]) -> Line:
    return mean_of(subject, [Series(labels={}, at=line.at, values=line.values) for line in lines])


def within(line: Line, start: float, end: float) -> Line:
    """The points from `start` to `end`, both included."""
    a, b = bisect_left(line.at, start), bisect_right(line.at, end)
    return Line(subject=line.subject, at=line.at[a:b], values=line.values[a:b])
