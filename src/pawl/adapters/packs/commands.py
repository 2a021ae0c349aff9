"""Runs a check's command: no shell, its own process group, ended as a whole at its timeout."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from pawl.core.verify.pack import Ended

LAST = 4000
"""Characters of output that are kept."""
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


async def run(
    command: Sequence[str], directory: Path, env: Mapping[str, str], timeout: float
) -> Ended:
    """Never raises for what the command does; what cannot be started is told as trouble."""
    began = time.monotonic()
    program = command[0]
    if "/" in program and not program.startswith("/"):
        program = str(directory / program)
    try:
        process = await anyio.open_process(
            [program, *command[1:]],
            cwd=directory,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Ended(code=None, seconds=0.0, trouble=f"{command[0]} cannot be started: {error}")
    kept = bytearray()

    async def drain() -> None:
        assert process.stdout is not None
        with contextlib.suppress(anyio.ClosedResourceError, anyio.EndOfStream):
            async for chunk in process.stdout:
                kept.extend(chunk)
                del kept[:-LAST]

    trouble = ""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(drain)
            with anyio.move_on_after(timeout) as scope:
                await process.wait()
            if scope.cancelled_caught:
                trouble = f"it did not end within {timeout:g} s"
                await _end(process.pid, process)
            group.cancel_scope.deadline = anyio.current_time() + GRACE
    finally:
        if process.returncode is None:
            with anyio.CancelScope(shield=True):
                await _end(process.pid, process)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    return Ended(
        code=None if trouble else process.returncode,
        seconds=time.monotonic() - began,
        output=kept.decode(errors="replace").strip(),
        trouble=trouble,
    )


async def _end(pid: int, process: anyio.abc.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        with anyio.move_on_after(GRACE):
            await process.wait()
            return
