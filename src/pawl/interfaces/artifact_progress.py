"""Shows a fetch on standard error: one living line on a terminal, sparse plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from pawl.ports.artifacts import ArtifactProgress

EVERY = 10.0
"""Seconds between two passing lines when standard error is no terminal (a CI log)."""


class ProgressLines:
    """A `Report`. News is printed and stays; passing lines replace one another."""

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._clock = clock
        self._said = -EVERY
        self._status: Status | None = None

    def __enter__(self) -> ProgressLines:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, progress: ArtifactProgress) -> None:
        text = escape(_line(progress))
        if not progress.passing:
            self._console.print(text)
        elif self._status is not None:
            self._status.update(text)
        elif (now := self._clock()) - self._said >= EVERY:
            self._said = now
            self._console.print(text)


def _line(progress: ArtifactProgress) -> str:
    if progress.eta is None:
        return progress.text
    seconds = round(progress.eta)
    left = f"{seconds} s" if seconds < 90 else f"{round(seconds / 60)} min"
    return f"{progress.text}, about {left} left"
