"""etcd, as far as pawl changes or compares something. Reading status is the observer's."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A saved snapshot: where, its SHA-256, size in bytes, the revision it holds."""

    path: Path
    sha256: str
    size: int
    revision: int


class Hash(msgspec.Struct, frozen=True, kw_only=True):
    """HashKV of one member at a pinned revision; comparable only at equal `compact_revision`."""

    host: str
    hash: int
    revision: int
    compact_revision: int


class Etcd(Protocol):
    async def move_leader(self, leader_host: str, to_host: str, timeout: float) -> None:
        """Ask the leader's own endpoint (a follower refuses). Raises `Temporary` if refused."""
        ...

    async def snapshot(self, host: str, directory: Path) -> Snapshot:
        """Save a snapshot from this member, mode 0600."""
        ...

    async def hashes(self, revision: int = 0) -> tuple[Hash, ...]:
        """HashKV of every reachable member at `revision` (0: the lowest current one of all)."""
        ...

    async def downgrade(self, verb: str, minor: str = "") -> str:
        """`validate`, `enable` or `cancel`. Returns the server's answer; raises `StepFailed`."""
        ...
