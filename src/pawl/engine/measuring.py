"""From gates to facts: asks the metrics server and lays the answers out for the judge.

What cannot be read is an error and is named; it is never left out in silence. What lies in the
past and does not change is asked for once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
import msgspec

from pawl.core.config import MetricsConfig
from pawl.core.errors import PawlError
from pawl.core.verify.gates import LAG, WINDOW, Gate
from pawl.core.verify.hypothesis import LEAST, same_minutes
from pawl.core.verify.placement import placed
from pawl.core.verify.reading import Reading
from pawl.core.verify.rules import Rule, judge_rule
from pawl.core.verify.series import (
    WHOLE,
    Line,
    Placed,
    Series,
    Sides,
    Split,
    arrange,
    grown,
    mean_of,
    pooled,
    week,
    within,
    young,
)
from pawl.ports.metrics import Metrics

AT_ONCE = 4
"""Queries in flight: the server serves others too."""
HOUR = 3600.0
WEEK = 7 * 24 * HOUR
WEEKS = 3
COARSE = 4
"""The past is read at every fourth step: it is only compared with, not watched."""
ELDERS = 4
"""Old pods of a workload whose youth is looked up as the control of a trend."""
LATELY = 1.0
"""Seconds before the last moment within which a pod that was seen is there still."""
STARTS = (
    "max by (namespace, pod) (kube_pod_start_time) or "
    'max by (namespace, pod) (container_start_time_seconds{container!=""})'
)
SERVER_ALERTS = 'ALERTS{alertstate=~"pending|firing"}'


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be compared: nodes by name, and times in seconds since the epoch.

    `since`: from here on new nodes are judged. `begun`: before this nothing had been changed.
    `excused`: names and addresses of machines that are being worked on. `old` holds nodes too that
    have gone since; `turned`: when a new node became new, where that was in place. Without new
    nodes only limits and rules are judged, over all nodes.
    """

    new: frozenset[str]
    old: frozenset[str]
    since: float
    begun: float
    now: float
    excused: frozenset[str] = frozenset()
    turned: dict[str, float] = {}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge gets. `errors` are sentences about what could not be read."""

    sides: tuple[Sides, ...]
    rules: tuple[Reading, ...]
    errors: tuple[str, ...]


class Measurer:
    """Asks for one cluster's gates. `window` is the longest time looked back, in seconds."""

    def __init__(
        self,
        metrics: Metrics,
        config: MetricsConfig,
        gates: Sequence[Gate],
        rules: Sequence[Rule] = (),
        *,
        window: float = HOUR,
    ) -> None:
        self.gates = tuple(gates)
        self.rules = tuple(rules)
        self.metrics = metrics
        self._config = config
        self._window = window
        self._kept: dict[tuple[str, float, float, float], tuple[Series, ...]] = {}
        """The past that this measurement or the last one has asked for: what is compared moves on
        with the time, and what it has left behind is not asked for again."""
        self._before = self._kept
        self._busy = anyio.CapacityLimiter(AT_ONCE)

    @property
    def warm_up(self) -> float:
        """Seconds after its start in which a pod is not judged."""
        return self._config.warm_up

    async def measure(self, situation: Situation) -> Measured:
        self._before, self._kept = self._kept, {}
        now = situation.now
        since = self._whole(max(situation.since, now - self._window))
        begun = self._whole(min(situation.begun, since))
        situation = msgspec.structs.replace(situation, since=since, begun=begun)
        errors: list[str] = []
        pods: tuple[Placed, ...] = ()
        try:
            pods = await self.pods(begun - HOUR, now)
            if pods and all(p.until < math.inf for p in pods):
                ago = now - max(p.until for p in pods)
                errors.append(
                    "where pods run: the query `metrics.placement` "
                    f"({self._config.placement}) has given nothing for {ago:.0f} s"
                )
        except PawlError as error:
            errors.append(f"where pods run: {error}")
        sides: list[list[Sides]] = [[] for _ in self.gates]
        rules: list[Reading] = []

        async def one(index: int, gate: Gate) -> None:
            try:
                sides[index] = await self._sides(gate, situation, pods, errors)
            except PawlError as error:
                errors.append(f"gate {gate.name}: {error}")

        async def ruled() -> None:
            try:
                rules.extend(await self._judge_server_rules(situation))
            except PawlError as error:
                errors.append(f"the server's rules: {error}")

        async def rule_of(rule: Rule) -> None:
            try:
                rules.append(await self._judge_rule(rule, situation))
            except PawlError as error:
                errors.append(f"rule {rule.name} of {rule.source}: {error}")

        async with anyio.create_task_group() as group:
            for index, gate in enumerate(self.gates):
                group.start_soon(one, index, gate)
            for rule in self.rules:
                group.start_soon(rule_of, rule)
            if self._config.server_rules:
                group.start_soon(ruled)
        return Measured(
            sides=tuple(s for own in sides for s in own),
            rules=tuple(sorted(rules, key=lambda r: r.gate)),
            errors=tuple(dict.fromkeys(errors)),
        )

    # -- asking ------------------------------------------------------------------------------------

    def _whole(self, at: float) -> float:
        return at - at % self._config.step

    def _promql(self, gate: Gate) -> str:
        return gate.query.replace(WINDOW, f"{self._config.rate_window:g}s")

    async def _range(self, query: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        async with self._busy:
            return await self.metrics.range(query, start, end, step)

    async def _past(self, query: str, start: float, end: float) -> tuple[Series, ...]:
        """A stretch of the past that does not change any more; asked for once."""
        return await self._once(query, start, end, self._config.step * COARSE)

    async def _once(self, query: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        key = (query, start, end, step)
        if key in self._before:
            self._kept[key] = self._before[key]
        elif key not in self._kept:
            self._kept[key] = await self._range(query, start, end, step)
        return self._kept[key]

    async def pods(self, start: float, end: float) -> tuple[Placed, ...]:
        """Which pod ran where, at some time from `start` to `end`."""
        asked = self._config.placement
        seen = await self._range(asked, start, end, self._config.step * COARSE)
        async with self._busy:
            there = await self.metrics.query(asked, end)
            started = await self.metrics.query(STARTS, end)
        starts = {
            (s.labels.get("namespace", ""), s.labels.get("pod", "")): s.values[-1] for s in started
        }
        return placed((*seen, *there), starts, first=start, lately=end - LATELY)

    # -- gates -------------------------------------------------------------------------------------

    async def _sides(
        self,
        gate: Gate,
        situation: Situation,
        pods: tuple[Placed, ...],
        errors: list[str],
    ) -> list[Sides]:
        everything = frozenset(p.node for p in pods) | situation.new | situation.old
        comparing = bool(situation.new)
        if not comparing and gate.kind != "limit" and gate.by != "cluster":
            return []
        split = (
            Split(new=situation.new, old=situation.old, placed=pods, turned=situation.turned)
            if comparing
            else Split(new=everything, old=frozenset(), placed=pods)
        )
        query = self._promql(gate)
        now = await self._range(query, situation.since, situation.now, self._config.step)
        past = await self._past(query, situation.begun - HOUR, situation.begun - self._config.step)
        if gate.by == "pod" and now and not pods:
            errors.append(
                f"gate {gate.name}: which pod runs where is not known, because the query "
                f"`metrics.placement` ({self._config.placement}) gives nothing"
            )
            return []
        groups = self._arranged(gate, now, split)
        anywhere = Split(new=everything, old=frozenset(), placed=pods)
        before = {g: lines for g, (lines, _) in self._arranged(gate, past, anywhere).items()}
        if not groups and not before:
            return [Sides(gate=gate, group=WHOLE)]
        # A member on a new machine is another instance: what is asked of the whole cluster is
        # missing only when all of it is.
        lost = before if gate.by == "pod" or not groups else {}
        made = []
        for group in dict.fromkeys((*groups, *lost)):
            treated, control = groups.get(group, ((), ()))
            if not treated and not self._overdue(gate, group, bool(control), situation, pods):
                continue
            own = Sides(
                gate=gate,
                group=group,
                treated=treated,
                control=control,
                against="old nodes" if control else "none",
                before=before.get(group, ()),
            )
            if gate.kind == "trend" and treated:
                own = await self._same_age(own, query, situation, pods)
            elif gate.kind == "compare" and treated and not _met(own):
                own = await self._earlier_weeks(own, query, situation)
            made.append(own)
        return made

    def _arranged(
        self, gate: Gate, series: Sequence[Series], split: Split
    ) -> dict[str, tuple[tuple[Line, ...], tuple[Line, ...]]]:
        config = self._config
        return arrange(gate, series, split, node_label=config.node_label, warm_up=config.warm_up)

    def _overdue(
        self,
        gate: Gate,
        group: str,
        on_old: bool,
        situation: Situation,
        pods: Sequence[Placed],
    ) -> bool:
        """Whether what is not measured on new nodes (`on_old`: but is on old ones) should have been
        by now. A workload without pods there, or with young ones only, has simply not moved yet;
        one that runs nowhere cannot be measured."""
        late = situation.now - LAG * self._config.step - self._config.rate_window
        if gate.by != "pod":
            return situation.since <= late
        grown = late - young(gate, self.warm_up)
        where = situation.new if on_old else situation.new | situation.old
        return any(
            p.workload == group and p.node in where and p.until == math.inf and p.since <= grown
            for p in pods
        )

    # -- controls out of the past ------------------------------------------------------------------

    async def _earlier_weeks(self, sides: Sides, query: str, situation: Situation) -> Sides:
        """The same hour of up to three earlier weeks, scaled by how the level has grown since."""
        gate, group = sides.gate, sides.group
        length = situation.now - situation.since
        control = []
        for number in range(1, WEEKS + 1):
            start = situation.since - number * WEEK
            series = await self._past(query, start - HOUR, start + self._window)
            lines = await self._then(gate, group, series, start - HOUR, start + self._window)
            hour = [within(line, start - HOUR, start) for line in lines]
            factor = grown(sides.before, hour)
            window = within(pooled(group, lines), start, start + length)
            if window.at:
                control.append(week(number, window, factor, number * WEEK))
        if not control:
            return sides
        return msgspec.structs.replace(sides, control=tuple(control), against="earlier weeks")

    async def _then(
        self, gate: Gate, group: str, series: Sequence[Series], start: float, end: float
    ) -> list[Line]:
        """A group's lines at an earlier time; pods had other names then."""
        pods: tuple[Placed, ...] = ()
        if gate.by == "pod" and series:
            seen = await self._past(self._config.placement, start, end)
            pods = placed(seen, {}, first=start, lately=end)
        nodes = frozenset(p.node for p in pods)
        if gate.by == "node":
            nodes = frozenset(s.labels.get(self._config.node_label, "") for s in series)
        split = Split(new=nodes, old=frozenset(), placed=pods)
        groups = self._arranged(gate, series, split)
        return list(groups.get(group, ((), ()))[0])

    async def _same_age(
        self, sides: Sides, query: str, situation: Situation, pods: Sequence[Placed]
    ) -> Sides:
        """The workload's pods on old nodes when they were as young as those on new ones are. Pods
        that are older than the change itself are compared with their neighbours as they are."""
        if sides.gate.by != "pod":
            return sides
        mine = [p for p in pods if p.workload == sides.group]
        young = [
            p.since for p in mine if p.node in situation.new and p.since >= situation.begun - HOUR
        ]
        if not young:
            return sides
        birth = max(min(young), situation.since - self.warm_up)
        elders = sorted(
            (p for p in mine if p.node in situation.old and p.since > 0), key=lambda p: -p.since
        )[:ELDERS]
        control = []
        for elder in elders:
            start = self._whole(elder.since)
            if start + self._window > situation.now:
                series = await self._range(
                    query, start, min(start + self._window, situation.now), self._config.step
                )
            else:
                series = await self._once(query, start, start + self._window, self._config.step)
            own = [
                s
                for s in series
                if s.labels.get("namespace") == elder.namespace and s.labels.get("pod") == elder.pod
            ]
            if own:
                line = mean_of(f"{elder.node} then", own)
                moved = birth - elder.since
                control.append(
                    Line(
                        subject=line.subject,
                        at=tuple(t + moved for t in line.at),
                        values=line.values,
                    )
                )
        if not control:
            return sides
        return msgspec.structs.replace(sides, control=tuple(control), against="same age")

    # -- rules -------------------------------------------------------------------------------------

    async def _judge_rule(self, rule: Rule, situation: Situation) -> Reading:
        step = self._config.step
        now = await self._range(rule.expr, situation.since, situation.now, step)
        past: tuple[Series, ...] = ()
        if now:
            past = await self._range(
                rule.expr, situation.begun - HOUR, situation.begun - step, step
            )
        return judge_rule(
            rule, now, past, step=step, excused=situation.excused, warm_up=self.warm_up
        )

    async def _judge_server_rules(self, situation: Situation) -> list[Reading]:
        """Everything pending or firing, by alert; an alert is pending as soon as it is true."""
        step = self._config.step
        now = await self._range(SERVER_ALERTS, situation.since, situation.now, step)
        past: tuple[Series, ...] = ()
        if now:
            past = await self._range(
                SERVER_ALERTS, situation.begun - HOUR, situation.begun - step, step
            )
        readings = []
        for name in sorted({s.labels.get("alertname", "") for s in now}):
            if name in self._config.expected:
                continue
            own = [_one_state(s) for s in now if s.labels.get("alertname") == name]
            rule = Rule(
                name=name,
                expr=name,
                labels={"severity": own[0].labels.get("severity", "")},
                source="server",
            )
            readings.append(
                judge_rule(
                    rule,
                    _merged(own),
                    _merged([_one_state(s) for s in past if s.labels.get("alertname") == name]),
                    step=step,
                    excused=situation.excused,
                    warm_up=self.warm_up,
                )
            )
        return readings


def _met(sides: Sides) -> bool:
    """Whether old nodes were measured in the same minutes, for long enough."""
    return sum(len(line.at) for line in same_minutes(sides).control) >= LEAST


def _one_state(series: Series) -> Series:
    """Without its state: an alert that goes from pending to firing is one alert."""
    labels = {k: v for k, v in series.labels.items() if k not in ("alertstate", "__name__")}
    return Series(labels=labels, at=series.at, values=series.values)


def _merged(series: Sequence[Series]) -> list[Series]:
    by_labels: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for s in series:
        by_labels.setdefault(tuple(sorted(s.labels.items())), []).append(s)
    merged = []
    for own in by_labels.values():
        line = mean_of("", own)
        merged.append(Series(labels=own[0].labels, at=line.at, values=line.values))
    return merged
