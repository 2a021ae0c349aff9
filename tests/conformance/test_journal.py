"""What every journal must do, and what the SQLite one must say when its file fails."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pawl.adapters.store import FileLock, SqliteJournal
from pawl.core.errors import PawlError, Refused
from pawl.core.events import Approved, Paused, RunStarted, StepDone
from pawl.core.plan import Plan, Source, Target
from pawl.ports.journal import Journal
from pawl.ports.lock import LockNote
from pawl.testing.journal import MemoryJournal


def a_plan(cluster: str = "lab") -> Plan:
    source = Source(taken_at=1.0, fingerprint="f", versions={})
    return Plan(cluster=cluster, target=Target(), source=source).sealed()


@pytest.fixture(params=["sqlite", "memory"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    if request.param == "memory":
        return MemoryJournal
    return lambda: SqliteJournal(tmp_path / "state" / "journal.db")


def test_events_come_back_in_order_and_by_run(fresh: Callable[[], Journal]) -> None:
    journal = fresh()
    first = RunStarted(at=1.0, run="a", epoch=3, plan="d", operator="me")
    other = Paused(at=2.0, run="b", why="lunch", by="me")
    last = StepDone(at=0.5, run="a", step="s")  # the clock jumped back: order is of writing
    for event in (first, other, last):
        journal.append(event)
    assert journal.events("a") == (first, last)
    assert journal.events("b") == (other,)
    assert journal.events("nobody") == ()


def test_only_what_is_new_is_read_again(fresh: Callable[[], Journal]) -> None:
    journal = fresh()
    assert journal.since(0, "", "a") == ((), 0)
    first = StepDone(at=1.0, run="a", step="s")
    said = Approved(at=2.0, run="", digest="d", name="plan", by="me")
    for event in (first, StepDone(at=1.0, run="b", step="s"), said):
        journal.append(event)
    news, mark = journal.since(0, "", "a")
    assert news == (first, said), "in the order of writing, whatever the run"
    assert journal.since(mark, "", "a") == ((), mark)
    journal.append(first)
    assert journal.since(mark, "", "a")[0] == (first,)


def test_runs_are_newest_first_and_approvals_are_no_run(fresh: Callable[[], Journal]) -> None:
    journal = fresh()
    journal.append(Approved(at=1.0, run="", digest="d", name="plan", by="me"))
    for run in ("one", "two", "one"):
        journal.append(StepDone(at=1.0, run=run, step="s"))
    assert journal.runs() == ("two", "one")


def test_plans_are_found_by_digest_and_unique_prefix(fresh: Callable[[], Journal]) -> None:
    journal = fresh()
    plan, other = a_plan(), a_plan("other")
    journal.save_plan(plan)
    journal.save_plan(plan)
    journal.save_plan(other)
    assert journal.plan(plan.digest) == plan
    assert journal.plan(plan.digest[:8]) == plan
    assert journal.plans() == (other.digest, plan.digest)
    for bad in (plan.digest[:5], "zzzzzz", "000000", "%%%%%%"):
        with pytest.raises(KeyError):
            journal.plan(bad)


def test_another_process_sees_each_event_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    writer, reader = SqliteJournal(path), SqliteJournal(path)
    writer.append(StepDone(at=1.0, run="a", step="s"))
    assert len(reader.events("a")) == 1


def test_modes_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        journal = SqliteJournal(tmp_path / "state" / "journal.db")
        journal.append(StepDone(at=1.0, run="a", step="s"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    for file in (tmp_path / "state").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize("statement", ["UPDATE events SET run='x'", "DELETE FROM events"])
def test_history_cannot_be_rewritten(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "journal.db"
    SqliteJournal(path).append(StepDone(at=1.0, run="a", step="s"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        sqlite3.connect(path).execute(statement)


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database at all, but long enough to be taken for one" * 40)
    with pytest.raises(PawlError, match=r"is damaged. Move it away"):
        SqliteJournal(path)


def test_a_deleted_file_stops_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    path.unlink()
    with pytest.raises(PawlError, match="deleted or replaced"):
        journal.append(StepDone(at=1.0, run="a", step="s"))
    assert SqliteJournal(path).runs() == ()


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(PawlError, match="the disk is full"):
        _append_many(journal)


def test_an_error_of_the_disk_is_a_sentence(tmp_path: Path) -> None:
    """A limit on file sizes makes the kernel refuse a write, as a failing disk does."""
    journal = SqliteJournal(tmp_path / "journal.db")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "journal.db-wal").stat().st_size
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        with pytest.raises(PawlError, match=r"its disk has an error.*The cluster is not harmed"):
            journal.append(StepDone(at=1.0, run="a", step="s"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_directory_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(PawlError, match="cannot be opened"):
        SqliteJournal(tmp_path / "state" / "journal.db")


def test_a_read_only_database_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal._db.execute("PRAGMA query_only=1")  # what root meets instead of file modes
    with pytest.raises(PawlError, match="read-only"):
        journal.append(StepDone(at=1.0, run="a", step="s"))


def test_the_file_lock_names_the_other_and_passes_its_note_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.acquire() == LockNote()
    first.note(LockNote(holder="host/1", epoch=4, run="r"))
    with pytest.raises(Refused, match="host/1, run r"):
        second.acquire()
    first.release()
    assert second.acquire() == LockNote(holder="host/1", epoch=4, run="r")


def _append_many(journal: SqliteJournal) -> None:
    for _ in range(100):
        journal.append(StepDone(at=1.0, run="a", step="s" * 1000))
