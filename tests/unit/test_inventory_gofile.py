"""Go programs in files and image archives."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from support_elf import MODULES, elf, inline

from pawl.adapters.inventory import gofile
from pawl.core.errors import ConfigError
from pawl.interfaces.cli.inventory import programs


def test_binaries_in_an_image_archive(tmp_path: Path) -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w:gz") as inner:
        for name, data in (("app/controller", elf(inline("go1.25.1", MODULES))),
                           ("bin/other", elf(b"no build information"))):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            inner.addfile(info, io.BytesIO(data))
    image = tmp_path / "image.tar"
    with tarfile.open(image, "w") as outer:
        info = tarfile.TarInfo("blobs/sha256/ab")
        info.size = len(layer.getvalue())
        outer.addfile(info, io.BytesIO(layer.getvalue()))
    (found,) = gofile.binaries(image)
    assert found.path == f"{image}:blobs/sha256/ab:app/controller"
    assert (found.client_go, found.main_version) == ("v0.34.1", "v1.2.3")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n" * 20)
    with pytest.raises(ConfigError, match="no ELF"):
        gofile.binaries(script)


def test_one_program_that_is_not_go_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(elf(inline("go1.25.1", MODULES)))
    bad.write_bytes(elf(b"no build information"))
    assert programs((good,), "json") == 0
    capsys.readouterr()
    assert programs((bad, good), "json") == 3
    told = capsys.readouterr()
    assert [b["path"] for b in json.loads(told.out)] == [str(good)]
    assert str(bad) in told.err
    with pytest.raises(ConfigError):
        programs((bad,), "json")
