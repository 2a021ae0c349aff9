"""The `Observer` port: all sources at once, each with its own deadline.

A source that fails is named in `unread` and costs the others nothing. Nothing is remembered
between observations: what is told was read now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import msgspec

from pawl.adapters.etcd.reader import EtcdReader
from pawl.adapters.hosts.inventory import Inventory
from pawl.adapters.hosts.reader import HostReader
from pawl.adapters.kube.apiserver import own_url, read_api_server
from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.reader import KubeFacts, KubeReader
from pawl.adapters.observer.controllers import controllers_of, leaders_in
from pawl.core.config import Config, HostConfig
from pawl.core.errors import PawlError
from pawl.core.model import (
    ApiServer,
    BalancerMember,
    ClusterState,
    Host,
    Machine,
    Node,
    Unread,
)
from pawl.ports.balancer import Balancer
from pawl.ports.clock import Clock
from pawl.ports.observer import EVERYTHING, Part

T = TypeVar("T")
HOSTS_AT_ONCE = 64
"""Hosts that are asked together. An SSH handshake takes 5 ms of this machine's CPU, so those of a
thousand hosts at once would all be later than their deadline."""


class LiveObserver:
    """`Observer` over the adapters' readers."""

    def __init__(
        self,
        config: Config,
        *,
        inventory: Inventory,
        hosts: HostReader,
        etcd: EtcdReader,
        kube: KubeClient,
        balancer: Balancer | None,
        clock: Clock,
    ) -> None:
        self._config = config
        self._inventory = inventory
        self._hosts = hosts
        self._etcd = etcd
        self._client = kube
        self._kube = KubeReader(kube)
        self._balancer = balancer
        self._clock = clock
        self._asking = asyncio.Semaphore(HOSTS_AT_ONCE)

    async def observe(self, known: ClusterState | None = None) -> ClusterState:
        taken_at = self._clock.now()
        notes: list[Unread] = []
        machines = await self._machines(notes)
        inventory = self._inventory.all()
        before = {h.name: h for h in known.hosts} if known is not None else {}
        hosts, etcd, apis, kube, balancer = await asyncio.gather(
            self._read_hosts(inventory, notes, before),
            self._etcd.read(self._inventory.with_role("etcd")),
            self._api_servers(load=None, notes=notes),
            self._kube.read(inventory),
            self._balance(notes),
        )
        members, etcd_unread = etcd
        return ClusterState(
            cluster=self._config.cluster,
            taken_at=taken_at,
            hosts=hosts,
            members=members,
            api_servers=apis,
            controllers=controllers_of(hosts, kube.leases),
            nodes=_with_hosts(kube.nodes, hosts),
            balancer=balancer,
            machines=machines,
            budgets=kube.budgets,
            workloads=kube.workloads,
            webhooks=kube.webhooks,
            unread=(*notes, *etcd_unread, *kube.unread),
        )

    async def refresh(
        self, state: ClusterState, *hosts: str, parts: frozenset[Part] = EVERYTHING
    ) -> ClusterState:
        """The parts and the named hosts anew; what was unread before and is not read again stays
        unread."""
        taken_at = self._clock.now()
        notes: list[Unread] = []
        machines = await self._machines(notes) if "machines" in parts else state.machines
        known = self._inventory.all()
        names = {h.name for h in known}
        wanted = {*hosts, *(n.host for n in state.nodes if n.name in hosts)}
        again = [h for h in known if h.name in wanted or state.host(h.name) is None]
        drained = {b.host for b in state.balancer if b.admin != "ready"}
        kept = {h.name: h for h in state.hosts}
        read, etcd, apis, kube, balancer = await asyncio.gather(
            self._read_hosts(again, notes, kept),
            self._etcd.read(self._inventory.with_role("etcd"))
            if "etcd" in parts
            else _as_was((state.members, ())),
            self._api_servers(load=drained, notes=notes)
            if "api" in parts
            else _as_was(state.api_servers),
            self._kube.refresh(known, state) if "nodes" in parts else _as_was(None),
            self._balance(notes) if "balancer" in parts else _as_was(state.balancer),
        )
        fresh = {h.name: h for h in read}
        merged = tuple((fresh.get(h.name) or kept[h.name]) for h in known)
        members, etcd_unread = etcd
        nodes, leases, kube_unread = (
            (kube.nodes, kube.leases, kube.unread)
            if kube is not None
            else (state.nodes, leaders_in(state.controllers), ())
        )
        return msgspec.structs.replace(
            state,
            taken_at=taken_at,
            hosts=merged,
            members=members,
            api_servers=apis,
            controllers=controllers_of(merged, leases),
            nodes=_with_hosts(nodes, merged),
            balancer=balancer,
            machines=machines,
            unread=(
                *(u for u in state.unread if _still_unread(u, parts, names - fresh.keys())),
                *notes,
                *etcd_unread,
                *kube_unread,
            ),
        )

    async def _machines(self, notes: list[Unread]) -> tuple[Machine, ...]:
        return await self._part("machines", self._inventory.refresh(), (), notes)

    async def _balance(self, notes: list[Unread]) -> tuple[BalancerMember, ...]:
        if self._balancer is None:
            return ()
        return await self._part("load balancer", self._balancer.members(), (), notes)

    async def _read_hosts(
        self,
        hosts: Iterable[HostConfig],
        notes: list[Unread],
        known: Mapping[str, Host] = MappingProxyType({}),
    ) -> tuple[Host, ...]:
        """`known`: facts of an earlier reading, of which those that last are not read again."""

        async def one(host: HostConfig) -> Host:
            silent = Host(name=host.name, address=host.address, roles=host.roles, pool=host.pool)
            async with self._asking:  # its deadline begins with its turn
                read = self._hosts.read(host, known.get(host.name))
                return await self._part(f"host {host.name}", read, silent, notes)

        return tuple(await asyncio.gather(*(one(h) for h in hosts)))

    async def _api_servers(
        self, *, load: set[str] | None, notes: list[Unread]
    ) -> tuple[ApiServer, ...]:
        """`load`: hosts whose requests in flight are wanted; None: of all."""
        port = self._config.api.port

        async def one(host: HostConfig) -> ApiServer:
            wanted = load is None or host.name in load
            server, unread = await read_api_server(self._client, host, port, load=wanted)
            notes.extend(unread)
            return server

        return tuple(
            await asyncio.gather(*(one(h) for h in self._inventory.with_role("control-plane")))
        )

    async def _part(self, source: str, work: Awaitable[T], empty: T, notes: list[Unread]) -> T:
        try:
            async with asyncio.timeout(2 * self._config.policy.timeouts.read):
                return await work
        except PawlError as error:
            notes.append(Unread(source=source, why=str(error)))
        except TimeoutError:
            notes.append(Unread(source=source, why="no answer within its deadline"))
        return empty


async def _as_was(value: T) -> T:
    return value


_SOURCES: dict[str, Part] = {
    "machines": "machines",
    "etcd": "etcd",
    "kube-apiserver": "api",
    "load balancer": "balancer",
    "nodes": "nodes",
    "node leases": "nodes",
    "leases in kube-system": "nodes",
}
"""How the names of unread sources begin, and the part that they belong to. What stands under no
part (pods, budgets, workloads, webhooks) is read by `observe` alone."""


def _still_unread(unread: Unread, parts: frozenset[Part], not_read: Collection[str]) -> bool:
    """Whether what was unread before has not been read again by a refresh of `parts`."""
    if unread.source.startswith("host "):
        return unread.source.removeprefix("host ") in not_read
    for begin, part in _SOURCES.items():
        if unread.source.startswith(begin):
            return part not in parts
    return True


def api_urls(config: Config, inventory: Inventory) -> list[str]:
    """Every API server's own URL: where to turn when the balancer does not answer."""
    return [own_url(h, config.api.port) for h in inventory.with_role("control-plane")]


def _with_hosts(nodes: Sequence[Node], hosts: Sequence[Host]) -> tuple[Node, ...]:
    """Nodes completed by what only their host knows: kube-proxy reports no version to the API
    (Node.status.nodeInfo.kubeProxyVersion is empty since 1.33)."""
    proxies = {h.name: h.running.get("kube-proxy") for h in hosts}
    return tuple(
        msgspec.structs.replace(n, kube_proxy=proxies.get(n.host)) if n.host else n for n in nodes
    )


__all__ = ["KubeFacts", "LiveObserver", "api_urls"]
