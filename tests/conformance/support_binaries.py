"""Real binaries for the conformance suites, out of the artefact cache; never fetched here."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from pawl.core.errors import PawlError


def binaries(component: str, version: str, into: Path) -> Path:
    """A directory with the component's binaries, or skip when the cache does not hold them."""
    if not (Path(os.environ.get("PAWL_CACHE", Path.home() / ".cache/pawl")) / "artifacts").is_dir():
        pytest.skip("no artefact cache; `pawl artifact fetch` fills it")
    from pawl.adapters.artifacts.factory import artifact_store

    async def fetch() -> None:
        artifact = await artifact_store().resolver.fetch(component, version)
        into.mkdir(parents=True, exist_ok=True)
        for file in artifact.files:
            target = into / file.name
            try:
                os.link(file.path, target)
            except OSError:
                shutil.copy2(file.path, target)

    async def held() -> bool:
        versions = await artifact_store().resolver.held(component)
        return version in [str(v) for v in versions]

    try:
        if not asyncio.run(held()):
            pytest.skip(f"{component} {version} is not in the artefact cache")
        asyncio.run(fetch())
    except PawlError as error:
        pytest.skip(str(error))
    return into
