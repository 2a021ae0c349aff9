"""The history of `pawl watch` as one SQLite file: append-only, 0600, on disk before it returns.

As the journal: WAL, `synchronous=FULL`, and triggers that refuse UPDATE and DELETE. Only features
of SQLite 3.40 and before are used.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pawl.core.errors import PawlError
from pawl.core.watch.events import AnyEvent

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS watch_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    body TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS watch_keep BEFORE UPDATE ON watch_events
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER IF NOT EXISTS watch_stay BEFORE DELETE ON watch_events
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
"""
_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class SqliteHistory:
    """`pawl.ports.history.History` over one file. Every failure is a `PawlError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told("opened"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its -wal and -shm files the mode of the main file.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise PawlError(
                    f"the history {path} was written by a newer pawl (format {version}, this one "
                    f"reads {SCHEMA_VERSION}): use that pawl, or move the file away."
                )
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def append(self, events: Iterable[AnyEvent]) -> None:
        rows = [(event.at, msgspec.json.encode(event).decode()) for event in events]
        with self._told("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT INTO watch_events (at, body) VALUES (?, ?)", rows)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def events(self) -> tuple[AnyEvent, ...]:
        with self._told("read"):
            rows = self._db.execute("SELECT id, body FROM watch_events ORDER BY id").fetchall()
        found = []
        for number, body in rows:
            try:
                found.append(_EVENT.decode(body))
            except msgspec.DecodeError as error:
                raise PawlError(
                    f"entry {number} of the history {self.path} cannot be read ({error}). Move the "
                    "file away; then all that is open is told once more."
                ) from error
        return tuple(found)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise PawlError(
                f"the history {self.path} cannot be {verb}: {error}. Look at the disk and at the "
                "file's owner; a damaged file can be moved away."
            ) from error
