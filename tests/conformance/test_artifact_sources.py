"""Every artefact source keeps the contract of pawl.adapters.artifacts.source.

A new source gets a harness here, and passes without a change to the tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from pawl.adapters.artifacts.catalog import Platform, expand
from pawl.adapters.artifacts.download import OfficialRelease
from pawl.adapters.artifacts.gobuild import GoModules
from pawl.adapters.artifacts.local import LocalDirectory
from pawl.adapters.artifacts.probe import check_version
from pawl.adapters.artifacts.reach import Reach
from pawl.adapters.artifacts.source import GivesWay, Provided, Request, Source
from pawl.core.errors import ArtifactError
from pawl.core.version import Version
from pawl.ports.artifacts import silent
from pawl.testing.artifacts import (
    closed_port,
    publish_etcd,
    publish_kubernetes,
    release_place,
    write_go,
    write_programs,
)

HAS = "1.37.0"
HERE = Platform.here()
BUNDLE = expand("kubernetes")


@dataclass
class Harness:
    """How to bring a source into each state that the contract speaks of."""

    name: str
    serving: Callable[[Path, ExitStack], Source]
    """Serves kubernetes and etcd at HAS, and nothing else."""
    unreachable: Callable[[Path], Source]
    tampered: Callable[[Path, ExitStack], Source]
    """Its kubelet does not match the published checksum."""


def local_serving(tmp: Path, _: ExitStack) -> Source:
    for component in (*BUNDLE, *expand("etcd")):
        write_programs(tmp / component.name / HAS, component.binaries, HAS)
    return LocalDirectory(tmp)


def local_tampered(tmp: Path, _: ExitStack) -> Source:
    write_programs(tmp, ["kubelet"], HAS)
    (tmp / "SHA256SUMS").write_text(f"{'0' * 64}  kubelet\n")
    return LocalDirectory(tmp)


def _published(tmp: Path) -> tuple[str, str]:
    platform = (HERE.os, HERE.arch)
    publish_kubernetes(tmp / "k", HAS, [b for c in BUNDLE for b in c.binaries], platform)
    publish_etcd(tmp / "e", HAS, platform)
    return platform


def download_serving(tmp: Path, stack: ExitStack) -> Source:
    _published(tmp)
    kubernetes = stack.enter_context(release_place(tmp / "k"))
    etcd = stack.enter_context(release_place(tmp / "e"))
    return OfficialRelease(Reach(tmp / "reach.json"), kubernetes=kubernetes, etcd=etcd)


def download_unreachable(tmp: Path) -> Source:
    place = closed_port()
    return OfficialRelease(Reach(tmp / "reach.json"), kubernetes=place, etcd=place)


def download_tampered(tmp: Path, stack: ExitStack) -> Source:
    source = download_serving(tmp, stack)
    kubelet = tmp / "k" / f"v{HAS}" / "bin" / HERE.os / HERE.arch / "kubelet"
    kubelet.write_text(kubelet.read_text() + "# one line more\n")
    return source


def build_serving(tmp: Path, _: ExitStack) -> Source:
    (tmp / "go").mkdir()
    return GoModules(tmp / "cache", go=str(write_go(tmp / "go", HAS)))


def build_tampered(tmp: Path, _: ExitStack) -> Source:
    (tmp / "go").mkdir()
    said = "verifying k8s.io/api@v0.37.0: checksum mismatch\nSECURITY ERROR\n"
    go = write_go(tmp / "go", HAS, settings={"list-error": said})
    return GoModules(tmp / "cache", go=str(go))


HARNESSES = (
    Harness("local", local_serving, lambda tmp: LocalDirectory(tmp / "none"), local_tampered),
    Harness("download", download_serving, download_unreachable, download_tampered),
    Harness(
        "build",
        build_serving,
        lambda tmp: GoModules(tmp / "cache", go=str(tmp / "no-go")),
        build_tampered,
    ),
)


@pytest.fixture(params=HARNESSES, ids=lambda h: h.name)
def harness(request: pytest.FixtureRequest) -> Harness:
    return request.param


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def provide(source: Source, component: str, version: str, into: Path) -> Provided:
    into.mkdir(exist_ok=True)
    request = Request(expand(component), Version.parse(version), HERE)
    return anyio.run(source.provide, request, into, silent)


@pytest.mark.parametrize("component", ["kubernetes", "etcd", "kubelet"])
def test_serves_every_binary_of_what_was_asked_and_no_more(
    harness: Harness, component: str, tmp_path: Path, stack: ExitStack
) -> None:
    source = harness.serving(tmp_path, stack)
    provided = provide(source, component, HAS, tmp_path / "into")
    assert {c: set(files) for c, files in provided.items()} == {
        c.name: set(c.binaries) for c in expand(component)
    }
    for files in provided.values():
        for name, path in files.items():
            assert os.access(path, os.X_OK)
            anyio.run(check_version, name, path, Version.parse(HAS), HERE)


def test_is_named_as_pawl_yaml_names_it(harness: Harness, tmp_path: Path, stack: ExitStack) -> None:
    source = harness.serving(tmp_path, stack)
    assert source.name == harness.name
    assert source.place


def test_gives_way_for_a_version_that_it_does_not_have(
    harness: Harness, tmp_path: Path, stack: ExitStack
) -> None:
    source = harness.serving(tmp_path, stack)
    with pytest.raises(GivesWay, match=r"9\.9\.9"):
        provide(source, "kubelet", "9.9.9", tmp_path / "into")


def test_gives_way_when_it_cannot_be_reached(harness: Harness, tmp_path: Path) -> None:
    with pytest.raises(GivesWay):
        provide(harness.unreachable(tmp_path), "kubelet", HAS, tmp_path / "into")


def test_a_wrong_checksum_ends_the_fetch_with_a_sentence(
    harness: Harness, tmp_path: Path, stack: ExitStack
) -> None:
    source = harness.tampered(tmp_path, stack)
    with pytest.raises(ArtifactError, match=r"kubelet") as raised:
        provide(source, "kubelet", HAS, tmp_path / "into")
    assert "SHA-256" in str(raised.value) or "checksum" in str(raised.value)
    assert not (tmp_path / "into" / "kubelet").exists()
