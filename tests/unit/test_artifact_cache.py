"""The cache hands out nothing that it has not verified, and survives what machines do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pawl.adapters.artifacts.cache import IN_USE, Cache, Miss
from pawl.adapters.artifacts.catalog import Platform
from pawl.core.version import Version
from pawl.ports.artifacts import Artifact

V = Version(1, 37, 0)
LINUX = Platform("linux", "amd64")


class Clock:
    def __init__(self) -> None:
        self.now = 1_900_000_000.0  # ahead of the files' own times, so that ages are positive

    def __call__(self) -> float:
        return self.now


def put(cache: Cache, tmp: Path, component: str, content: bytes, version: Version = V) -> Artifact:
    path = tmp / "input"
    path.write_bytes(content)
    return cache.store(component, version, LINUX, {component: path}, "local (test)")


def get(cache: Cache, component: str, version: Version = V) -> Artifact | Miss:
    return cache.lookup(component, version, LINUX)


def objects(cache: Cache) -> list[Path]:
    return [p for p in (cache.root / "objects").rglob("*") if p.is_file()]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_what_was_stored_is_found_by_another_process_object(cache: Cache, tmp_path: Path) -> None:
    stored = put(cache, tmp_path, "kubelet", b"x" * 3_000_000)
    found = get(Cache(cache.root), "kubelet")
    assert found == stored
    assert isinstance(found, Artifact)
    assert found.file("kubelet").path.read_bytes() == b"x" * 3_000_000
    assert found.source == "local (test)"


def test_nothing_there_is_a_plain_miss(cache: Cache) -> None:
    assert get(cache, "kubelet") == Miss()


def test_directory_is_closed_to_others_and_binaries_are_executable_not_writable(
    cache: Cache, tmp_path: Path
) -> None:
    path = put(cache, tmp_path, "kubelet", b"x").file("kubelet").path
    assert cache.root.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o555


@pytest.mark.parametrize("damage", [b"tampered!!", b"short", b""])
def test_a_damaged_object_is_named_and_discarded(
    cache: Cache, tmp_path: Path, damage: bytes
) -> None:
    path = put(cache, tmp_path, "kubelet", b"0123456789").file("kubelet").path
    path.chmod(0o755)
    path.write_bytes(damage)
    found = get(Cache(cache.root), "kubelet")
    assert isinstance(found, Miss)
    assert "kubelet 1.37.0 is damaged" in found.damage
    assert "discarded" in found.damage
    assert not path.exists()
    assert get(cache, "kubelet") == Miss()


def test_damage_after_verification_is_seen_by_the_same_process(
    cache: Cache, tmp_path: Path
) -> None:
    path = put(cache, tmp_path, "kubelet", b"0123456789").file("kubelet").path
    assert isinstance(get(cache, "kubelet"), Artifact)
    path.chmod(0o755)
    path.write_bytes(b"9876543210")
    os.utime(path, ns=(1, 1))
    assert isinstance(get(cache, "kubelet"), Miss)


def test_a_lost_object_and_a_damaged_index_are_misses(cache: Cache, tmp_path: Path) -> None:
    put(cache, tmp_path, "kubelet", b"a").file("kubelet").path.unlink()
    lost = get(cache, "kubelet")
    assert isinstance(lost, Miss)
    assert "lost" in lost.damage
    put(cache, tmp_path, "kubelet", b"a")
    entry = next((cache.root / "index").rglob("*.json"))
    entry.write_text(entry.read_text()[:40])
    broken = get(cache, "kubelet")
    assert isinstance(broken, Miss)
    assert "cannot be read" in broken.damage
    assert get(cache, "kubelet") == Miss()


def test_an_index_cannot_lead_outside_of_the_cache(cache: Cache, tmp_path: Path) -> None:
    put(cache, tmp_path, "kubelet", b"a")
    entry = next((cache.root / "index").rglob("*.json"))
    digest = next(p.name for p in objects(cache))
    entry.write_text(entry.read_text().replace(digest, "../../../../etc/passwd"))
    assert isinstance(get(cache, "kubelet"), Miss)
    assert Path("/etc/passwd").exists()


def test_equal_content_is_kept_once_and_storing_heals(cache: Cache, tmp_path: Path) -> None:
    path = put(cache, tmp_path, "kubelet", b"same").file("kubelet").path
    put(cache, tmp_path, "kubectl", b"same")
    assert objects(cache) == [path]
    path.chmod(0o755)
    path.write_bytes(b"evil")
    put(cache, tmp_path, "kubectl", b"same")
    assert isinstance(get(Cache(cache.root), "kubelet"), Artifact)


def test_prune_takes_the_longest_unused_first_and_only_what_is_too_much(tmp_path: Path) -> None:
    clock = Clock()
    cache = Cache(tmp_path / "cache", clock=clock)
    for name in ("kubelet", "kubectl", "kube-proxy"):
        put(cache, tmp_path, name, name.encode() * 100)
        clock.now += 10
    get(cache, "kubelet")
    clock.now += IN_USE + 100
    total = sum(item.size for item in cache.entries())
    removed = cache.prune(total - 1)
    assert [item.entry.component for item in removed] == ["kubectl"]
    assert get(cache, "kubectl") == Miss()
    assert isinstance(get(cache, "kubelet"), Artifact)
    assert len(objects(cache)) == 2


def test_prune_spares_what_was_just_handed_out(tmp_path: Path) -> None:
    clock = Clock()
    cache = Cache(tmp_path / "cache", clock=clock)
    put(cache, tmp_path, "kubelet", b"a")
    clock.now += IN_USE - 1
    assert cache.prune(0) == ()
    assert [i.entry.component for i in cache.prune(0, grace=0)] == ["kubelet"]
    assert objects(cache) == []


def test_prune_keeps_an_object_that_another_entry_shares(tmp_path: Path) -> None:
    clock = Clock()
    cache = Cache(tmp_path / "cache", clock=clock)
    put(cache, tmp_path, "kubelet", b"same")
    clock.now += IN_USE + 1
    put(cache, tmp_path, "kubectl", b"same")
    put(cache, tmp_path, "kube-proxy", b"other")
    cache.prune(len(b"other"))
    assert get(cache, "kubelet") == Miss()
    assert isinstance(get(cache, "kubectl"), Artifact)


def _store_from(root: Path, pipe: Path) -> None:
    Cache(root).store("kubelet", V, LINUX, {"kubelet": pipe}, "local (test)")


def test_a_write_that_is_killed_half_way_leaves_nothing_that_counts(tmp_path: Path) -> None:
    clock = Clock()
    cache = Cache(tmp_path / "cache", clock=clock)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = multiprocessing.get_context("fork").Process(target=_store_from, args=(cache.root, pipe))
    child.start()
    with pipe.open("wb") as half:
        half.write(b"x" * (3 << 20))
        half.flush()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert get(cache, "kubelet") == Miss()
    assert objects(cache) == []
    left = list((cache.root / "tmp").iterdir())
    assert left
    assert isinstance(put(cache, tmp_path, "kubelet", b"whole"), Artifact)
    clock.now += IN_USE + 1
    cache.prune(1 << 30)
    assert list((cache.root / "tmp").iterdir()) == []


def _store_many(root: Path, source: Path, times: int) -> None:
    for n in range(times):
        Cache(root).store("kubelet", Version(1, n, 0), LINUX, {"kubelet": source}, "local (test)")


def test_processes_that_store_and_prune_at_once_leave_a_sound_cache(
    cache: Cache, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    sources = [tmp_path / "a", tmp_path / "b"]
    for source in sources:
        source.write_bytes(source.name.encode() * 50_000)
    children = [
        context.Process(target=_store_many, args=(cache.root, source, 4)) for source in sources
    ]
    cache.prepare()
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        cache.prune(1 << 30)
        time.sleep(0.01)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert len(cache.entries()) == 4
    for n in range(4):
        assert isinstance(get(Cache(cache.root), "kubelet", Version(1, n, 0)), Artifact)
