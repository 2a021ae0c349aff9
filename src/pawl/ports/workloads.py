"""Where the facts of the workloads come from, for whoever must know who depends on whom."""

from __future__ import annotations

from typing import Protocol

from pawl.core.workloads.facts import Workloads


class WorkloadReader(Protocol):
    async def read(self) -> Workloads:
        """Everything as it is now; what could not be read is named in it."""
        ...
