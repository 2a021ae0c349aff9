"""Binaries from a directory that somebody else filled.

DIR/<binary>, DIR/bin/<binary> and the layout of the hosts, DIR/<component>/<version>/<binary>, are
looked at. Where a SHA256SUMS file (the format of sha256sum) lies beside the binaries, they must
match it.
"""

from __future__ import annotations

import re
from pathlib import Path

import anyio

from pawl.adapters.artifacts.catalog import Component
from pawl.adapters.artifacts.files import sha256_of
from pawl.adapters.artifacts.source import GivesWay, Provided, Request
from pawl.core.errors import ArtifactError
from pawl.ports.artifacts import Report

_SUM = re.compile(r"^([0-9a-fA-F]{64})[ \t]+\*?(\S.*)$")


def parse_sums(text: str) -> dict[str, str]:
    """File name → lower-case SHA-256 from the lines that sha256sum writes."""
    found = {}
    for line in text.splitlines():
        if match := _SUM.match(line.strip()):
            found[match[2].strip().removeprefix("./")] = match[1].lower()
    return found


class LocalDirectory:
    name = "local"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def place(self) -> str:
        return str(self._directory)

    async def provide(self, request: Request, into: Path, report: Report) -> Provided:
        return await anyio.to_thread.run_sync(self._find, request)

    def _find(self, request: Request) -> Provided:
        if not self._directory.is_dir():
            raise GivesWay(f"{self._directory} is not a directory")
        served: Provided = {}
        for component in request.components:
            if files := self._component(component, request):
                served[component.name] = files
        if not served:
            raise GivesWay(f"{self._directory} holds none of {request}")
        return served

    def _component(self, component: Component, request: Request) -> dict[str, Path]:
        versioned = self._directory / component.name / str(request.version)
        for directory in (versioned, self._directory, self._directory / "bin"):
            files = {name: directory / name for name in component.binaries}
            if all(path.is_file() for path in files.values()):
                self._check_sums(directory, files)
                return files
        return {}

    def _check_sums(self, directory: Path, files: dict[str, Path]) -> None:
        sums_file = directory / "SHA256SUMS"
        if not sums_file.is_file():
            return
        sums = parse_sums(sums_file.read_text(errors="replace"))
        for name, path in files.items():
            if name in sums and (actual := sha256_of(path)) != sums[name]:
                raise ArtifactError(
                    f"{path} has SHA-256 {actual}, but {sums_file} says {sums[name]}. "
                    "Nothing was taken from there: replace the file, or the wrong line."
                )
