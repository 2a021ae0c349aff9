"""The whole prober: all lanes under one loop, from the first signal of life to the reading back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

from pawl import __version__
from pawl.core.config import Config
from pawl.core.errors import ConfigError
from pawl.core.evidence import Note, Started, Stopped
from pawl.probes import api, etcd, kubeconfig, services
from pawl.probes.apiclient import ApiClient, Pool
from pawl.probes.control import Control
from pawl.probes.etcdclient import Gateway
from pawl.probes.sink import Sink
from pawl.probes.transport import Ask


def read_config(path: Path) -> Config:
    """pawl.yaml as it stands; relative paths in it are relative to the file."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(str(path), [f"the prober cannot use it: {error}"]) from error


class Prober:
    def __init__(self, config: Config, base: Path, sink: Sink) -> None:
        self._config = config
        self._sink = sink
        self._run = f"{int(time.time())}-{secrets.token_hex(3)}"
        self._deadline = config.probes.deadline
        access = kubeconfig.load(base / config.api.kubeconfig, config.api.endpoint)
        self._pools = [Pool(access), Pool(access), Pool(access)]
        e = config.etcd
        self._etcd_context = kubeconfig.etcd_context(base / e.ca, base / e.cert, base / e.key)
        self._etcd_hosts = [(h.name, h.address) for h in config.with_role("etcd")]
        self._stop = asyncio.Event()
        self._why = "the longest allowed time has passed"

    def _gateways(self) -> list[Gateway]:
        port = self._config.etcd.client_port
        return [Gateway(address, port, self._etcd_context) for _, address in self._etcd_hosts]

    def _named(self) -> list[tuple[str, Gateway]]:
        names = [name for name, _ in self._etcd_hosts]
        return list(zip(names, self._gateways(), strict=True))

    def stop(self, why: str) -> None:
        self._why = why
        self._stop.set()

    async def run(self) -> None:
        """Until `stop` or `max_hours`; then read back, clean up and write the last line."""
        p = self._config.probes
        lanes = {
            "api new": p.api_per_second,
            "api reused": p.api_per_second,
            "etcd": p.etcd_writes_per_second,
        } | {f"service {s.name}": p.service_per_second for s in p.services}
        self._sink.write(
            Started(
                at=time.time(),
                cluster=self._config.cluster,
                pid=os.getpid(),
                version=__version__,
                lanes=lanes,
            )
        )
        self._sink.flush()
        new, kept, other = self._pools
        fresh = ApiClient(new, "api new", fresh=True, deadline=self._deadline)
        reused = ApiClient(kept, "api reused", fresh=False, deadline=self._deadline)
        helper = ApiClient(other, "api prober", fresh=False, deadline=self._deadline)
        await asyncio.gather(
            etcd.hashes(self._named(), self._sink, "before"), self._prepare(helper)
        )
        ledger = api.Ledger(self._sink)
        watch = api.Watch(kept, self._sink, ledger, helper)
        nodes = services.NodeList(helper)
        writers = etcd.Writers(
            self._run,
            self._gateways,
            self._sink,
            count=p.etcd_writers,
            per_second=p.etcd_writes_per_second,
            deadline=self._deadline,
        )
        watchers = [
            self._guard("watch", watch.run()),
            self._guard("watch ledger", watch.sweep()),
            self._guard("control", Control(self._sink).run()),
            self._guard("evidence", self._while_read()),
        ]
        lanes_running: list[asyncio.Task[None]] = []
        if any(s.node_port for s in p.services):
            watchers.append(self._guard("nodes", nodes.run()))
        for host, gateway in self._named():
            member = etcd.MemberWatch(host, gateway, self._sink)
            watchers.append(self._guard(f"member {host}", member.run()))
        try:
            await asyncio.wait_for(watch.ready.wait(), self._deadline)
        except TimeoutError:
            self._note("watch", "it could not be opened at the start; it is tried again")
        for name, client in (("new", fresh), ("reused", reused)):
            lane = api.ApiLane(f"api {name}", client, self._sink, ledger, p.api_per_second)
            lanes_running.append(self._guard(lane.name, lane.run()))
        lanes_running.append(self._guard("etcd", writers.run()))
        for s in p.services:
            service = services.ServiceLane(
                s, nodes, self._sink, per_second=p.service_per_second, deadline=self._deadline
            )
            lanes_running.append(self._guard(f"service {s.name}", service.run()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), p.max_hours * 3600)
        await self._end(lanes_running, watchers, ledger, writers, helper)

    async def _end(
        self,
        lanes: list[asyncio.Task[None]],
        watchers: list[asyncio.Task[None]],
        ledger: api.Ledger,
        writers: etcd.Writers,
        helper: ApiClient,
    ) -> None:
        await _cancel(lanes)
        await ledger.settle()
        await _cancel(watchers)
        members = self._named()
        await etcd.read_back(members, self._run, writers.acked, self._sink)
        await etcd.hashes(members, self._sink, "after")
        if why := await etcd.clean(members, self._run):
            self._note("etcd", f"the keys under /pawl-probe/{self._run}/ were not removed: {why}")
        removed = await api.remove_namespace(helper)
        if not removed.record.ok:
            self._note("api", f"namespace pawl-probe was not removed: {removed.record.error}")
        for pool in self._pools:
            pool.close()
        self._sink.write(Stopped(at=time.time(), why=self._why))
        self._sink.close()

    async def _while_read(self) -> None:
        """End when the evidence file is removed, as with a lab that is taken down: traffic that
        nobody will read about is only load."""
        while True:
            await asyncio.sleep(1.0)
            if self._sink.gone:
                return self.stop("its evidence file was removed")

    async def _prepare(self, helper: ApiClient) -> None:
        """The namespace (the one of an earlier prober may still be terminating) and one object."""
        for _ in range(30):
            made = await api.ensure_namespace(helper)
            if made.record.ok:
                ask = Ask("POST", api.CONFIGMAPS, api.config_map("kept", "kept"), api.JSON)
                kept = await helper.request("create", ask, (201, 409))
                if kept.record.ok:
                    return
            await asyncio.sleep(0.5)
        self._note("api", "the namespace pawl-probe could not be prepared; API lanes will fail")

    def _note(self, lane: str, text: str) -> None:
        self._sink.write(Note(at=time.time(), lane=lane, text=text))

    def _guard(self, lane: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A lane that breaks is noted and does not take the others with it."""

        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._note(lane, f"this lane ended by a fault of the prober: {error!r}")

        return asyncio.create_task(guarded())


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def main(config: Config, base: Path, out: Path, max_hours: float | None = None) -> None:
    """Until SIGTERM or SIGINT, which end with the reading back; paths are relative to `base`."""
    if max_hours is not None:
        probes = msgspec.structs.replace(config.probes, max_hours=max_hours)
        config = msgspec.structs.replace(config, probes=probes)
    sink = Sink(out)
    prober = Prober(config, base, sink)
    loop = asyncio.get_running_loop()
    for number, name in ((signal.SIGTERM, "stopped"), (signal.SIGINT, "interrupted")):
        loop.add_signal_handler(number, prober.stop, name)
    await prober.run()
