"""`pawl lab` where no lab is: what is said of names, and of wishes that are not granted."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pawl.interfaces.cli.lab import kept
from pawl.interfaces.cli.main import main
from pawl.lab.spec import LabSpec

SMALL = LabSpec(
    name="small",
    index=0,
    versions={"kubernetes": "1.36.0", "etcd": "3.5.33"},
    control_planes=1,
    workers=1,
)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PAWL_LAB_ROOT", str(tmp_path))


def pawl(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


@pytest.mark.parametrize(
    "argv",
    [["ssh", "etcd-1"], ["machine", "reboot", "etcd-1"], ["machine", "power-off", "etcd-1"]],
)
def test_a_machine_of_no_lab_is_told_by_the_lab(
    argv: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = pawl(capsys, "lab", *argv, "--name", "typo")
    assert (code, "there is no lab 'typo'" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_no_labs_are_an_empty_list_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert pawl(capsys, "lab", "list") == (0, "", "no labs; `pawl lab up` makes one\n")
    assert pawl(capsys, "lab", "list", "-o", "json")[1].strip() == "[]"


def test_an_old_lab_says_what_it_does_not_become() -> None:
    asked = replace(SMALL, workers=2, control_planes=3)
    (line,) = kept(SMALL, asked)  # three control planes are the default: nobody asked for them
    assert line.endswith("workers 1, and not 2")
    newer = replace(SMALL, versions={"kubernetes": "1.37.0", "etcd": "3.5.33"})
    assert "kubernetes 1.36.0, and not 1.37.0" in kept(SMALL, newer)[0]
    assert kept(SMALL, SMALL) == []
