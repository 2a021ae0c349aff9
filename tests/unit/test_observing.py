"""How many hosts are asked at once, and from when on each one's deadline counts."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack
from typing import Any

from pawl.adapters.hosts import Inventory
from pawl.adapters.observer import live
from pawl.adapters.observer.live import LiveObserver
from pawl.core.config import HostConfig
from pawl.core.model import ClusterState, Host
from pawl.interfaces.wiring import Session
from pawl.ports.observer import EVERYTHING
from pawl.testing.cluster import SimCluster
from pawl.testing.virtual import VirtualClock, run_virtual

HOSTS = [HostConfig(name=f"n-{i}", address=f"198.18.9.{i}", roles=("worker",)) for i in range(500)]


class Handshakes:
    """What is used of HostReader: the more are asked at once, the longer each of them takes."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def read(self, host: HostConfig, known: Host | None = None) -> Host:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.05 * self.now)
        self.now -= 1
        return Host(name=host.name, address=host.address, reachable=True)


def test_a_thousand_handshakes_are_not_all_late() -> None:
    reader = Handshakes()

    async def read() -> ClusterState:
        none: Any = None
        observer = LiveObserver(
            SimCluster().config,
            inventory=Inventory(HOSTS),
            hosts=reader,  # type: ignore[arg-type]
            etcd=none,
            kube=none,
            balancer=none,
            clock=VirtualClock(),
        )
        nothing = ClusterState(cluster="sim", taken_at=0.0)
        return await observer.refresh(nothing, parts=frozenset[Any]() & EVERYTHING)

    state = run_virtual(read())
    assert len(state.hosts) == len(HOSTS)
    assert state.complete
    assert reader.most == live.HOSTS_AT_ONCE


def test_a_connection_to_each_of_a_thousand_hosts_fits_into_the_open_files() -> None:
    async def connect() -> None:
        none: Any = None
        assert Session(SimCluster().config, none, AsyncExitStack())._connections

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        run_virtual(connect())
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
