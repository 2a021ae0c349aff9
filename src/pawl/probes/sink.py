"""Where records go: an append-only file, flushed and synced once a second, never read back here.

The file is 0600: it names hosts and object names, though no secret. It is bounded: past `limit`
bytes further requests are not written, and a note says so, because a full disk on the operator's
machine must not become the upgrade's problem.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from pawl.core.evidence import AnyRecord, Note

DEFAULT_LIMIT = 4 << 30


class Sink:
    """Buffers lines in memory; `flush` is called once a second from the prober's own loop."""

    def __init__(self, path: Path, limit: int = DEFAULT_LIMIT) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._encoder = msgspec.json.Encoder(decimal_format="number")
        self._buffer = bytearray()
        self._left = limit
        self._full = False

    @property
    def gone(self) -> bool:
        """Whether the file was removed: what is written now, nobody will ever read."""
        return os.fstat(self._file).st_nlink == 0

    def write(self, record: AnyRecord) -> None:
        self._encoder.encode_into(record, self._buffer, -1)
        self._buffer += b"\n"

    def flush(self, *, sync: bool = True) -> None:
        """Write what has come. `sync` costs up to a disk write's time: call it from a thread."""
        data, self._buffer = bytes(self._buffer), bytearray()
        if not data or self._full:
            return
        if len(data) > self._left:
            self._full = True
            note = Note(at=time.time(), lane="prober", text="the evidence file is full")
            data = self._encoder.encode(note) + b"\n"
        self._left -= len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        if sync:
            os.fdatasync(self._file)

    def close(self) -> None:
        self.flush()
        os.close(self._file)
