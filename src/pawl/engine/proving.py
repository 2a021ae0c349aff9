"""Replays the judge over past windows of the metrics' history, in which nothing was upgraded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pawl.core.errors import PawlError
from pawl.core.verify import replay
from pawl.core.verify.replay import History, Window
from pawl.engine.measuring import Measurer, Situation


async def prove(
    measurer: Measurer,
    *,
    digest: str,
    now: float,
    count: int,
    days: float,
    busy: Sequence[tuple[float, float]] = (),
    told: Callable[[Window], None] = lambda window: None,
) -> History:
    """The history of `count` windows over the last `days`. `busy` are (start, end) of real runs,
    which are left out: what was found then may have been true."""
    windows: list[Window] = []
    errors: list[str] = []
    for turn, (start, end) in enumerate(replay.windows(now, count, days)):
        if any(a < end and start < b for a, b in busy):
            continue
        try:
            nodes = sorted({p.node for p in await measurer.pods(start, end)})
        except PawlError as error:
            errors.append(str(error))
            continue
        new = replay.called_new(nodes, turn)
        measured = await measurer.measure(
            Situation(
                new=frozenset(new),
                old=frozenset(nodes) - frozenset(new),
                since=start - measurer.warm_up,
                begun=start - measurer.warm_up,
                now=end,
            )
        )
        errors += measured.errors
        window = replay.replay(
            measured.sides,
            measured.rules,
            start,
            end,
            new,
            measured.errors,
            warm_up=measurer.warm_up,
        )
        windows.append(window)
        told(window)
    return History(
        at=now, gates=digest, windows=tuple(windows), errors=tuple(dict.fromkeys(errors))
    )
