"""The `Hosts` port over SSH. Everything that changes a host runs behind the guard.

The guard is a static script, installed once per host under a name that holds its checksum, so an
older pawl and a newer one never run each other's. It keeps the epoch file and takes one lock, so
that the comparison of the epoch and the effect are one (see guard.sh).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import posixpath
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import anyio
import asyncssh

from pawl.adapters.hosts import flagcheck, flagsfile
from pawl.adapters.hosts.connection import Connections, Ran
from pawl.core.config import LayoutConfig, TimeoutConfig
from pawl.core.errors import Fenced, StepFailed, Temporary, Unreachable
from pawl.ports.hosts import StagedFile

GUARD = resources.files("pawl.adapters.hosts").joinpath("guard.sh").read_text()
RESTORES = "/var/tmp/pawl-restore-"
POLL_SECONDS = 0.1
PROBE_SECONDS = 60.0
"""For a binary that is asked about flags: 0.2 s on an idle core, with its file in memory."""
INSTALL = """\
set -eu
umask 077
mkdir -p -- "$(dirname -- "$1")"
cat >"$1.$$"
if [ "$(sha256sum <"$1.$$" | cut -d' ' -f1)" != "$2" ]; then
	rm -f -- "$1.$$"
	echo "it did not arrive as a whole" >&2
	exit 75
fi
sync -- "$1.$$" 2>/dev/null || sync
mv -f -- "$1.$$" "$1"
sync -- "$(dirname -- "$1")" 2>/dev/null || sync
"""
"""Half a guard would let everything pass: a shell that finds its script at an end says 0. So what
arrived is compared, and on disk before it has its name."""
_FIND_ETCDUTL = """\
for file in "$1"/current/etcdutl "$1"/*/etcdutl; do
	[ -x "$file" ] && echo "$file" && exit
done
"""
START_SECONDS = 60.0
"""Until a start that was ordered has its turn, where systemd and the disk are busy."""
_READ = '[ ! -e "$1" ] || cat -- "$1"'
KILLED = -1
"""`Ran.code` where `timeout` had to end the command: it takes the SIGKILL itself too."""
EXIT_SILENT, EXIT_AGAIN, EXIT_FENCED, EXIT_MISSING = 69, 75, 77, 78


class GuardMissing(StepFailed):
    """A tool that this verb needs is not installed on the host."""


class SocketSilent(Unreachable):
    """Nobody answers at a local socket of the host, though the host itself does."""


class SshHosts:
    """`Hosts` over SSH connections that the reader shares."""

    def __init__(
        self, connections: Connections, layout: LayoutConfig, timeouts: TimeoutConfig
    ) -> None:
        self._connections = connections
        self._layout = layout
        self._timeouts = timeouts
        self._digest = hashlib.sha256(GUARD.encode()).hexdigest()
        name = f"guard-{self._digest[:12]}"
        self._guard = posixpath.join(posixpath.dirname(layout.epoch), name)
        self._call_seconds = max(10.0, 2 * timeouts.read)

    # -- the guard ---------------------------------------------------------------------------

    async def guarded(
        self,
        host: str,
        epoch: int,
        verb: str,
        *args: str,
        stdin: str = "",
        timeout: float | None = None,
    ) -> str:
        """Run one verb of the guard and return its output.

        Raises `Fenced`, `Temporary` (somebody else's lock or edit), `StepFailed`, `Unreachable`.
        """
        deadline = timeout or self._call_seconds
        argv = self._argv(epoch, deadline, verb, *args)
        ran = await self._connections.run(host, argv, timeout=deadline, stdin=stdin)
        if ran.code in (2, 127) and self._guard in ran.err:  # the shell: no such file
            await self._install(host)
            ran = await self._connections.run(host, argv, timeout=deadline, stdin=stdin)
        return self._judge(host, verb, ran)

    def _argv(self, epoch: int, deadline: float, verb: str, *args: str) -> list[str]:
        waits = int(deadline / 2)
        script = [*self._connections.prefix, "/bin/sh", self._guard]
        return [*script, self._layout.epoch, str(epoch), str(waits), verb, *args]

    def _judge(self, host: str, verb: str, ran: Ran) -> str:
        why = ran.err.strip() or f"exit code {ran.code}"
        if ran.code == 0:
            return ran.out
        if ran.code == EXIT_FENCED:
            raise Fenced(
                f"{host} refuses {verb}: {why}; a newer operator owns this cluster, "
                "this one must stop"
            )
        if ran.code == EXIT_AGAIN:
            raise Temporary(f"{host} cannot {verb} yet: {why}", delay=1.0)
        if ran.code == EXIT_SILENT:
            raise SocketSilent(why)
        if ran.code == EXIT_MISSING:
            raise GuardMissing(f"{host} could not {verb}: {why}")
        raise StepFailed(f"{host} could not {verb}: {why}")

    async def _install(self, host: str) -> None:
        argv = [*self._connections.prefix, "/bin/sh", "-c", INSTALL, "sh"]
        argv += [self._guard, self._digest]
        ran = await self._connections.run(host, argv, timeout=self._call_seconds, stdin=GUARD)
        if ran.code != 0:
            raise StepFailed(
                f"pawl's guard could not be installed as {self._guard} on {host}: "
                f"{ran.err.strip()}; is the directory writable for the SSH user?"
            )

    # -- verbs -------------------------------------------------------------------------------

    async def claim(self, host: str, epoch: int) -> None:
        await self.guarded(host, epoch, "claim")

    async def stage(
        self, host: str, component: str, version: str, files: Sequence[StagedFile], epoch: int
    ) -> None:
        directory = posixpath.join(self._layout.root, component)
        final = posixpath.join(directory, version)
        sums = "".join(f"{f.sha256}  {f.name}\n" for f in files)
        await self.guarded(host, epoch, "sweep", posixpath.join(directory, ".pawl-"))
        if await self._holds(host, final, sums):
            return
        # By its epoch nobody else writes there, and a second try takes no more of the disk.
        upload = posixpath.join(directory, f".pawl-{version}-{epoch}")
        try:
            await self._upload(host, upload, files)
            await self.guarded(
                host, epoch, "commit", upload, final, stdin=sums, timeout=self._timeouts.stage
            )
        except (Unreachable, Fenced):
            raise
        except StepFailed:
            await self.guarded(host, epoch, "remove", upload)
            raise

    async def _holds(self, host: str, directory: str, sums: str) -> bool:
        """Whether the directory already holds exactly these contents (a resumed run)."""
        argv = ["/bin/sh", "-c", 'cd -- "$1" && sha256sum -c --strict --quiet', "sh", directory]
        ran = await self._connections.run(host, argv, timeout=self._timeouts.stage, stdin=sums)
        return ran.code == 0

    async def _upload(self, host: str, directory: str, files: Sequence[StagedFile]) -> None:
        async with self._connections.use(host, self._timeouts.stage) as connection:
            try:
                async with connection.start_sftp_client() as sftp:
                    await sftp.makedirs(directory, exist_ok=True)
                    for file in files:
                        await _put(sftp, file.path, posixpath.join(directory, file.name))
            except asyncssh.SFTPError as error:
                raise StepFailed(
                    f"the upload to {directory} on {host} failed: {error}; "
                    "is there space, and may the SSH user write there?"
                ) from error

    async def accepts_flags(
        self, host: str, component: str, version: str, flags: Sequence[str]
    ) -> tuple[str, ...]:
        binary = posixpath.join(self._layout.root, component, version, component)
        argv = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"]
        argv += ["timeout", "-s", "KILL", str(int(PROBE_SECONDS))]
        argv += [binary, *flags, *flagcheck.probe_of(component, flags).poison]
        ran = await self._connections.run(host, argv, timeout=PROBE_SECONDS + 5)
        if ran.code == KILLED:
            raise Unreachable(
                f"{component} {version} on {host} did not say within {PROBE_SECONDS:g} s whether "
                "it takes the flags in use"
            )
        if ran.code in (126, 127):
            return (f"{binary} cannot be run on {host}: {ran.err.strip()}",)
        return flagcheck.complaints(component, flags, ran.code, f"{ran.out}\n{ran.err}")

    async def listens(self, host: str, port: int) -> bool | None:
        argv = ["ss", "-Hltn", "sport", "=", f":{port}"]
        ran = await self._connections.run(host, argv, timeout=self._call_seconds)
        return bool(ran.out.strip()) if ran.code == 0 else None

    async def switch(self, host: str, component: str, version: str, epoch: int) -> None:
        directory = posixpath.join(self._layout.root, component)
        await self.guarded(host, epoch, "switch", directory, version)

    async def set_flags(self, host: str, component: str, flags: Sequence[str], epoch: int) -> None:
        path = self._layout.flags_file(component)
        text = await self.read_file(host, path)
        wanted = flagsfile.rewrite(text or "", self._layout.flags_variable, flags)
        if wanted == text:
            await self.claim(host, epoch)
            return
        await self.write_file(host, path, text, wanted, epoch)

    async def stop(self, host: str, unit: str, timeout: float, epoch: int) -> None:
        await self.guarded(host, epoch, "stop", unit)
        end = time.monotonic() + timeout
        while True:
            state = await self._active_state(host, unit)
            if state in ("inactive", "failed"):
                return
            if time.monotonic() >= end:
                raise Temporary(
                    f"{unit} on {host} is still {state} {timeout:g} s after SIGTERM; "
                    "pawl never sends SIGKILL, look at its log with journalctl",
                    delay=5.0,
                )
            await asyncio.sleep(POLL_SECONDS)

    async def start(self, host: str, unit: str, epoch: int) -> None:
        await self.guarded(host, epoch, "start", unit)
        ordered = time.monotonic()
        while True:
            # "activating" with the process forked is enough: a Type=notify unit stays so until
            # the component is ready, and a crash loop keeps going through it.
            state = await self._active_state(host, unit)
            if state in ("active", "activating"):
                return
            queued = state in ("inactive", "unknown")
            patience = max(self._call_seconds, START_SECONDS if queued else 0.0)
            if time.monotonic() >= ordered + patience:
                if state == "unknown":
                    raise Temporary(f"systemd on {host} does not say how {unit} is.", delay=2.0)
                raise StepFailed(
                    f"{unit} on {host} is {state} after its start was ordered; "
                    f"see `journalctl -u {unit}` there"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _active_state(self, host: str, unit: str) -> str:
        argv = ["systemctl", "show", "--value", "-p", "ActiveState", "--", unit]
        ran = await self._connections.run(host, argv, timeout=self._call_seconds)
        return ran.out.strip() or "unknown"

    async def restore_snapshot(
        self, host: str, snapshot: Path, expected_revision: int, epoch: int
    ) -> str:
        await self.guarded(host, epoch, "sweep", RESTORES)
        etcdutl = await self._etcdutl(host)
        made = await self._run(host, ["mktemp", "-d", f"{RESTORES}XXXXXXXX"])
        directory = made.strip()
        file = posixpath.join(directory, "snapshot.db")
        try:
            # Root's own directory, mode 0700: a snapshot holds every Secret of the cluster.
            async with (
                self._connections.use(host, self._timeouts.stage) as connection,
                connection.start_sftp_client() as sftp,
            ):
                await _put(sftp, snapshot, file)
            restored = posixpath.join(directory, "restored")
            await self._run(
                host, [etcdutl, "snapshot", "restore", file, "--data-dir", restored], long=True
            )
            database = posixpath.join(restored, "member", "snap", "db")
            said = await self._run(
                host, [etcdutl, "snapshot", "status", database, "-w", "json"], long=True
            )
        finally:
            with anyio.CancelScope(shield=True):  # also when pawl is told to stop at once
                await self.guarded(host, epoch, "remove", directory)
        status = json.loads(said)
        revision, keys = int(status["revision"]), int(status["totalKey"])
        if revision < expected_revision or keys == 0:
            raise StepFailed(
                f"the snapshot restored on {host} holds {keys} keys at revision {revision}, "
                f"but revision {expected_revision} was expected; take a new snapshot"
            )
        return f"restored on {host}: {keys} keys at revision {revision}"

    async def _etcdutl(self, host: str) -> str:
        """Of the release that runs; of another that lies ready where it has none, as before 3.5."""
        directory = posixpath.join(self._layout.root, "etcd")
        argv = ["/bin/sh", "-c", _FIND_ETCDUTL, "sh", directory]
        ran = await self._connections.run(host, argv, timeout=self._call_seconds)
        if not ran.out.strip():
            raise StepFailed(
                f"there is no etcdutl in {directory}/*/ on {host} to prove the snapshot with: lay "
                "one beside etcd there."
            )
        return ran.out.strip()

    async def _run(self, host: str, argv: Sequence[str], *, long: bool = False) -> str:
        timeout = self._timeouts.stage if long else self._call_seconds
        ran = await self._connections.run(host, [*self._connections.prefix, *argv], timeout=timeout)
        if ran.code != 0:
            raise StepFailed(f"{argv[0]} failed on {host}: {ran.err.strip() or ran.out.strip()}")
        return ran.out

    # -- files, for other adapters -----------------------------------------------------------

    async def read_file(self, host: str, path: str) -> str | None:
        """The file's text, None where there is none."""
        argv = [*self._connections.prefix, "/bin/sh", "-c", _READ, "sh", path]
        ran = await self._connections.run(host, argv, timeout=self._call_seconds)
        if ran.code != 0:
            raise StepFailed(f"{path} on {host} cannot be read: {ran.err.strip()}")
        if not ran.out:
            exists = await self._connections.run(
                host, ["test", "-e", path], timeout=self._call_seconds
            )
            return "" if exists.code == 0 else None
        return ran.out

    async def write_file(
        self, host: str, path: str, before: str | None, after: str, epoch: int
    ) -> None:
        """Replace the file atomically if it still holds `before`; else raises `Temporary`."""
        old = "absent" if before is None else hashlib.sha256(before.encode()).hexdigest()
        new = hashlib.sha256(after.encode()).hexdigest()
        await self.guarded(host, epoch, "write", path, old, new, stdin=after)


async def _put(sftp: asyncssh.SFTPClient, local: Path, remote: str) -> None:
    try:
        await sftp.put(str(local), remote)
    except OSError as error:
        if error.filename is None:
            raise  # the connection
        raise StepFailed(f"{local} on this machine cannot be read: {error.strerror}") from error
