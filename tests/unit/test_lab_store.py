"""Files of a lab, while somebody else changes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pawl.lab.spec import MachineSpec
from pawl.lab.store import LabDir, MachineDir


def test_a_machine_that_is_removed_while_all_are_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = LabDir(tmp_path, "x")
    for slot, name in enumerate(("etcd-1", "etcd-2")):
        spec = MachineSpec(name=name, role="etcd", slot=slot, versions={"etcd": "3.5.33"})
        lab.machine(name).save(spec)
    read = MachineDir.read

    def removed_first(machine: MachineDir) -> MachineSpec:
        if machine.name == "etcd-1":
            machine.spec_file.unlink()
        return read(machine)

    monkeypatch.setattr(MachineDir, "read", removed_first)
    assert [m.name for m in lab.machines()] == ["etcd-2"]
