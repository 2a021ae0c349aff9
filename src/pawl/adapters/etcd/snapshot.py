"""Writing a snapshot stream to disk, and telling a whole one from one that broke off."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pawl.core.errors import Unreachable
from pawl.ports.etcd import Snapshot

DIGEST = hashlib.sha256().digest_size


class SnapshotWriter:
    """Mode 0600 from the first byte, since a snapshot holds every Secret of the cluster; its final
    name only when it is whole. etcd ends the stream with the SHA-256 of all before it."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = directory / name
        self._partial = directory / f"{name}.partial"
        self._file = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._open = True
        self._whole, self._content = hashlib.sha256(), hashlib.sha256()
        self._tail = b""
        self._size = 0

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file, view) :]
        self._whole.update(chunk)
        self._size += len(chunk)
        held = self._tail + chunk
        self._content.update(held[:-DIGEST])
        self._tail = held[-DIGEST:]

    def finish(self, host: str, revision: int) -> Snapshot:
        """Verify, flush, give the final name. Raises Unreachable for one that is not whole."""
        if self._size <= DIGEST or self._content.digest() != self._tail:
            raise Unreachable(
                f"the snapshot from {host} is not whole: its end is not the SHA-256 of its content"
            )
        os.fsync(self._file)
        self._partial.replace(self._path)
        return Snapshot(
            path=self._path, sha256=self._whole.hexdigest(), size=self._size, revision=revision
        )

    def close(self) -> None:
        """Close; a snapshot that was not finished leaves nothing behind."""
        if self._open:
            os.close(self._file)
            self._open = False
            self._partial.unlink(missing_ok=True)
