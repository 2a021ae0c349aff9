"""Which APIs a set of manifests uses, as evidence for judging release notes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from pawl.adapters.manifests.linting import SKIPPED, SUFFIXES
from pawl.adapters.manifests.trees import Unparsable, from_json, from_yaml, unrendered, utf8
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
    for directory, below, names in os.walk(path):
        below[:] = sorted(d for d in below if d not in SKIPPED)
        for name in sorted(names):
            if name.endswith(SUFFIXES):
                yield from _file(os.path.join(directory, name))


def _file(path: str) -> Iterator[Use]:
    try:
        with open(path, "rb") as handle:
            data = utf8(handle.read())
        if data.lstrip()[:1] in (b"{", b"["):
            for node, api, kind, _ in from_json(data):
                yield Use(api, kind, f"{path}:{node.line}")
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


def _nodes(node: Node, path: str) -> Iterator[Use]:
    kind = node.text("kind")
    if kind.endswith("List") and (items := node.get("items")):
        for item in items.items():
            yield from _nodes(item, path)
    elif kind and node.text("apiVersion"):
        yield Use(node.text("apiVersion"), kind, f"{path}:{node.line}")
