"""The second derivation: which kinds the schema sets of the package kubernetes-validate define.

Two releases of it together cover 1.11 to 1.37. They are read as data; the package's code is not
used. The result is committed as `extracts/validate.json`: kind -> minors that define it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("kubernetes-validate==1.25.2", "kubernetes-validate==1.37.0")
_PLACE = re.compile(r"kubernetes-json-schema/v1\.(\d+)\.\d+-local/_definitions\.json$")


def kinds() -> dict[str, list[int]]:
    """ "group/version/Kind" -> minors; Lists and the options that name every group are left out."""
    found: dict[str, set[int]] = {}
    for number, document in _documents():
        definitions: dict[str, Any] = document.get("definitions") or document["$defs"]
        for definition in definitions.values():
            entries = definition.get("x-kubernetes-group-version-kind", ())
            if len(entries) == 1 and not entries[0]["kind"].endswith("List"):
                name = "{group}/{version}/{kind}".format(**entries[0])
                found.setdefault(name, set()).add(number)
    return {name: sorted(minors) for name, minors in sorted(found.items())}


def _documents() -> Iterator[tuple[int, dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as place:
        for package in PACKAGES:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", place, package],
                check=True,
            )
        for file in sorted(Path(place).iterdir()):
            if file.suffix == ".whl":
                with zipfile.ZipFile(file) as archive:
                    for name in archive.namelist():
                        if match := _PLACE.search(name):
                            yield int(match[1]), json.loads(archive.read(name))
            else:
                with tarfile.open(file) as tar:
                    for member in tar:
                        if match := _PLACE.search(member.name):
                            handle = tar.extractfile(member)
                            assert handle is not None
                            yield int(match[1]), json.load(handle)
