"""Start, find and end the prober as a process that nobody's death takes along.

One prober for each state directory: `start` adopts one that is running already (a resumed run finds
the prober of the killed one still measuring). A process is known by pid *and* start time, so a
reused pid is never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pawl.core.errors import PawlError

PID_FILE = "prober.json"
LOG_FILE = "prober.log"
START_SECONDS = 40.0
"""To wait for its first second of measurement; imports alone take 1 s on a busy machine."""
STOP_SECONDS = 120.0
"""To wait for the reading back: about 1 s for each 100,000 writes and member."""


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """A prober. `started` is the kernel's start time of the process, in clock ticks since boot."""

    pid: int
    started: int
    file: str

    @property
    def path(self) -> Path:
        return Path(self.file)


def directory(state: Path) -> Path:
    """Where evidence of a cluster lies, below its state directory."""
    return state / "probes"


def running(out_dir: Path) -> Handle | None:
    """The prober that measures into `out_dir` now."""
    try:
        handle = msgspec.json.decode((out_dir / PID_FILE).read_bytes(), type=Handle)
    except (OSError, msgspec.DecodeError):
        return None
    return handle if _alive(handle) else None


def start(config: Path, out_dir: Path, max_hours: float | None = None) -> Handle:
    """Start a prober, or adopt the one that runs; returns when it has measured its first second.

    Blocking (seconds): from async code call it in a thread. Raises PawlError with the prober's own
    words when it does not come up; nothing is left running then.
    """
    if adopted := running(out_dir):
        return adopted
    out_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = next(
        p
        for n in range(1000)
        if not (p := out_dir / f"probe-{stamp}{f'-{n}' if n else ''}.ndjson").exists()
    )
    argv = [sys.executable, "-m", "pawl.probes", str(config.resolve()), "--out", str(path)]
    if max_hours is not None:
        argv += ["--max-hours", str(max_hours)]
    log = os.open(out_dir / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    finally:
        os.close(log)
    handle = Handle(pid=process.pid, started=_started(process.pid) or 0, file=str(path))
    _save(out_dir / PID_FILE, handle)
    end = time.monotonic() + START_SECONDS
    while not _measuring(path):
        if process.poll() is not None or time.monotonic() > end:
            if process.poll() is None:
                process.kill()
                process.wait()
            (out_dir / PID_FILE).unlink(missing_ok=True)
            said = (out_dir / LOG_FILE).read_text().strip()[-2000:]
            raise PawlError(
                f"the prober did not start measuring within {START_SECONDS:g} s: "
                + (said or f"it said nothing; see {out_dir / LOG_FILE}")
            )
        time.sleep(0.1)
    return handle


def stop(handle: Handle, timeout: float = STOP_SECONDS) -> bool:
    """SIGTERM, then wait for the reading back. False if it had to be left (it ends by itself)."""
    if _alive(handle):
        os.kill(handle.pid, signal.SIGTERM)
    end = time.monotonic() + timeout
    while _alive(handle):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    _reap(handle.pid)
    (handle.path.parent / PID_FILE).unlink(missing_ok=True)
    return True


def _alive(handle: Handle) -> bool:
    _reap(handle.pid)
    return _started(handle.pid) == handle.started != 0


def _reap(pid: int) -> None:
    """Collect it if it was our child; a zombie would look alive for ever."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _measuring(path: Path) -> bool:
    try:
        return b'\n["t"' in path.read_bytes()
    except OSError:
        return False


def _save(path: Path, handle: Handle) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(handle))
    part.replace(path)
