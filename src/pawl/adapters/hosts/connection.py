"""One kept SSH connection for each host.

Host keys are always verified: the known_hosts file is read anew for each connection, since a
rebuilt machine comes with a new key that its provider has written there. A connection that
missed a deadline serves nobody anew, for behind a silent peer it cannot be told from a dead one.
Who uses it already keeps it: a question that was late must not break off an upload beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncssh
import msgspec

from pawl.adapters.hosts.inventory import Inventory
from pawl.core.config import SshConfig
from pawl.core.errors import Unreachable

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 3.0
# AES-GCM has hardware help on every server CPU; asyncssh would prefer ChaCha20, which has none.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A finished command. `code` is its exit status, -1 when a signal ended it."""

    code: int
    out: str
    err: str


class Connections:
    """Opens, keeps and replaces connections. Use `aclose` when done."""

    def __init__(self, ssh: SshConfig, inventory: Inventory) -> None:
        self._ssh = ssh
        self._inventory = inventory
        self._open: dict[str, asyncssh.SSHClientConnection] = {}
        self._users: Counter[asyncssh.SSHClientConnection] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def prefix(self) -> tuple[str, ...]:
        """What must stand before a command that changes the host."""
        return () if self._ssh.user == "root" else ("sudo", "-n", "--")

    @asynccontextmanager
    async def use(self, name: str, timeout: float) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """The host's connection, within `timeout` seconds; any failure raises `Unreachable`."""
        connection: asyncssh.SSHClientConnection | None = None
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connection(name)
                with self._used(name, connection):
                    yield connection
        except TimeoutError:
            self._drop(name, connection)
            raise Unreachable(
                f"host {name} did not answer over SSH within {timeout:g} s; "
                "what it did meanwhile is unknown"
            ) from None
        except (asyncssh.ConnectionLost, asyncssh.ChannelOpenError, BrokenPipeError) as error:
            self._drop(name, connection)
            raise Unreachable(f"the SSH connection to {name} broke: {error}") from error
        except asyncssh.HostKeyNotVerifiable as error:
            raise Unreachable(
                f"the host key of {name} is not the one in {self._ssh.known_hosts}: {error}; "
                "if the machine was rebuilt, put its new key there, otherwise look who answers"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise Unreachable(
                f"{name} refused {self._ssh.user} with the key {self._ssh.key}: {error}; "
                "add the public key to its authorized_keys"
            ) from error
        except (OSError, asyncssh.Error) as error:
            self._drop(name, connection)
            raise Unreachable(f"host {name} cannot be reached over SSH: {error}") from error

    async def run(
        self, name: str, argv: Sequence[str], *, timeout: float, stdin: str | bytes = ""
    ) -> Ran:
        """Run a command by its argument list; `timeout` covers connecting too."""
        async with self.use(name, timeout) as connection:
            process = await connection.create_process(shlex.join(argv), encoding=None)
            with contextlib.suppress(BrokenPipeError):  # it may end without reading all
                process.stdin.write(stdin.encode() if isinstance(stdin, str) else stdin)
                process.stdin.write_eof()
            done = await process.wait()
            if done.exit_status is None:
                # Neither a status nor a signal: the channel was closed under the command.
                self._drop(name, connection)
                raise Unreachable(
                    f"the SSH connection to {name} broke before the command had ended; what it "
                    "did is unknown"
                )
            return Ran(code=done.exit_status, out=_text(done.stdout), err=_text(done.stderr))

    async def run_timed(
        self,
        name: str,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: str,
        clock: Callable[[], float],
    ) -> tuple[Ran, float, float]:
        """As `run`, with the local times before sending and at the first byte of the answer."""
        async with self.use(name, timeout) as connection:
            before = clock()
            process = await connection.create_process(
                shlex.join(argv), encoding="utf-8", errors="replace"
            )
            process.stdin.write(stdin)
            process.stdin.write_eof()
            first = await process.stdout.readline()
            answered = clock()
            rest = await process.stdout.read()
            err = await process.stderr.read()
            await process.wait_closed()
            code = process.exit_status
            ran = Ran(code=code if code is not None else -1, out=str(first) + rest, err=err)
            return ran, before, answered

    async def _connection(self, name: str) -> asyncssh.SSHClientConnection:
        async with self._locks.setdefault(name, asyncio.Lock()):
            kept = self._open.get(name)
            if kept is not None and not kept.is_closed():
                return kept
            host = await self._inventory.find(name)
            connection = await self._connect(host.address)
            self._open[name] = connection
            return connection

    async def _connect(self, address: str) -> asyncssh.SSHClientConnection:
        try:
            return await asyncssh.connect(
                address,
                self._ssh.port,
                username=self._ssh.user,
                client_keys=[self._ssh.key],
                known_hosts=str(Path(self._ssh.known_hosts)),
                agent_path=None,
                config=None,
                compression_algs=None,
                encryption_algs=list(CIPHERS),
                connect_timeout=CONNECT_SECONDS,
                login_timeout=CONNECT_SECONDS,
                keepalive_interval=KEEPALIVE_SECONDS,
                keepalive_count_max=2,
            )
        except ValueError as error:  # a file that was good when pawl.yaml was read
            raise Unreachable(
                f"{self._ssh.key} or {self._ssh.known_hosts} cannot be used for SSH: {error}"
            ) from error

    @contextmanager
    def _used(self, name: str, connection: asyncssh.SSHClientConnection) -> Iterator[None]:
        self._users[connection] += 1
        try:
            yield
        finally:
            self._users[connection] -= 1
            if not self._users[connection]:
                del self._users[connection]
                if self._open.get(name) is not connection:
                    connection.abort()

    def _drop(self, name: str, connection: asyncssh.SSHClientConnection | None) -> None:
        """Nobody takes it any more; the last who uses it ends it. Another one that was opened in
        its place stays."""
        if connection is None:
            return
        if self._open.get(name) is connection:
            del self._open[name]
        if connection not in self._users:
            connection.abort()

    async def aclose(self) -> None:
        for connection in self._open.values():
            connection.close()
        await asyncio.gather(
            *(c.wait_closed() for c in self._open.values()), return_exceptions=True
        )
        self._open.clear()


def _text(data: object) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data or "")
