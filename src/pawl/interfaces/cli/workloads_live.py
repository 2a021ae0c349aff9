"""The facts of `pawl workloads` from the live cluster: the API, and the nodes' connections."""

from __future__ import annotations

from pathlib import Path

from pawl.core.config import Config
from pawl.core.workloads.facts import Workloads
from pawl.interfaces import wiring


async def read(config: Path | None, connections: bool) -> tuple[Workloads, Config]:
    async with wiring.open_session(config) as session:
        return await session.see_workloads(connections=connections), session.config
