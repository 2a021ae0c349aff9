"""A lab of this machine, with the artefact resolver behind it."""

from __future__ import annotations

import os
import sys

import anyio

from pawl.adapters.artifacts.factory import artifact_store, cache_home
from pawl.core.config import ArtifactsConfig
from pawl.interfaces.artifact_progress import ProgressLines
from pawl.lab.cluster import Lab
from pawl.ports.artifacts import Artifact


def open_lab(name: str) -> Lab:
    """What is fetched for it is told on standard error. PAWL_LAB_ARTIFACTS is looked into first."""
    store = artifact_store(ArtifactsConfig(local=os.environ.get("PAWL_LAB_ARTIFACTS", "")))

    def fetch(product: str, version: str) -> Artifact:
        async def get() -> Artifact:
            with ProgressLines() as report:
                return await store.resolver.fetch(product, version, progress=report)

        return anyio.run(get)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    return Lab(name, fetch=fetch, cache=cache_home() / "lab", say=say)
