"""The local lock: one pawl at a time may act on a cluster from one machine.

`flock` is let go by the kernel when its process ends, however it ends. So whoever gets it knows
that the previous holder on this machine is gone; the note in the file says who that was, and lets
the next pawl take over that one's Lease at once instead of waiting for it to expire.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

import msgspec

from pawl.core.errors import PawlError
from pawl.ports.lock import Locked, LockNote


class FileLock:
    """Held from `acquire` to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> LockNote:
        """Take the lock or raise `Locked`; returns the last holder's note."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PawlError(
                f"the lock file {self.path} cannot be opened: {error.strerror}. Give this user "
                "write access to its directory."
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note = _read(fd)
            os.close(fd)
            raise Locked(note) from None
        self._fd = fd
        return _read(fd)

    def note(self, note: LockNote) -> None:
        """Leave word of who holds the lock now."""
        data = msgspec.json.encode(note)
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, data, 0)
        except OSError as error:
            raise PawlError(
                f"the lock file {self.path} cannot be written: {error.strerror}."
            ) from error

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> LockNote:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _read(fd: int) -> LockNote:
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=LockNote)
    except (msgspec.DecodeError, OSError):
        return LockNote()
