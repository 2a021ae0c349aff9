"""Which APIs a set of manifests uses, as evidence for judging release notes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from pawl.adapters.manifests.linting import SKIPPED, SUFFIXES
from pawl.adapters.manifests.trees import Unparsable, from_json, from_yaml, stream, unrendered, utf8
from pawl.core.changelog.judge import Use
from pawl.core.errors import ConfigError
from pawl.core.lint.glance import Lines, blank, look, split
from pawl.core.lint.node import Node

_IS_TEMPLATE = "is a template: give what it renders to"


def uses(paths: Sequence[str]) -> tuple[Use, ...]:
    """Every (apiVersion, kind) below `paths`, with its file and line. Raises ConfigError for a
    file that cannot be parsed: an inventory with holes would rule out what it did not see."""
    return tuple(use for path in paths for use in _of(path))


def _of(path: str) -> Iterator[Use]:
    if not os.path.isdir(path):
        yield from _file(path)
        return
    seen: set[str] = set()
    for directory, below, names in os.walk(path, followlinks=True):
        real = os.path.realpath(directory)
        if real in seen:  # a link that leads round in a circle
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(d for d in below if d not in SKIPPED)
        for name in sorted(names):
            file = os.path.join(directory, name)
            if name.endswith(SUFFIXES):
                if os.path.exists(file) and not os.path.isfile(file):
                    raise ConfigError(file, ["is no regular file"])
                yield from _file(file)


def _file(path: str) -> Iterator[Use]:
    try:
        with open(path, "rb") as handle:
            data = utf8(handle.read())
        if data.lstrip()[:1] in (b"{", b"["):
            yield from _json(data, path)
            return
        lines = Lines(data)
        for chunk in split(data):
            seen = look(chunk)
            if seen.api_version and not seen.kind.endswith("List"):
                yield Use(seen.api_version, seen.kind, f"{path}:{lines.at(seen.at)}")
            elif not blank(chunk):
                first = lines.at(chunk.start)
                try:
                    nodes = list(from_yaml(chunk.text, first))
                except Unparsable as error:
                    raise Unparsable(str(error), first + error.line - 1) from error
                for node in nodes:
                    if unrendered(node):
                        raise Unparsable(_IS_TEMPLATE, node.line)
                    yield from _nodes(node, path)
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from error
    except Unparsable as error:
        raise ConfigError(path, [f"line {error.line}: {error}"]) from error


def _json(data: bytes, path: str) -> Iterator[Use]:
    """JSON documents in a row, or YAML in flow style. Without the word apiVersion none is an
    object."""
    if b"apiVersion" not in data:
        return
    try:
        parts = list(stream(data))
    except Unparsable as error:
        nodes = [top for document in from_yaml(data) for top in document.items() or [document]]
        if not (found := [use for node in nodes for use in _nodes(node, path)]):
            raise error  # what YAML makes of a comment in JSON
        yield from found
        return
    for part, first in parts:
        for node, api, kind, _ in from_json(part):
            if kind:
                yield Use(api, kind, f"{path}:{first - 1 + node.line}")


def _nodes(node: Node, path: str) -> Iterator[Use]:
    kind = node.text("kind")
    if kind.endswith("List") and (items := node.get("items")):
        for item in items.items():
            yield from _nodes(item, path)
    elif kind and node.text("apiVersion"):
        yield Use(node.text("apiVersion"), kind, f"{path}:{node.line}")
