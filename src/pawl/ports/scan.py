"""Reading what a scan looks at: all of a live cluster's evidence, as a stream of small facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from pawl.core.scan.facts import ScanFact

Take = Callable[[Iterable[ScanFact]], None]
"""Who receives facts, a batch at a time; each batch is dropped before the next is read."""


class ScanSource(Protocol):
    async def read(self, take: Take) -> None:
        """Hand over every fact. `Served` facts come before any that they explain.

        Reads only, never through a deprecated version, so that the scan does not show up in the
        signals that it reads. Never raises for a source that fails: that one is a `Missed`.
        """
        ...
