"""The resolver asks in order, says who served, and never passes over a wrong checksum."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from pawl.adapters.artifacts.cache import Cache
from pawl.adapters.artifacts.catalog import COMPONENTS, Platform, expand, parse_version
from pawl.adapters.artifacts.download import REACH_WITHIN, OfficialRelease
from pawl.adapters.artifacts.factory import artifact_store, cache_home
from pawl.adapters.artifacts.gobuild import GoModules
from pawl.adapters.artifacts.local import LocalDirectory
from pawl.adapters.artifacts.reach import REMEMBERED, Reach
from pawl.adapters.artifacts.resolver import CACHE, Resolver
from pawl.adapters.artifacts.source import GivesWay, Provided, Request, Source
from pawl.core.config import ArtifactsConfig
from pawl.core.errors import ArtifactError, ConfigError
from pawl.core.version import Version
from pawl.ports.artifacts import Artifact, ArtifactProgress, Report
from pawl.testing.artifacts import (
    closed_port,
    publish_kubernetes,
    release_place,
    silent_port,
    write_go,
    write_programs,
)

HERE = Platform.here()


class Lines:
    """Collects the lines that a person would see."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, progress: ArtifactProgress) -> None:
        if not progress.passing:
            self.all.append(progress.text)

    @property
    def text(self) -> str:
        return "\n".join(self.all)


class Shelf:
    """A source with some components, that counts how often it was asked."""

    def __init__(self, name: str, *components: str, says: str = "", wait: float = 0) -> None:
        self.name = name
        self.place = f"{name} shelf"
        self.asked: list[str] = []
        self._components = components
        self._says = says
        self._wait = wait

    async def provide(self, request: Request, into: Path, report: Report) -> Provided:
        self.asked.append(str(request))
        await anyio.sleep(self._wait)
        served = {
            c.name: write_programs(into, c.binaries, self._says or str(request.version))
            for c in request.components
            if c.name in self._components
        }
        if not served:
            raise GivesWay("the shelf is empty")
        return served


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def resolver(cache: Cache, *order: Source | str) -> Resolver:
    return Resolver(cache, order, max_bytes=1 << 30)


def fetch(
    r: Resolver, component: str, version: str = "1.37.0", lines: Lines | None = None
) -> Artifact:
    async def run() -> Artifact:
        return await r.fetch(component, version, progress=lines or Lines())

    return anyio.run(run)


def test_first_source_that_has_it_serves_and_later_ones_are_not_asked(cache: Cache) -> None:
    first, second, third = Shelf("local"), Shelf("download", "kubelet"), Shelf("build", "kubelet")
    lines = Lines()
    artifact = fetch(resolver(cache, first, CACHE, second, third), "kubelet", lines=lines)
    assert artifact.source == "download (download shelf)"
    assert artifact.version == Version(1, 37, 0)
    assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 0)
    assert "kubelet 1.37.0: local gives way: the shelf is empty" in lines.all
    assert lines.all[-1] == "kubelet 1.37.0: served by download (download shelf)"


def test_second_fetch_is_served_by_the_cache(cache: Cache) -> None:
    shelf, lines = Shelf("download", "kubelet"), Lines()
    r = resolver(cache, CACHE, shelf)
    first = fetch(r, "kubelet")
    again = fetch(r, "kubelet", lines=lines)
    assert again == first
    assert len(shelf.asked) == 1
    assert lines.all == [f"kubelet 1.37.0: served by cache ({cache.root})"]


def test_sources_complete_one_another(cache: Cache) -> None:
    bundle = [c.name for c in expand("kubernetes")]
    some, rest = Shelf("download", *bundle[:2]), Shelf("build", *bundle)
    artifact = fetch(resolver(cache, some, rest), "kubernetes")
    assert rest.asked == [f"{', '.join(bundle[2:])} 1.37.0"]
    assert [f.name for f in artifact.files] == bundle
    assert artifact.source == "download (download shelf); build (build shelf)"


def test_a_corrupted_entry_is_named_discarded_and_fetched_again(cache: Cache) -> None:
    shelf, lines = Shelf("download", "kubelet"), Lines()
    path = fetch(resolver(cache, CACHE, shelf), "kubelet").file("kubelet").path
    good = path.read_bytes()
    path.chmod(0o755)
    path.write_bytes(good[:-2] + b"!\n")
    healed = fetch(resolver(Cache(cache.root), CACHE, shelf), "kubelet", lines=lines)
    assert healed.file("kubelet").path.read_bytes() == good
    assert len(shelf.asked) == 2
    assert "cached kubelet 1.37.0 is damaged" in lines.text


def test_a_program_of_another_version_is_refused(cache: Cache) -> None:
    wrong = Shelf("local", "kubelet", says="1.36.0")
    with pytest.raises(ArtifactError, match=r"not kubelet 1\.37\.0.*Kubernetes v1\.36\.0"):
        fetch(resolver(cache, wrong), "kubelet")
    assert cache.entries() == ()


def test_a_wrong_checksum_does_not_fall_through_to_the_next_source(
    cache: Cache, tmp_path: Path
) -> None:
    publish_kubernetes(tmp_path / "k", "1.37.0", ["kubelet"], (HERE.os, HERE.arch))
    kubelet = next((tmp_path / "k").rglob("kubelet"))
    kubelet.write_text("#!/bin/sh\necho evil\n")
    build = Shelf("build", "kubelet")
    with release_place(tmp_path / "k") as place:
        download = OfficialRelease(Reach(tmp_path / "reach"), kubernetes=place)
        with pytest.raises(ArtifactError, match="publishes"):
            fetch(resolver(cache, download, build), "kubelet")
    assert build.asked == []
    assert cache.entries() == ()


def test_an_unreachable_place_gives_way_and_is_not_asked_again(
    cache: Cache, tmp_path: Path
) -> None:
    place = closed_port()
    reach = Reach(tmp_path / "reach.json")
    build, lines = Shelf("build", "kubelet", "kubectl"), Lines()
    r = resolver(cache, CACHE, OfficialRelease(reach, kubernetes=place), build)
    assert fetch(r, "kubelet", lines=lines).source.startswith("build")
    assert f"{place} cannot be reached" in lines.text
    with release_place(tmp_path) as other:
        assert reach.down_since(place) is not None
        assert reach.down_since(other) is None
    later = Lines()
    r = resolver(cache, CACHE, OfficialRelease(Reach(tmp_path / "reach.json"), kubernetes=place))
    with pytest.raises(ArtifactError, match="could not be reached a moment ago"):
        fetch(r, "kubectl", lines=later)


def test_a_place_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REACH_WITHIN <= 5
    monkeypatch.setattr("pawl.adapters.artifacts.download.REACH_WITHIN", 0.2)
    request = Request(expand("kubelet"), Version(1, 37, 0), HERE)
    with silent_port() as place:
        source = OfficialRelease(Reach(tmp_path / "reach"), kubernetes=place)
        with pytest.raises(GivesWay, match="no answer within"):
            anyio.run(source.provide, request, tmp_path, Lines())


def test_reach_forgets_after_a_while_and_when_a_place_answers(tmp_path: Path) -> None:
    now = [1000.0]
    reach = Reach(tmp_path / "reach.json", clock=lambda: now[0])
    reach.mark_down("a")
    reach.mark_down("b")
    reach.mark_up("b")
    assert reach.down_since("a") == 1000.0
    assert reach.down_since("b") is None
    now[0] += REMEMBERED
    assert reach.down_since("a") is None
    (tmp_path / "reach.json").write_text("not json")
    assert reach.down_since("a") is None


def test_when_nobody_serves_every_reason_is_named_at_once(cache: Cache) -> None:
    with pytest.raises(ArtifactError) as raised:
        fetch(resolver(cache, CACHE, Shelf("download"), Shelf("build")), "kubelet")
    text = str(raised.value)
    assert f"no source has kubelet 1.37.0 for {HERE}" in text
    assert "cache: not there yet" in text
    assert "download: the shelf is empty" in text
    assert "build: the shelf is empty" in text


def test_two_at_once_fetch_only_once(cache: Cache) -> None:
    shelf, lines = Shelf("build", "kubelet", wait=0.5), Lines()

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(
                    lambda: resolver(Cache(cache.root), CACHE, shelf).fetch(
                        "kubelet", "1.37.0", progress=lines
                    )
                )

    anyio.run(run)
    assert len(shelf.asked) == 1
    assert "is fetching kubernetes 1.37.0; waiting for it" in lines.text


def test_an_interrupted_fetch_frees_the_lock_and_leaves_no_staging(cache: Cache) -> None:
    async def run() -> None:
        with anyio.move_on_after(0.3):
            slow = Shelf("build", "kubelet", wait=60)
            await resolver(cache, CACHE, slow).fetch("kubelet", "1.37.0")
        assert list((cache.root / "tmp").iterdir()) == []
        with anyio.fail_after(30):
            await resolver(cache, CACHE, Shelf("build", "kubelet")).fetch("kubelet", "1.37.0")

    anyio.run(run)


def test_held_lists_versions_of_which_every_part_is_there(cache: Cache) -> None:
    names = [c.name for c in expand("kubernetes")]
    fetch(resolver(cache, Shelf("build", *names)), "kubernetes", "1.37.0")
    fetch(resolver(cache, Shelf("build", *names)), "kubernetes", "1.36.0")
    fetch(resolver(cache, Shelf("build", *names)), "kubelet", "1.35.0")
    r = resolver(cache, CACHE)
    assert anyio.run(r.held, "kubernetes") == (Version(1, 36, 0), Version(1, 37, 0))
    assert anyio.run(r.held, "kubelet")[0] == Version(1, 35, 0)
    assert anyio.run(r.held, "etcd") == ()


def test_take_replaces_what_the_cache_holds(cache: Cache, tmp_path: Path) -> None:
    fetch(resolver(cache, Shelf("build", "kubelet")), "kubelet")
    path = write_programs(tmp_path / "mine", ["kubelet"], "1.37.0")["kubelet"]
    path.write_text(path.read_text() + "# my own\n")
    r = resolver(cache, CACHE)
    anyio.run(r.take, "kubelet", "1.37.0", LocalDirectory(tmp_path / "mine"))
    assert fetch(r, "kubelet").file("kubelet").path.read_text().endswith("# my own\n")


@pytest.mark.parametrize("version", ["1.37", "latest", "", "1.37.x"])
def test_a_version_must_be_a_release(version: str) -> None:
    with pytest.raises(ArtifactError, match="all three numbers"):
        parse_version("kubelet", version)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArtifactError, match="kubernetes, etcd, kube-apiserver"):
        expand("kuberentes")
    assert "kubeadm" not in {c.name for c in expand("kubernetes")}
    assert set(COMPONENTS) >= {"kubeadm", "kubectl"}


def test_mirrors_must_be_https_unless_they_are_on_loopback(tmp_path: Path) -> None:
    reach = Reach(tmp_path / "reach")
    OfficialRelease(reach, kubernetes="http://127.0.0.1:1", etcd="https://mirror.example")
    with pytest.raises(ConfigError, match=r"http://mirror\.example: must be https"):
        OfficialRelease(reach, kubernetes="http://mirror.example")


def test_go_that_is_too_old_is_said_with_the_version_that_is_needed(tmp_path: Path) -> None:
    go = write_go(tmp_path, "1.37.0", go_version="go1.24.6")
    source = GoModules(tmp_path / "cache", go=str(go))
    request = Request(expand("kubelet"), Version(1, 37, 0), HERE)
    with pytest.raises(GivesWay, match=r"needs Go 1\.26\.0 or newer.*is go1\.24\.6.*install"):
        anyio.run(source.provide, request, tmp_path, Lines())


def test_a_build_without_verification_is_refused(tmp_path: Path) -> None:
    go = write_go(tmp_path, "1.37.0", settings={"gosumdb": "off\n"})
    source = GoModules(tmp_path / "cache", go=str(go))
    request = Request(expand("kubelet"), Version(1, 37, 0), HERE)
    with pytest.raises(ArtifactError, match="GOSUMDB is off"):
        anyio.run(source.provide, request, tmp_path, Lines())


def test_private_build_caches_go_after_success_and_stay_when_asked(tmp_path: Path) -> None:
    request = Request(expand("etcd"), Version(3, 6, 14), HERE)
    go = write_go(tmp_path, "3.6.14")
    for keep in (False, True):
        source = GoModules(tmp_path / "cache", go=str(go), keep=keep)
        anyio.run(source.provide, request, tmp_path, Lines())
        assert (tmp_path / "cache" / "go").exists() is keep
    assert GoModules(tmp_path / "cache").clean() >= 0
    assert not (tmp_path / "cache" / "go").exists()


def test_settings_order_sources_and_place_the_cache(tmp_path: Path) -> None:
    assert cache_home({"PAWL_CACHE": "/a"}) == Path("/a")
    assert cache_home({"XDG_CACHE_HOME": "/b"}) == Path("/b/pawl")
    assert cache_home({}) == Path.home() / ".cache" / "pawl"
    write_programs(tmp_path / "mine", ["kubelet"], "1.37.0")
    config = ArtifactsConfig(local=str(tmp_path / "mine"), sources=("cache", "local"))
    store = artifact_store(config, environment={"PAWL_CACHE": str(tmp_path / "c")})
    lines = Lines()
    fetch(store.resolver, "kubelet", lines=lines)
    assert lines.all[0] == "kubelet 1.37.0: cache gives way: not there yet"
    assert lines.all[-1].startswith("kubelet 1.37.0: served by local")
    with pytest.raises(ConfigError, match="not an absolute path"):
        artifact_store(environment={"PAWL_CACHE": "here"})
