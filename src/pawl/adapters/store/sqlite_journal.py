"""The journal as one append-only SQLite file. `pawl pause` writes while `pawl run` reads.

The journal is attribution, attempts and timing, never the truth about the cluster. Each of its
failures is therefore one sentence that says so: the run stops before its next effect, and goes on
from the cluster's own state once there is a journal again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pawl.adapters.store.append_only import opened
from pawl.core.errors import PawlError
from pawl.core.events import AnyEvent
from pawl.core.plan import Plan

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
"""How long an append waits for another process's transaction: those last milliseconds, and as long
as a disk that stalls takes for the flush."""

SAFE = (
    "The cluster is not harmed: nothing is done without a journal, and a run takes its state from "
    "the cluster, not from here."
)

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL,
    at REAL NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_run ON events (run, id);
CREATE TABLE IF NOT EXISTS plans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
);
"""

_EVENTS: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class SqliteJournal:
    """`pawl.ports.journal.Journal` over one file. Every failure is a `PawlError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told("opened"):
            self._db = opened(
                path,
                _TABLES,
                kept=["events", "plans"],
                what="journal",
                version=SCHEMA_VERSION,
                busy=BUSY_SECONDS,
            )
            self._inode = os.stat(path).st_ino

    def close(self) -> None:
        self._db.close()

    def append(self, event: AnyEvent) -> None:
        with self._told("written"):
            self._still_there()
            self._db.execute(
                "INSERT INTO events (run, at, body) VALUES (?, ?, ?)",
                (event.run, event.at, msgspec.json.encode(event).decode()),
            )

    def events(self, run: str) -> tuple[AnyEvent, ...]:
        return self.since(0, run)[0]

    def since(self, mark: int, *runs: str) -> tuple[tuple[AnyEvent, ...], int]:
        with self._told("read"):
            # One statement: what is written meanwhile is then either seen, or after the new mark.
            rows = self._db.execute(
                f"SELECT id, body FROM events WHERE run IN ({', '.join('?' * len(runs))}) "
                "AND id > ? ORDER BY id",
                (*runs, mark),
            ).fetchall()
        return tuple(self._event(*row) for row in rows), rows[-1][0] if rows else mark

    def _event(self, number: int, body: str) -> AnyEvent:
        try:
            return _EVENTS.decode(body)
        except msgspec.DecodeError as error:
            raise PawlError(
                f"entry {number} of the journal {self.path} cannot be read ({error}): it is "
                f"damaged or of another pawl. Move the file away and run again. {SAFE}"
            ) from error

    def runs(self) -> tuple[str, ...]:
        with self._told("read"):
            rows = self._db.execute(
                "SELECT run FROM events WHERE run != '' GROUP BY run ORDER BY min(id) DESC"
            ).fetchall()
            return tuple(run for (run,) in rows)

    def save_plan(self, plan: Plan) -> None:
        with self._told("written"):
            self._still_there()
            self._db.execute(
                "INSERT OR IGNORE INTO plans (digest, body) VALUES (?, ?)",
                (plan.digest, msgspec.json.encode(plan).decode()),
            )

    def plan(self, digest: str) -> Plan:
        if len(digest) < 6 or not all(c in "0123456789abcdef" for c in digest):
            raise KeyError(digest)
        with self._told("read"):
            rows = self._db.execute(
                "SELECT body FROM plans WHERE substr(digest, 1, ?) = ?", (len(digest), digest)
            ).fetchall()
        if len(rows) != 1:
            raise KeyError(digest)
        try:
            return msgspec.json.decode(rows[0][0], type=Plan)
        except msgspec.DecodeError as error:
            raise PawlError(
                f"plan {digest[:12]} in the journal {self.path} is of another pawl ({error}): "
                "make a new plan, or use that pawl."
            ) from error

    def plans(self) -> tuple[str, ...]:
        with self._told("read"):
            rows = self._db.execute("SELECT digest FROM plans ORDER BY id DESC").fetchall()
            return tuple(digest for (digest,) in rows)

    def _still_there(self) -> None:
        """A deleted file would take writes into nowhere: its inode lives on while we hold it."""
        try:
            now = os.stat(self.path).st_ino
        except FileNotFoundError:
            now = -1
        if now != self._inode:
            raise PawlError(
                f"the journal {self.path} was deleted or replaced while in use: start pawl again, "
                f"it begins a new one. {SAFE}"
            )

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        """Every failure of file or database as one sentence."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise PawlError(
                f"the journal {self.path} cannot be {verb}: {_plainly(error)} {SAFE}"
            ) from error


def _plainly(error: sqlite3.Error | OSError) -> str:
    text = str(error).lower()
    if "malformed" in text or "not a database" in text:
        return "it is damaged. Move it away and run again."
    if "full" in text or "no space" in text:
        return "the disk is full. Free some space and run again."
    if "i/o error" in text:
        return (
            "its disk has an error, or was made read-only because of one. Look at `dmesg`, mend it "
            "and run again."
        )
    if "readonly" in text or "read-only" in text or isinstance(error, PermissionError):
        return "it is read-only. Give this user write access to it and to its directory."
    if "locked" in text or "busy" in text:
        return f"another process has held it for {BUSY_SECONDS:.0f} s. Look for a hung pawl."
    return f"{error}."
