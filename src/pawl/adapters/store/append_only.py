"""An SQLite file that nothing is taken out of again: on disk before a write returns, 0600 in 0700.

WAL with `synchronous=FULL` survives a power cut after every write and lets others read meanwhile.
Triggers refuse UPDATE and DELETE, so that history cannot be rewritten by a stray statement. Only
features of SQLite 3.40 and before are used: that is what stable server distributions carry.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from pawl.core.errors import PawlError


def opened(
    path: Path,
    tables: str,
    *,
    kept: Iterable[str],
    what: str,
    version: int,
    busy: float,
    any_thread: bool = False,
) -> sqlite3.Connection:
    """The database, with its `tables` (CREATE statements) made where they are not there, and those
    that are `kept` append-only. `what` is its name in sentences, `version` its format, `busy` for
    how many seconds another process's transaction is waited for.

    Raises `PawlError` for a file of a newer format, sqlite3.Error and OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of the main file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=not any_thread)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise PawlError(
            f"the {what} {path} was written by a newer pawl (format {found}, this one reads "
            f"{version}): use that pawl, or move the file away."
        )
    db.executescript(tables + "".join(_triggers(table, what) for table in kept))
    db.execute(f"PRAGMA user_version={version}")
    return db


def _triggers(table: str, what: str) -> str:
    refuse = f"BEGIN SELECT RAISE(ABORT, 'the {what} is append-only'); END;\n"
    return (
        f"CREATE TRIGGER IF NOT EXISTS {table}_keep BEFORE UPDATE ON {table} {refuse}"
        f"CREATE TRIGGER IF NOT EXISTS {table}_stay BEFORE DELETE ON {table} {refuse}"
    )
