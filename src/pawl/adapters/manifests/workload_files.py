"""Workloads out of files: manifests, or what `kubectl get -A -o yaml` printed."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pawl.core.errors import ConfigError
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.gather import PARTS, Gatherer

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SUFFIXES = (".yaml", ".yml", ".json")
CLUSTER_WIDE = (
    "Namespace", "Node", "CSINode", "CSIDriver", "StorageClass", "PersistentVolume",
    "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
)  # fmt: skip
STDIN = "standard input"
_FLUX = ("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/")


def read_workloads(paths: Iterable[str], taken_at: float = 0.0) -> Workloads:
    """Every object of a kind that matters, of all files; "-" is standard input.

    A file that cannot be read, an object of a known kind that cannot be decoded, and a path that
    holds no object at all (a wrong directory, a pipe that broke) are named in `unread`. Objects
    without a namespace are taken to be in "default"."""
    gatherer = Gatherer(taken_at)
    found: dict[str, list[Any]] = defaultdict(list)
    for path in paths:
        items = list(_items(path, gatherer))
        if not any(item.get("kind") for _, item in items):
            gatherer.unread(path if path != "-" else STDIN, "holds no Kubernetes object")
        for name, item in items:
            kind = item.get("kind")
            if not isinstance(kind, str) or kind not in PARTS or not _ours(item):
                continue
            meta = item["metadata"] = item.get("metadata") or {}
            if not isinstance(meta, dict) or not (meta.get("name") or meta.get("generateName")):
                gatherer.unread(f"{name}: {kind}", "has no name")
                continue
            if kind not in CLUSTER_WIDE:
                meta.setdefault("namespace", "default")
            try:
                found[kind].append(msgspec.convert(item, PARTS[kind]))
            except msgspec.ValidationError as error:
                gatherer.unread(f"{name}: {kind} {meta.get('name', '?')}", f"{error}")
    for kind in PARTS:
        gatherer.add(kind, found[kind])
    return gatherer.facts()


def _items(path: str, gatherer: Gatherer) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object below a path, with the file it stands in."""
    for name, data in _files([path], gatherer):
        try:
            documents = list(yaml.load_all(data, Loader=_Loader))
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: the 99th of May
            gatherer.unread(name, f"is not YAML: {str(error).splitlines()[-1].strip()}")
            continue
        for item in _objects(documents):
            yield name, item


def _ours(item: dict[str, Any]) -> bool:
    """Two kinds share their names with others: kustomize's own file, and Flux's objects."""
    if item["kind"] in ("Kustomization", "HelmRelease"):
        return str(item.get("apiVersion", "")).startswith(_FLUX)
    return True


def _files(paths: Iterable[str], gatherer: Gatherer) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path == "-":
            yield STDIN, sys.stdin.buffer.read()
            continue
        place = Path(path)
        if not place.exists():
            raise ConfigError(path, ["no such file or directory"])
        files = [place]
        if place.is_dir():
            files = sorted(f for f in place.rglob("*") if f.suffix in SUFFIXES and f.is_file())
        for file in files:
            try:
                yield str(file), file.read_bytes()
            except OSError as error:
                gatherer.unread(str(file), f"cannot be read: {error.strerror}")


def _objects(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if not isinstance(document, dict):
            continue
        kind = str(document.get("kind", ""))
        if kind.endswith("List") and isinstance(document.get("items"), list):
            for item in document["items"]:
                if isinstance(item, dict):
                    item.setdefault("kind", kind.removesuffix("List"))
                    yield from _objects([item])
        else:
            yield document
