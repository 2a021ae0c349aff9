"""The load balancer before the API servers."""

from __future__ import annotations

from typing import Protocol

from pawl.core.model import BalancerMember


class Balancer(Protocol):
    async def members(self) -> tuple[BalancerMember, ...]: ...

    async def drain(self, name: str, epoch: int) -> None:
        """No new connections; existing ones stay."""
        ...

    async def enable(self, name: str, epoch: int) -> None: ...

    async def add(self, name: str, address: str, epoch: int) -> None:
        """Add a checked server, in maintenance until `enable`; survives the balancer's restart."""
        ...

    async def remove(self, name: str, epoch: int) -> None: ...
