"""The lab as pawl's provider of machines (ports/machines.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.from_thread

from pawl.core.errors import Refused
from pawl.core.model import Machine
from pawl.lab.cluster import Lab
from pawl.lab.machine import LabMachine
from pawl.lab.spec import OF_THE_CLUSTER, MachineSpec
from pawl.ports.artifacts import Artifact, Artifacts
from pawl.ports.machines import Image


class LabMachines:
    """Machines of one lab. The lab's blocking work runs in threads."""

    def __init__(
        self, lab: str, artifacts: Artifacts, *, cache: Path, root: Path | None = None
    ) -> None:
        async def held(product: str, version: str) -> Artifact:
            return await artifacts.fetch(product, version)

        def fetch(product: str, version: str) -> Artifact:
            return anyio.from_thread.run(held, product, version)

        self._lab = Lab(lab, fetch=fetch, cache=cache, root=root)

    async def list(self) -> tuple[Machine, ...]:
        def read() -> tuple[Machine, ...]:
            names = [m.name for m in self._lab.dir.machines() if m.role in OF_THE_CLUSTER]
            return tuple(found for name in names if (found := self._unless_gone(name)))

        return await anyio.to_thread.run_sync(read)

    async def add(self, name: str, role: str, pool: str, image: Image) -> Machine:
        """Make a machine; one of that name with other versions is refused, not changed."""
        if role not in OF_THE_CLUSTER:
            raise Refused([f"the lab has no role {role!r}; it has {', '.join(OF_THE_CLUSTER)}"])

        def make() -> Machine:
            machine = self._lab.add(
                name,
                role,
                pool=pool,
                versions=image.versions,
                flags=image.flags,
                epoch=image.epoch,
            )
            self._compare(machine.dir.read(), role, image.versions)
            return self._fact(machine)

        return await anyio.to_thread.run_sync(make)

    async def replace(self, name: str, image: Image) -> Machine:
        def make() -> Machine:
            machine = self._lab.replace(
                name, versions=image.versions, flags=image.flags, epoch=image.epoch
            )
            return self._fact(machine)

        return await anyio.to_thread.run_sync(make)

    async def remove(self, name: str) -> None:
        await anyio.to_thread.run_sync(self._lab.remove, name)

    @staticmethod
    def _compare(spec: MachineSpec, role: str, versions: Mapping[str, str]) -> None:
        other = {k: v for k, v in versions.items() if spec.versions.get(k) != v}
        if spec.role != role or other:
            raise Refused(
                [
                    f"machine {spec.name} exists already as {spec.role} with {spec.versions}; "
                    f"asked for was {role} with {dict(versions)}. Remove or replace it first"
                ]
            )

    def _unless_gone(self, name: str) -> Machine | None:
        """None for a machine that was removed while the list was read."""
        try:
            return self._fact(self._lab.machine(name))
        except (Refused, FileNotFoundError):
            if self._lab.dir.machine(name).spec_file.exists():
                raise
            return None

    @staticmethod
    def _fact(machine: LabMachine) -> Machine:
        spec = machine.dir.read()
        return Machine(
            name=spec.name,
            address=machine.address(),
            roles=("control-plane", "etcd") if spec.stacked else (spec.role,),
            pool=spec.pool,
            identity=spec.identity,
            running=machine.running(),
            versions=spec.components,
        )
