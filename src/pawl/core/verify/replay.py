"""Would the judge have cried wolf? Past windows in which nothing was upgraded, judged as if it had
been: some of the nodes are called new, in turn, and every fail is a false alarm.

A window counts as it would in a run: the judge looks at it again and again as it grows, and a fail
counts when the next look says it too. A rate of 0 in n windows bounds the true rate only to about
3 / n, so few windows prove little, and that is said.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from pawl.core.verify.gates import Gate
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Reading, sum_up
from pawl.core.verify.rules import Rule
from pawl.core.verify.series import WARM_UP, Line, Sides, within

SPAN = 1200.0
"""Seconds of one window: what a canary's soak takes with its warm-up."""
LOOK = 120.0
ENOUGH = 20
"""Windows from which a rate may be believed."""
STALE = 30 * 24 * 3600.0
"""After a month a proof is old: the workloads are others by then."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One past window. `outcome` is what a run would have met: "fail" is a false alarm."""

    start: float
    end: float
    called_new: tuple[str, ...]
    outcome: Literal["pass", "fail", "inconclusive"]
    why: str
    failed: tuple[Reading, ...] = ()
    comparisons: int = 0


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All windows. `gates` is the digest of what was judged by."""

    at: float
    gates: str
    windows: tuple[Window, ...]
    errors: tuple[str, ...] = ()

    @property
    def judged(self) -> int:
        return sum(w.outcome != "inconclusive" for w in self.windows)

    @property
    def alarms(self) -> int:
        return sum(w.outcome == "fail" for w in self.windows)

    @property
    def rate(self) -> float | None:
        """Share of judged windows with a false alarm; None when none could be judged."""
        return self.alarms / self.judged if self.judged else None

    @property
    def by_gate(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for w in self.windows:
            counts.update({r.gate for r in w.failed})
        return dict(counts.most_common())


def digest(gates: Sequence[Gate], rules: Sequence[Rule], more: object = None) -> str:
    """What a proof holds for: these gates and rules with these numbers, and no others."""
    data = msgspec.json.encode([list(gates), list(rules), more], order="sorted")
    return hashlib.sha256(data).hexdigest()


def unproven(history: History | None, gates: str, allowed: float, now: float) -> str:
    """Why these gates may not block yet, as a sentence; "" when they are proven."""
    how = "`pawl verify --history` replays them over the past"
    if history is None:
        return f"the gates have not been proven: {how}."
    if history.gates != gates:
        return f"the gates were changed since they were proven: {how}."
    if now - history.at > STALE:
        return f"the proof of the gates is {(now - history.at) / 86400:.0f} days old: {how}."
    if history.judged < ENOUGH:
        return (
            f"only {history.judged} past windows could be judged, {ENOUGH} are needed to believe "
            f"a rate: {how}."
        )
    if history.rate is not None and history.rate > allowed:
        return (
            f"the gates failed for nothing in {history.alarms} of {history.judged} past windows "
            f"({history.rate:.1%}; {allowed:.1%} are allowed): widen "
            f"{', '.join(history.by_gate)} in metrics.gates, then prove them again."
        )
    return ""


def windows(now: float, count: int, days: float) -> list[tuple[float, float]]:
    """(start, end) of `count` windows, spread evenly over the last `days`, at all times of day."""
    stretch = days * 24 * 3600.0 / max(count, 1)
    ends = [now - i * stretch for i in range(count)]
    return [(end - SPAN, end) for end in ends if stretch >= SPAN or end == now]


def called_new(nodes: Sequence[str], turn: int) -> tuple[str, ...]:
    """Which nodes are called new this time: half of them and a single canary, in turn."""
    ordered = sorted(nodes)
    if len(ordered) < 2:
        return ()
    shuffled = random.Random(f"pawl/{turn}").sample(ordered, len(ordered))
    return tuple(sorted(shuffled[: 1 if turn % 2 else len(ordered) // 2]))


def replay(
    sides: Sequence[Sides],
    rules: Sequence[Reading],
    start: float,
    end: float,
    new: tuple[str, ...],
    errors: Sequence[str] = (),
    *,
    warm_up: float = WARM_UP,
) -> Window:
    """Judge one window as a run would, look by look."""
    before: dict[str, Reading] = {}
    last = None
    for now in _looks(start + warm_up, end):
        readings = judge([_until(one, now) for one in sides])
        last = sum_up([*readings, *rules], at=now, since=start, errors=errors)
        failed = {r.key: r for r in last.failed}
        again = [r for key, r in failed.items() if key in before]
        if again:
            return Window(
                start=start,
                end=end,
                called_new=new,
                outcome="fail",
                why=again[0].why,
                failed=tuple(again),
                comparisons=len(sides),
            )
        before = failed
    outcome: Literal["pass", "inconclusive"] = "pass"
    if last is None or last.verdict == "inconclusive":
        outcome = "inconclusive"
    return Window(
        start=start,
        end=end,
        called_new=new,
        outcome=outcome,
        why=last.why if last else "",
        comparisons=len(sides),
    )


def _looks(start: float, end: float) -> Iterator[float]:
    now = start + LOOK
    while now < end:
        yield now
        now += LOOK
    yield end


def _until(sides: Sides, now: float) -> Sides:
    def cut(lines: tuple[Line, ...]) -> tuple[Line, ...]:
        made = (within(line, float("-inf"), now) for line in lines)
        return tuple(line for line in made if line.at)

    return msgspec.structs.replace(sides, treated=cut(sides.treated), control=cut(sides.control))
