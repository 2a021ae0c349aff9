"""Reading what hosts have in use, and asking a target's binary on this machine about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pawl.core.checks import FlagComplaint
from pawl.core.config import HostConfig
from pawl.core.inuse.facts import HostUse


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One host. `contents` holds the configuration files that are no secret, by path as the
    component names it, for who has to show them to a binary; they are never kept."""

    use: HostUse
    contents: dict[str, bytes] = {}


class InUse(Protocol):
    async def read(self, hosts: Sequence[HostConfig]) -> tuple[Reading, ...]:
        """All hosts at once, bounded. Reads only; what fails is named in `HostUse.unread`."""
        ...


class Oracle(Protocol):
    async def ask(
        self, readings: Sequence[Reading], component: str, version: str
    ) -> tuple[FlagComplaint, ...] | None:
        """What this release of a component says of the flags and files in use on these hosts.

        It is asked on this machine, never started, and reaches nobody. None when its binary is
        not at hand here. Raises Unreachable when it gives no answer.
        """
        ...
