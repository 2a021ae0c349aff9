"""Reading what a scan looks at: all of a live cluster's evidence, as a stream of small facts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from pawl.core.scan.facts import ScanFact


class ScanSource(Protocol):
    def facts(self) -> AsyncIterator[tuple[ScanFact, ...]]:
        """Facts in batches, each dropped before the next is read, so that memory stays flat.

        `Served` facts come first. Reads only, never through a deprecated version, so that the scan
        does not show up in the signals that it reads. Never raises for a source that fails: that
        one is a `Missed` among the facts.
        """
        ...
