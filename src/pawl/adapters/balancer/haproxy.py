"""The `Balancer` port over HAProxy's runtime socket.

Reading goes straight to the socket through SSH. A change goes through the guard on the balancer's
host, which compares the epoch and sends the command under one lock; where socat is missing there,
the epoch is claimed first and the command follows, which is two steps instead of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import asyncssh

from pawl.adapters.balancer import configfile, runtime
from pawl.adapters.hosts.connection import Connections
from pawl.adapters.hosts.ssh import GuardMissing, SocketSilent, SshHosts
from pawl.core.config import HostConfig, LoadBalancerConfig
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.model import BalancerMember

DELETE_ATTEMPTS = 20
DELETE_WAIT_SECONDS = 0.25


class HaproxyBalancer:
    """`Balancer`. `port` is the API servers' port, `hosts` the current hosts of the cluster."""

    def __init__(
        self,
        config: LoadBalancerConfig,
        connections: Connections,
        guard: SshHosts,
        hosts: Callable[[], Sequence[HostConfig]],
        port: int,
        timeout: float,
    ) -> None:
        self._config = config
        self._connections = connections
        self._guard = guard
        self._hosts = hosts
        self._port = port
        self._timeout = timeout

    async def members(self) -> tuple[BalancerMember, ...]:
        text = await self._ask(runtime.read_commands(self._config.backend))
        return runtime.parse(text, self._config.backend, self._hosts())

    async def drain(self, name: str, epoch: int) -> None:
        await self._set(name, "drain", epoch)

    async def enable(self, name: str, epoch: int) -> None:
        # A server added at run time is not checked until it is told to be.
        await self._order(f"enable health {self._server(name)}", epoch)
        await self._set(name, "ready", epoch)

    async def add(self, name: str, address: str, epoch: int) -> None:
        if ":" not in address:
            address = f"{address}:{self._port}"
        text = await self._config_text()
        known = {m.name: m for m in await self.members()}
        if name in known and known[name].address != address:
            raise StepFailed(
                f"the balancer already has a server {name} at {known[name].address}, "
                f"not at {address}; remove it first"
            )
        if name not in known:
            words = " ".join(configfile.keywords(text, self._config.backend))
            said = await self._order(f"add server {self._server(name)} {address} {words}", epoch)
            if "registered" not in said:
                raise StepFailed(f"HAProxy does not add {name}: {said}")
        after = configfile.with_server(text, self._config.backend, name, address)
        await self._write(text, after, epoch)

    async def remove(self, name: str, epoch: int) -> None:
        if name in {m.name for m in await self.members()}:
            await self._set(name, "maint", epoch)
            await self._order(f"shutdown sessions server {self._server(name)}", epoch)
            for _ in range(DELETE_ATTEMPTS):
                said = await self._order(f"del server {self._server(name)}", epoch)
                if "deleted" in said or "No such server" in said:
                    break
                await asyncio.sleep(DELETE_WAIT_SECONDS)
            else:
                raise Temporary(f"HAProxy does not delete {name} yet: {said}", delay=2.0)
        text = await self._config_text()
        after = configfile.without_server(text, self._config.backend, name)
        await self._write(text, after, epoch)

    # -- the socket --------------------------------------------------------------------------

    def _server(self, name: str) -> str:
        return f"{configfile.checked(self._config.backend)}/{configfile.checked(name)}"

    async def _set(self, name: str, state: str, epoch: int) -> None:
        said = await self._order(f"set server {self._server(name)} state {state}", epoch)
        if said:
            raise StepFailed(f"HAProxy does not set {name} to {state}: {said}")

    async def _order(self, command: str, epoch: int) -> str:
        """Send one command that changes something; returns HAProxy's words, "" when content."""
        host = self._config.host
        try:
            said = await self._guard.guarded(
                host, epoch, "socket", self._config.socket, stdin=command + "\n"
            )
        except GuardMissing:
            await self._guard.claim(host, epoch)
            said = await self._ask(command)
        except SocketSilent as error:
            raise self._silent(str(error)) from error
        return said.strip()

    def _silent(self, why: str) -> Unreachable:
        return Unreachable(
            f"the load balancer's runtime socket {self._config.socket} on {self._config.host} does "
            f"not answer ({why}); is HAProxy running there?"
        )

    async def _ask(self, command: str) -> str:
        async with self._connections.use(self._config.host, self._timeout) as connection:
            try:
                reader, writer = await connection.open_unix_connection(
                    self._config.socket, encoding="utf-8"
                )
            except asyncssh.ChannelOpenError as error:
                raise self._silent(str(error)) from error
            try:
                writer.write(command + "\n")
                writer.write_eof()
                return str(await reader.read())
            finally:
                writer.close()

    # -- the file ----------------------------------------------------------------------------

    async def _config_text(self) -> str:
        text = await self._guard.read_file(self._config.host, self._config.config)
        if text is None:
            raise StepFailed(
                f"{self._config.config} does not exist on {self._config.host}; "
                "correct `load_balancer.config`"
            )
        return text

    async def _write(self, before: str, after: str, epoch: int) -> None:
        if after != before:
            await self._guard.write_file(
                self._config.host, self._config.config, before, after, epoch
            )
