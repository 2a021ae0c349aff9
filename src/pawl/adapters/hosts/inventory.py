"""Which hosts there are: those of pawl.yaml, and machines that a provider has made since.

A run that adds a machine must reach it at once, though pawl.yaml does not name it yet; so a name
is looked up in the file first and in the provider's list second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pawl.core.config import HostConfig, Role
from pawl.core.errors import Unreachable
from pawl.core.model import Machine
from pawl.ports.machines import Machines


class Inventory:
    """Names to addresses and roles. One instance is shared by all adapters of a session."""

    def __init__(self, hosts: Sequence[HostConfig], machines: Machines | None = None) -> None:
        self._file = {h.name: h for h in hosts}
        self._machines = machines
        self._made: dict[str, HostConfig] = {}
        self._gone: frozenset[str] = frozenset()

    async def refresh(self) -> tuple[Machine, ...]:
        """Ask the provider again; its machines complete the file, and take out what is gone.

        A host of the file counts as gone only when the provider lists machines of its roles and
        not this one: a provider that manages workers alone says nothing about the rest.
        """
        if self._machines is None:
            return ()
        listed = await self._machines.list()
        names = {m.name for m in listed}
        self._made = {m.name: _host(m) for m in listed if m.name not in self._file}
        managed = {tuple(m.roles) for m in listed}
        self._gone = frozenset(
            n for n, h in self._file.items() if n not in names and h.roles in managed
        )
        return listed

    def all(self) -> tuple[HostConfig, ...]:
        kept = [h for n, h in self._file.items() if n not in self._gone]
        return (*kept, *self._made.values())

    def with_role(self, role: Role) -> tuple[HostConfig, ...]:
        return tuple(h for h in self.all() if role in h.roles)

    async def find(self, name: str) -> HostConfig:
        """The host of that name; Unreachable with the way to mend it when nobody knows it."""
        known = self._file.get(name) or self._made.get(name)
        if known is None:
            await self.refresh()
            known = self._made.get(name)
        if known is None:
            raise Unreachable(
                f"host {name} is neither in pawl.yaml nor among the provider's machines; "
                "add it under `hosts`"
            )
        return known


def _host(machine: Machine) -> HostConfig:
    return HostConfig(
        name=machine.name,
        address=machine.address,
        roles=cast(tuple[Role, ...], machine.roles),
        pool=machine.pool,
    )
