"""The command as a shell starts it: what its exit codes and its "-" mean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml
from cyclopts import App

from pawl.interfaces.cli.main import app, main
from pawl.interfaces.cli.tabular import lines

OLD = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: c}\n"
HOSTS = "cp-1,198.18.0.1,control-plane+etcd\nw-1,198.18.0.2,worker\n"
KUBECONFIG = """\
current-context: c
contexts: [{name: c, context: {cluster: c, user: c}}]
clusters: [{name: c, cluster: {server: "https://198.18.0.9:6443"}}]
users: [{name: c, user: {}}]
"""


def pawl(*argv: str, given: str = "", at: Path | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pawl", *argv],
        input=given, capture_output=True, text=True, check=False, cwd=at,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_dash_is_standard_input_and_output(tmp_path: Path) -> None:
    code, out, _ = pawl("lint", "--kube-version", "1.37", "-", given=OLD)
    assert code == 2
    assert out.startswith("-:1: blocker: CronJob c")
    (tmp_path / "k").write_text(KUBECONFIG)
    code, out, err = pawl("init", "-", "-o", "-", "-k", "k", given=HOSTS, at=tmp_path)
    assert (code, err) == (0, "")
    assert "name: cp-1" in out
    code, out, _ = pawl("workloads", "--from", "-", "-o", "json", given=OLD.replace("beta1", ""))
    assert code in (0, 1)
    assert out.startswith("{")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["lint", "."], "--kube-version"),
        (["lint", "--kube-version", "1.37", "--fiks", "."], "no option --fiks"),
        (["lint", "--kube-version", "1.99", "."], "nothing is known about Kubernetes 1.99"),
        (["lint", "--kube-version", "soon", "."], "no Kubernetes minor"),
        (["lint", "--kube-version", "1.37", "."  , "-o", "xml"], "xml"),
        (["nonsense"], "nonsense"),
        (["artifact", "prune", "--max-gb", "-1"], "-1 is no size"),
        (["knowledge", "removals", "--from", "abc"], "'abc' is no Kubernetes minor"),
        (["probe", "start", "--max-hours", "0"], "0 is no time"),
        (["workloads", "--from", "docs", "--to", "1.x"], "1.x is neither a release"),
        (["workloads", "--from", "docs", "--to", "1.99"], "nor a minor that pawl knows"),
        (["verify", "--days", "nan"], "--days nan: more than 0"),
        (["verify", "--windows", "0", "--minutes", "-3"], "--minutes -3: more than 0"),
        (["scan", "--to", "1.37", "--audit-days", "nan"], "--audit-days nan"),
        (["inventory", "--audit-days", "nan"], "--audit-days nan"),
        (["lab", "load", "--rate", "900"], "from 1 to 200 requests a second"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_no_finding(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 means blockers to a pipeline, and 1 warnings: a mistake is 4."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 4
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_place_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(KUBECONFIG)
    code, _, err = pawl("init", "-", "-o", "no/such/x", "-k", "k", given=HOSTS, at=tmp_path)
    assert (code, err) == (4, "pawl: no/such/x: No such file or directory\n")


def test_bash_completes_words_and_offers_files_where_there_are_none() -> None:
    _, script, _ = pawl("completion", "bash")
    ask = (
        'COMP_WORDS=(pawl lint -o "s"); COMP_CWORD=3; _pawl; echo ${COMPREPLY[*]}; complete -p pawl'
    )
    end = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True)
    assert end.stdout == "sarif\ncomplete -o default -F _pawl pawl\n"


@pytest.mark.parametrize("text", ["", "hello", "- a", "a: [", "{}"])
def test_what_is_no_kubeconfig_is_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "k").write_text(text)
    code, _, err = pawl("init", "-", "-o", "-", "-k", "k", given=HOSTS, at=tmp_path)
    assert (code, err) == (4, "pawl: k:\n  - is no kubeconfig: see `kubectl config view`\n")


def test_a_host_list_out_of_a_spreadsheet_has_its_mark_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(KUBECONFIG)
    (tmp_path / "hosts.csv").write_text(HOSTS.replace("\n", "\r\n"), encoding="utf-8-sig")
    _, out, _ = pawl("init", "hosts.csv", "-o", "-", "-k", "k", at=tmp_path)
    assert "- name: cp-1\n" in out


def test_a_bug_in_pawl_is_no_finding_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own exit code for a traceback is 1, which a pipeline reads as findings."""

    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("so it is")

    monkeypatch.setattr("pawl.interfaces.cli.main.app", broken)
    with pytest.raises(SystemExit) as ended:
        main(["versions", "--current", "1.36"])
    assert ended.value.code == 4
    said = capsys.readouterr().err
    assert "ZeroDivisionError: so it is" in said
    assert "bug in pawl" in said


def test_a_reader_that_goes_away_makes_nothing_clean(tmp_path: Path) -> None:
    """`pawl lint … | head` under `set -o pipefail`: more than a pipe holds, and nobody reads on."""
    (tmp_path / "x.yaml").write_text(f"{OLD}---\n" * 2000)
    linting = subprocess.Popen(
        [sys.executable, "-m", "pawl", "lint", "--kube-version", "1.37", "x.yaml"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert linting.stdout
    assert linting.stderr
    linting.stdout.close()
    said = linting.stderr.read()
    assert (linting.wait(), said) == (141, b"")
    linting.stderr.close()


@pytest.mark.parametrize(
    "argv", [["--version"], ["lint", "--help"], ["versions", "--current", "1.36"]]
)
def test_little_output_to_nobody_is_told_apart_from_findings_too(argv: list[str]) -> None:
    """It is still buffered when the command is done: Python alone would exit with 1 or 120."""
    end = subprocess.Popen(
        [sys.executable, "-m", "pawl", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONUNBUFFERED=""),
    )  # fmt: skip
    assert end.stdout
    end.stdout.close()
    assert end.communicate()[1] == b""
    assert end.returncode == 141


@pytest.mark.parametrize("argv", [["--version"], ["knowledge", "releases"], ["config", "schema"]])
def test_a_full_disk_is_no_bug_of_pawl(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        end = subprocess.run(
            [sys.executable, "-m", "pawl", *argv], stdout=full, stderr=subprocess.PIPE, text=True,
            check=False, env=dict(os.environ, PYTHONUNBUFFERED=""),
        )  # fmt: skip
    assert (end.returncode, end.stderr) == (4, "pawl: the output: No space left on device\n")


def test_a_terminal_that_lacks_a_letter_gets_its_escape(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(OLD.replace("name: c", "name: Zoë"), encoding="utf-8")
    end = subprocess.run(
        [sys.executable, "-m", "pawl", "lint", "--kube-version", "1.37", "x.yaml"],
        capture_output=True, check=False, cwd=tmp_path,
        env=dict(os.environ, PYTHONIOENCODING="ascii"),
    )  # fmt: skip
    assert (end.returncode, end.stderr) == (2, b"")
    assert rb"CronJob Zo\xeb" in end.stdout


def test_a_closed_standard_output_leaves_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(OLD)
    line = f"{sys.executable} -m pawl lint --kube-version 1.37 x.yaml >&-"
    end = subprocess.run(["sh", "-c", line], capture_output=True, check=False, cwd=tmp_path)
    assert (end.returncode, end.stderr) == (2, b"")


def test_a_narrow_terminal_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    lines([["certificates.k8s.io", "ClusterTrustBundle", "v1alpha1"]], ("group", "kind", "version"))
    said = capsys.readouterr().out
    assert "…" not in said
    columns = [line.split() for line in said.splitlines()[1:]]
    assert "".join(c[0] for c in columns).startswith("certificates")


TABLES = (
    ["artifact", "list"],
    ["knowledge", "releases"],
    ["lab", "list"],
    ["versions", "--current", "1.36.0"],
    ["workloads", "--from", "-"],
)


@pytest.mark.parametrize("argv", TABLES)
def test_what_prints_a_table_prints_yaml_and_json_of_the_same(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (
        "PAWL_CACHE",
        "XDG_CACHE_HOME",
        "PAWL_LAB_ROOT",
    ):  # this machine's own changes between two looks
        monkeypatch.setenv(name, str(tmp_path))
    given = OLD.replace("beta1", "")
    (code, js, _), (same, ya, _) = (
        pawl(*argv, "-o", kind, given=given) for kind in ("json", "yaml")
    )
    assert code == same
    assert yaml.safe_load(ya) == json.loads(js)


def test_every_command_with_a_table_takes_yaml() -> None:
    """A table is for people; who asks for one as data should not have to know which kind it has."""
    seen = set()
    for name, choices in _outputs(app):
        seen.add(name)
        if "table" in choices and name not in LIVE:
            assert {"json", "yaml"} <= set(choices), f"pawl {name} -o takes {choices}"
    assert {"status", "runs", "workloads", "inventory", "probe status", "lab list"} <= seen


LIVE = {"run", "resume", "rollback"}
"""Their table is a live view; `json` is the events, one a line."""


def _outputs(command: App, path: str = "") -> Iterator[tuple[str, tuple[object, ...]]]:
    for word in command:
        if word.startswith("-"):
            continue
        below, name = command[word], f"{path} {word}".strip()
        if below.default_command is not None:
            hints = get_type_hints(below.default_command)
            if "output" in hints:
                yield name, get_args(hints["output"])
        yield from _outputs(below, name)
