"""What pawl does on a host, as verbs of the field rather than shell commands.

Every verb that changes something carries the operator's `epoch`: the host keeps the highest epoch
that it has seen and refuses a lower one (`Fenced`), atomically with the change, so that a paused or
duplicated operator can do nothing more. All verbs are idempotent: repeated, they find their work
done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec


class StagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A local, verified file to be put on a host."""

    name: str
    path: Path
    sha256: str


class Hosts(Protocol):
    async def claim(self, host: str, epoch: int) -> None:
        """Make `epoch` the host's; raises `Fenced` if it has accepted a higher one."""
        ...

    async def stage(
        self, host: str, component: str, version: str, files: Sequence[StagedFile], epoch: int
    ) -> None:
        """Upload beside the running version, verify each checksum on the host, then rename in."""
        ...

    async def accepts_flags(
        self, host: str, component: str, version: str, flags: Sequence[str]
    ) -> tuple[str, ...]:
        """Ask the staged binary itself; returns its complaints, one sentence each (read only)."""
        ...

    async def listens(self, host: str, port: int) -> bool | None:
        """Whether any process on the host listens on the TCP port (read only); None where it cannot
        be told."""
        ...

    async def switch(self, host: str, component: str, version: str, epoch: int) -> None:
        """Point the component's `current` link at `version`, by one atomic rename."""
        ...

    async def set_flags(self, host: str, component: str, flags: Sequence[str], epoch: int) -> None:
        """Replace the component's flags file atomically, keeping owner and mode."""
        ...

    async def stop(self, host: str, unit: str, timeout: float, epoch: int) -> None:
        """SIGTERM by systemd and wait until inactive. Never SIGKILL; raises `Temporary` late."""
        ...

    async def start(self, host: str, unit: str, epoch: int) -> None:
        """Start and return when systemd has forked it; health is for the caller to observe."""
        ...

    async def restore_snapshot(
        self, host: str, snapshot: Path, expected_revision: int, epoch: int
    ) -> str:
        """Restore `snapshot` into a throw-away directory with the host's etcdutl, count keys,
        remove the directory. Returns a sentence with what was found. Raises `StepFailed`."""
        ...
