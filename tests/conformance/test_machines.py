"""The `Machines` port: what pawl relies on, asked of each provider in the same words.

A new provider adds its harness. The lab's own is used by whole runs in tests/lab.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from pawl.core.model import Machine
from pawl.ports.machines import Image, Machines
from pawl.testing.cluster import SimCluster
from pawl.testing.virtual import run_virtual

OLD, NEW = "3.5.33", "3.6.14"
WORKER = Image(versions={"kubernetes": "1.37.0"}, epoch=7)
Test = Callable[[Machines], Awaitable[None]]


def simulated(test: Test) -> None:
    """A provider with machines in all roles, of which etcd-1 is at OLD and off duty."""

    async def run() -> None:
        cluster = SimCluster(etcd_version=OLD)
        session = cluster.session("me")
        cluster.world.stop(cluster.world.hosts["etcd-1"], "etcd")
        assert session.machines is not None
        await test(session.machines)
        assert cluster.world.violations == []

    run_virtual(run())


HARNESSES = {"simulated": simulated}


@pytest.fixture(params=HARNESSES)
def provided(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    return HARNESSES[request.param]


async def named(machines: Machines, name: str) -> list[Machine]:
    return [m for m in await machines.list() if m.name == name]


def test_a_machine_is_there_when_add_returns(provided: Callable[[Test], None]) -> None:
    async def test(machines: Machines) -> None:
        made = await machines.add("worker-9", "worker", "default", WORKER)
        assert (made.name, made.pool, made.roles) == ("worker-9", "default", ("worker",))
        assert made.running
        assert made.address
        assert made.versions["kubelet"] == "1.37.0"
        assert await named(machines, "worker-9") == [made]

    provided(test)


def test_adding_it_again_makes_no_second_one(provided: Callable[[Test], None]) -> None:
    """As after a crash, when nobody knows any more whether it was made."""

    async def test(machines: Machines) -> None:
        made = await machines.add("worker-9", "worker", "default", WORKER)
        assert await machines.add("worker-9", "worker", "default", WORKER) == made
        assert len(await named(machines, "worker-9")) == 1

    provided(test)


def test_a_replaced_machine_keeps_its_name_and_address(provided: Callable[[Test], None]) -> None:
    async def test(machines: Machines) -> None:
        (before,) = await named(machines, "etcd-1")
        made = await machines.replace("etcd-1", Image(versions={"etcd": NEW}, epoch=7))
        assert (made.name, made.address, made.roles) == (before.name, before.address, before.roles)
        assert made.identity != before.identity
        assert made.versions["etcd"] == NEW

    provided(test)


def test_a_removed_machine_is_not_listed_and_may_be_removed_again(
    provided: Callable[[Test], None],
) -> None:
    async def test(machines: Machines) -> None:
        await machines.remove("worker-1")
        assert await named(machines, "worker-1") == []
        await machines.remove("worker-1")
        assert await named(machines, "worker-2")

    provided(test)
