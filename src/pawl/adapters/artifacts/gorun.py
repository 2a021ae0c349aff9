"""Runs the go command: output line by line, ended for good when pawl is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from pawl.ports.artifacts import ArtifactProgress, Report

STOP_WITHIN = 5.0
"""Seconds between SIGTERM and SIGKILL of an interrupted build."""
HEARTBEAT = 3.0
"""Seconds between signs of life while go is silent."""
ETA_FROM = 20
"""An ETA is given once a twentieth is done; what comes before is too small a sample."""
_LAST = 12
"""Lines of go's messages that an error quotes."""


class GoFailed(Exception):
    """`go` ended with an error; the message quotes its last lines."""


def _ignore(_: str) -> None:
    return


class Go:
    """The go command in one directory with one environment."""

    def __init__(self, program: str, directory: Path, environment: Mapping[str, str]) -> None:
        self._program = program
        self._directory = directory
        self._environment = dict(environment)

    async def run(
        self, *arguments: str, line: Callable[[str], None] = _ignore, may_fail: bool = False
    ) -> str:
        """Standard output of `go ARGUMENTS`; each line of standard error goes to `line`.

        The command leads a process group of its own: an interrupt ends its compilers as well.
        Raises GoFailed, except when `may_fail` and there is output to judge by.
        """
        process = await anyio.open_process(
            [self._program, *arguments],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        out: list[bytes] = []
        last: deque[str] = deque(maxlen=_LAST)
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            async with anyio.create_task_group() as group:
                group.start_soon(_collect, process.stdout, out)
                group.start_soon(_lines, process.stderr, line, last)
            code = await process.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _end(process)
            raise
        text = b"".join(out).decode(errors="replace")
        if code != 0 and not (may_fail and text):
            quoted = "; ".join(last) or f"exit status {code}"
            raise GoFailed(f"`go {' '.join(arguments[:2])}` said: {quoted}")
        return text


async def _collect(stream: ByteReceiveStream, into: list[bytes]) -> None:
    async for chunk in stream:
        into.append(chunk)


async def _lines(stream: ByteReceiveStream, line: Callable[[str], None], last: deque[str]) -> None:
    buffered = BufferedByteReceiveStream(stream)
    while True:
        try:
            raw = await buffered.receive_until(b"\n", 1 << 20)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound):
            if rest := buffered.buffer:
                last.append(rest.decode(errors="replace").strip())
            return
        text = raw.decode(errors="replace").strip()
        if text:
            last.append(text)
            line(text)


async def _end(process: Process) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sent)
        with anyio.move_on_after(STOP_WITHIN):
            await process.wait()
            return


class PackageCounter:
    """Turns go's lines into "612 of 1,934 packages, about 3 min left".

    `total` is the number of packages that are not in the build cache yet, as `go list` finds
    them stale; `go build -v` names each of those as its compilation starts.
    """

    def __init__(
        self, what: str, report: Report, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = 0
        self._what = what
        self._report = report
        self._clock = clock
        self._modules = 0
        self._compiled = 0
        self._linked: set[str] = set()
        self._started: float | None = None

    def downloading(self, line: str) -> None:
        if line.startswith("go: downloading "):
            self._modules += 1
            self._say(f"{self._what}: {self._modules} modules downloaded")

    def compiled(self, line: str) -> None:
        if line.startswith("go: downloading "):
            return self.downloading(line)
        if " " in line or line.startswith("#"):
            return None
        if self._started is None:
            self._started = self._clock()
        self._compiled = min(self._compiled + 1, self.total)
        elapsed = self._clock() - self._started
        known = self._compiled * ETA_FROM >= self.total > 0
        eta = elapsed * (self.total - self._compiled) / self._compiled if known else None
        self._say(f"{self._what}: {self._compiled:,} of {self.total:,} packages", eta)
        return None

    @asynccontextmanager
    async def watching(self, programs: Mapping[str, Path]) -> AsyncIterator[None]:
        """While inside, names each program as it appears, and shows that linking goes on:
        go says nothing for the minute or more that it links."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, programs)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
        self._appeared(programs)

    async def _watch(self, programs: Mapping[str, Path]) -> None:
        while True:
            await anyio.sleep(HEARTBEAT)
            self._appeared(programs)
            if self._compiled >= self.total:
                self._say(f"{self._what}: linking, {len(self._linked)} of {len(programs)} done")

    def _appeared(self, programs: Mapping[str, Path]) -> None:
        for name, path in programs.items():
            if name not in self._linked and path.is_file():
                self._linked.add(name)
                done = f"{len(self._linked)} of {len(programs)} programs"
                self._report(ArtifactProgress(text=f"built {name} ({done})"))

    def _say(self, text: str, eta: float | None = None) -> None:
        self._report(
            ArtifactProgress(
                text=text, done=self._compiled, total=self.total, eta=eta, passing=True
            )
        )
