"""The content-addressed cache: binaries by SHA-256, and an index of what they are.

    <root>/objects/ab/abcdef…            a binary, 0555, named by its own SHA-256
    <root>/index/kubelet/1.37.0/linux-amd64.json     which objects make up this artefact
    <root>/tmp/                          staging of sources, one directory each

Invariants:
- An object is complete or absent, and an index entry is written only after its objects.
- Nothing leaves the cache unverified: `lookup` hashes each object. A hash is skipped only when the
  same process has verified the same inode, size and modification time before.
- What fails verification is removed and named, so that a source can serve it anew.
- `prune` removes whole artefacts, the longest unused first, and never one used within the last
  hour: its paths may just have been handed out.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from pawl.adapters.artifacts.catalog import Platform
from pawl.adapters.artifacts.files import (
    FileLock,
    copy_hashed,
    remove_tree,
    sha256_of,
    write_atomic,
)
from pawl.core.errors import ArtifactError
from pawl.core.version import Version
from pawl.ports.artifacts import Artifact, ArtifactFile

IN_USE = 3600.0
"""Seconds after its last use in which an artefact is not pruned."""


class Held(msgspec.Struct, frozen=True):
    """One binary in an index entry."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size: int


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The index entry of one artefact. `stored` is seconds since the epoch."""

    component: str
    version: str
    platform: str
    files: dict[str, Held]
    source: str
    stored: float


@dataclass(frozen=True, slots=True)
class Miss:
    """Not in the cache. `damage` says what was found broken and thrown away, if anything was."""

    damage: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry with the moment of its last use (seconds since the epoch) and its bytes."""

    path: Path
    entry: Entry
    used: float
    size: int


class Cache:
    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        self._objects = root / "objects"
        self._index = root / "index"
        self._tmp = root / "tmp"
        self._verified: dict[Path, tuple[int, int, int]] = {}
        self._guard = threading.Lock()

    def prepare(self) -> None:
        """Make the directories, readable by the owner only. Raises ArtifactError."""
        try:
            for directory in (self.root, self._objects, self._index, self._tmp):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
        except OSError as error:
            raise ArtifactError(
                f"the artefact cache {self.root} cannot be written: {error.strerror}. "
                "Set PAWL_CACHE to a directory with a few gigabytes free."
            ) from error

    def lookup(self, component: str, version: Version, platform: Platform) -> Artifact | Miss:
        """The artefact with every binary verified just now, or why it cannot be had."""
        path = self._entry_path(component, str(version), str(platform))
        try:
            entry = msgspec.json.decode(path.read_bytes(), type=Entry)
        except FileNotFoundError:
            return Miss()
        except (OSError, msgspec.MsgspecError) as error:
            path.unlink(missing_ok=True)
            return Miss(f"cache entry {component} {version} cannot be read ({error}); discarded")
        files = []
        for name, held in sorted(entry.files.items()):
            target = self._object_path(held.sha256)
            if problem := self._problem(target, held):
                target.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                return Miss(f"cached {name} {version} {problem}; discarded")
            files.append(ArtifactFile(name=name, path=target, sha256=held.sha256, size=held.size))
        now = self._clock()
        os.utime(path, (now, now))
        return Artifact(
            component=component, version=version, files=tuple(files), source=entry.source
        )

    def store(
        self,
        component: str,
        version: Version,
        platform: Platform,
        files: Mapping[str, Path],
        source: str,
    ) -> Artifact:
        """Copy `files` (binary name to path) in and index them. Existing objects are healed."""
        self.prepare()
        held: dict[str, Held] = {}
        for name, path in files.items():
            temporary = self._tmp / f"object-{secrets.token_hex(8)}"
            try:
                sha256, size = copy_hashed(path, temporary, mode=0o555)
                target = self._object_path(sha256)
                with self._lock().held():
                    target.parent.mkdir(exist_ok=True, mode=0o700)
                    temporary.replace(target)
            except OSError as error:
                raise ArtifactError(
                    f"{name} {version} could not be stored in {self.root}: {error.strerror}."
                ) from error
            finally:
                temporary.unlink(missing_ok=True)
            self._remember(target)
            held[name] = Held(sha256, size)
        entry = Entry(
            component=component,
            version=str(version),
            platform=str(platform),
            files=held,
            source=source,
            stored=self._clock(),
        )
        path = self._entry_path(component, str(version), str(platform))
        with self._lock().held():
            write_atomic(path, msgspec.json.format(msgspec.json.encode(entry), indent=1))
        found = self.lookup(component, version, platform)
        if isinstance(found, Miss):
            raise ArtifactError(
                f"{component} {version} did not survive being stored in {self.root}: "
                f"{found.damage or 'it was removed at once'}. Check the disk."
            )
        return found

    def entries(self) -> tuple[Listed, ...]:
        """What the index holds, the longest unused first. Damaged entries are left out."""
        listed = []
        for path in self._index.glob("*/*/*.json"):
            try:
                entry = msgspec.json.decode(path.read_bytes(), type=Entry)
                used = path.stat().st_mtime
            except (OSError, msgspec.MsgspecError):
                continue
            listed.append(Listed(path, entry, used, sum(f.size for f in entry.files.values())))
        return tuple(sorted(listed, key=lambda item: (item.used, item.entry.component)))

    def prune(self, max_bytes: int, *, grace: float = IN_USE) -> tuple[Listed, ...]:
        """Remove artefacts, longest unused first, until what is left fits; return what went."""
        removed: list[Listed] = []
        now = self._clock()
        with self._lock().held():
            kept = list(self.entries())
            for candidate in tuple(kept):
                if _bytes(kept) <= max_bytes:
                    break
                if now - candidate.used < grace:
                    continue
                candidate.path.unlink(missing_ok=True)
                kept.remove(candidate)
                removed.append(candidate)
            wanted = {held.sha256 for item in kept for held in item.entry.files.values()}
            gone = {held.sha256 for item in removed for held in item.entry.files.values()} - wanted
            for path in self._objects.glob("*/*"):
                orphan = path.name not in wanted and now - path.stat().st_mtime >= IN_USE
                if path.name in gone or orphan:
                    path.unlink(missing_ok=True)
        self._sweep(now)
        return tuple(removed)

    def staging(self) -> Path:
        """A new private directory for a source to put files in; the caller removes it."""
        self.prepare()
        path = self._tmp / f"stage-{os.getpid()}-{secrets.token_hex(4)}"
        path.mkdir(mode=0o700)
        return path

    def _sweep(self, now: float) -> None:
        """Throw away what processes that are gone left in tmp."""
        for path in self._tmp.glob("*"):
            parts = path.name.split("-")
            owner = int(parts[1]) if parts[0] == "stage" and parts[1].isdigit() else 0
            alive = owner > 0 and Path(f"/proc/{owner}").exists()
            try:
                old = now - path.stat().st_mtime >= IN_USE
            except FileNotFoundError:
                continue
            if alive or (not owner and not old):
                continue
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)

    def _problem(self, path: Path, held: Held) -> str:
        try:
            status = path.stat()
        except OSError:
            return f"has lost its file {path.name[:12]}…"
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        with self._guard:
            if self._verified.get(path) == stamp:
                return ""
        if status.st_size != held.size:
            return f"is damaged: {status.st_size} bytes instead of {held.size}"
        if (actual := sha256_of(path)) != held.sha256:
            return f"is damaged: SHA-256 {actual[:12]}… instead of {held.sha256[:12]}…"
        self._remember(path, stamp)
        return ""

    def _remember(self, path: Path, stamp: tuple[int, int, int] | None = None) -> None:
        if stamp is None:
            status = path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        with self._guard:
            self._verified[path] = stamp

    def _lock(self) -> FileLock:
        return FileLock(self.root / "cache.lock")

    def _object_path(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def _entry_path(self, component: str, version: str, platform: str) -> Path:
        return self._index / component / version / f"{platform}.json"


def _bytes(items: list[Listed]) -> int:
    """Bytes of the distinct objects behind these entries."""
    return sum({f.sha256: f.size for i in items for f in i.entry.files.values()}.values())
