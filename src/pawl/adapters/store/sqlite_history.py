"""The history of `pawl watch` as one append-only SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pawl.adapters.store.append_only import opened
from pawl.core.errors import PawlError
from pawl.core.watch.events import AnyEvent

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
_TABLES = """
CREATE TABLE IF NOT EXISTS watch_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    body TEXT NOT NULL
);
"""
_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class SqliteHistory:
    """`pawl.ports.history.History` over one file. Every failure is a `PawlError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told("opened"):
            self._db = opened(
                path,
                _TABLES,
                kept=["watch_events"],
                what="history",
                version=SCHEMA_VERSION,
                busy=BUSY_SECONDS,
                any_thread=True,
            )

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
