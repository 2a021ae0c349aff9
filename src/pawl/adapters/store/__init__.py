"""What pawl keeps on its own machine: the journal, and the lock that goes with it."""

from pawl.adapters.store.file_lock import FileLock
from pawl.adapters.store.sqlite_journal import SqliteJournal

__all__ = ["FileLock", "SqliteJournal"]
