"""`pawl artifact` as a person or a script uses it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pawl.testing.artifacts import closed_port, write_programs

ROOT = Path(__file__).parents[2]


class Pawl:
    def __init__(self, cache: Path) -> None:
        nowhere = closed_port()
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(cache.parent),
            "PAWL_CACHE": str(cache),
            "PAWL_KUBERNETES_RELEASES": nowhere,
            "PAWL_ETCD_RELEASES": nowhere,
        }

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pawl", "artifact", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture
def pawl(tmp_path: Path) -> Pawl:
    return Pawl(tmp_path / "cache")


def test_import_then_fetch_list_and_prune(pawl: Pawl, tmp_path: Path) -> None:
    write_programs(tmp_path / "mine" / "bin", ["etcd", "etcdctl", "etcdutl"], "3.6.14")
    taken = pawl("import", str(tmp_path / "mine"), "etcd", "3.6.14", "-o", "json")
    rows = json.loads(taken.stdout)
    assert [r["name"] for r in rows] == ["etcd", "etcdctl", "etcdutl"]
    assert all(len(r["sha256"]) == 64 for r in rows)
    assert f"served by local ({tmp_path}/mine)" in taken.stderr

    fetched = pawl("fetch", "etcd", "3.6.14", "--into", str(tmp_path / "out"))
    assert "etcd 3.6.14: served by cache" in fetched.stderr
    assert rows[0]["sha256"] in fetched.stdout
    assert os.access(tmp_path / "out" / "etcdutl", os.X_OK)

    (listed,) = json.loads(pawl("list", "-o", "json").stdout)
    assert (listed["component"], listed["version"]) == ("etcd", "3.6.14")
    assert pawl("list", "-o", "yaml").stdout.startswith("- component: etcd\n")

    assert json.loads(pawl("prune", "--max-gb", "0", "-o", "json").stdout) == []
    (gone,) = json.loads(pawl("prune", "--max-gb", "0", "--now", "-o", "json").stdout)
    assert gone["component"] == "etcd"
    assert json.loads(pawl("list", "-o", "json").stdout) == []


def test_fetch_from_a_directory_looks_there_first(pawl: Pawl, tmp_path: Path) -> None:
    write_programs(tmp_path / "mine", ["kubelet"], "1.37.0")
    done = pawl("fetch", "kubelet", "1.37.0", "--from", str(tmp_path / "mine"))
    assert f"kubelet 1.37.0: served by local ({tmp_path}/mine)" in done.stderr


def test_when_nothing_serves_each_source_is_named_and_the_code_is_4(pawl: Pawl) -> None:
    done = pawl("fetch", "kubelet", "1.37.0", "--source", "cache", "--source", "download", code=4)
    assert "no source has kubelet 1.37.0" in done.stderr
    assert "cache: not there yet" in done.stderr
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fetch", "kubelet", "1.37"), "all three numbers"),
        (("fetch", "kublet", "1.37.0"), "there is no artefact called 'kublet'"),
        (("import", "/nonexistent", "kubelet", "1.37.0"), "/nonexistent is not a directory"),
    ],
)
def test_a_mistake_is_a_sentence_and_code_4(
    pawl: Pawl, arguments: tuple[str, ...], says: str
) -> None:
    assert says in pawl(*arguments, code=4).stderr


def test_help_shows_examples(pawl: Pawl) -> None:
    assert "pawl artifact fetch etcd 3.5.33 3.6.14" in pawl("fetch", "--help").stdout
    known = json.loads(pawl("list", "--known", "-o", "json").stdout)
    assert {"kubernetes", "etcd", "kubelet", "kubeadm"} <= {row["name"] for row in known}
