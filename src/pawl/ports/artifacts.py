"""Where binaries come from, as the engine and the lab see it.

An artefact is all binaries of one component at one version, each verified against its SHA-256 at
the moment it is handed out. Who served it (a local path, the cache, the official release, a build
from Go modules) is said, but makes no difference to the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from pawl.core.version import Version


class ArtifactFile(msgspec.Struct, frozen=True, kw_only=True):
    """One binary. `path` lies in the cache, is named by content and must not be written to."""

    name: str
    path: Path
    sha256: str
    size: int


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A component at a version. A bundle such as "kubernetes" holds the files of its parts.

    `source` names who served it when it entered the cache: "local", "download" or "build", with
    the place after it.
    """

    component: str
    version: Version
    files: tuple[ArtifactFile, ...]
    source: str

    def file(self, name: str) -> ArtifactFile:
        for candidate in self.files:
            if candidate.name == name:
                return candidate
        raise KeyError(f"{self.component} {self.version} holds no binary {name}")


class ArtifactProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One line for a person. `done` of `total` units; `eta` in seconds, where it is known.

    `passing` marks a line that the next one replaces (a counter), as opposed to news that stays.
    """

    text: str
    done: int = 0
    total: int = 0
    eta: float | None = None
    passing: bool = False


Report = Callable[[ArtifactProgress], None]


def silent(_: ArtifactProgress) -> None:
    """A `Report` for callers that do not show progress."""


class Artifacts(Protocol):
    """The one resolver: asks its sources in order until one serves."""

    async def fetch(
        self, component: str, version: Version | str, *, progress: Report = silent
    ) -> Artifact:
        """All binaries of a component ("kubelet", "etcd") or bundle ("kubernetes"), verified.

        Raises ArtifactError with a sentence for each source when none can serve, and at once,
        without asking the next source, when a published checksum does not match.
        """
        ...

    async def held(self, component: str) -> tuple[Version, ...]:
        """Versions that can be had without network or build, oldest first."""
        ...
