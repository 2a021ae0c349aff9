"""What a source of binaries is: somebody who may serve, or give way and say why.

The contract, which tests/conformance/test_artifact_sources.py holds every source to:
- `provide` puts complete binaries into the given directory, or nothing that anybody will use;
- it returns only components that were asked for, each with all of its binaries;
- it raises `GivesWay` when it cannot serve, within 5 s when the reason is that it cannot be
  reached, so that the next source is asked;
- it raises ArtifactError, which ends the whole fetch, when what it got contradicts a published
  checksum: a wrong checksum is no reason to look elsewhere quietly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pawl.adapters.artifacts.catalog import Component, Platform
from pawl.core.version import Version
from pawl.ports.artifacts import Report


class GivesWay(Exception):
    """This source cannot serve; `str(error)` is the reason, a clause without a full stop."""


@dataclass(frozen=True, slots=True)
class Request:
    """Components of one project at one version for one platform."""

    components: tuple[Component, ...]
    version: Version
    platform: Platform

    @property
    def project(self) -> str:
        return self.components[0].project

    def without(self, served: Sequence[str]) -> Request | None:
        """What is left to be asked for, or None when all was served."""
        rest = tuple(c for c in self.components if c.name not in served)
        return Request(rest, self.version, self.platform) if rest else None

    def __str__(self) -> str:
        return f"{', '.join(c.name for c in self.components)} {self.version}"


Provided = dict[str, dict[str, Path]]
"""Component name → binary name → file."""


class Source(Protocol):
    name: str
    """"local", "download" or "build": what `sources` in pawl.yaml and `--source` call it."""

    @property
    def place(self) -> str:
        """Where it looks: a path or an address, for the line that says who served."""
        ...

    async def provide(self, request: Request, into: Path, report: Report) -> Provided: ...
