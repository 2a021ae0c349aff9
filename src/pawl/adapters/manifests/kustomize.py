"""Kustomizations beside manifests: what of them lies there as files, and what only they build."""

from __future__ import annotations

import functools
import os
import re

from pawl.adapters.manifests.trees import Unparsable, from_yaml
from pawl.core.lint.node import reach

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_BUILDS = re.compile(
    rb"helmChart|://|github\.com/|^(?:patches|replacements|generators|transformers)", re.M
)
_PATCHES = ("patches[].path", "patchesStrategicMerge[]", "patchesJson6902[].path")
_ABOVE = 3
"""Directories, the file's own included, that a kustomization which names it may stand in."""


def builds(path: str, data: bytes) -> bool:
    """Whether it is a kustomization with something that no file of it holds as it will be applied:
    a patch, a chart, a remote resource."""
    return os.path.basename(path) in NAMES and bool(_BUILDS.search(data))


def is_patch(path: str) -> bool:
    """Whether a kustomization names the file as a patch: a part of an object, whose other fields
    stand elsewhere."""
    real = os.path.realpath(path)
    directory = os.path.dirname(real)
    for _ in range(_ABOVE):
        if real in _patches(directory):
            return True
        directory = os.path.dirname(directory)
    return False


@functools.cache
def _patches(directory: str) -> frozenset[str]:
    found = set()
    for name in NAMES:
        try:
            with open(os.path.join(directory, name), "rb") as handle:
                documents = list(from_yaml(handle.read()))
        except (OSError, Unparsable):
            continue
        named = [n.value for d in documents for p in _PATCHES for n in reach(d, p)]
        paths = [os.path.join(directory, word) for word in named if isinstance(word, str)]
        found |= {os.path.realpath(path) for path in paths if "\n" not in path}
    return frozenset(found)
