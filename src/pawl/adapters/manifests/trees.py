"""YAML and JSON into nodes that know their lines, by libyaml where it is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import yaml

from pawl.adapters.manifests.growing import Tree, UnknownAlias
from pawl.adapters.yaml_file import no_text
from pawl.core.lint.glance import Lines
from pawl.core.lint.node import Node, plain

T = TypeVar("T")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unparsable(Exception):
    """`line` counts from 1 within the text that was given; the message is the parser's."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def utf8(data: bytes) -> bytes:
    """The bytes of a file as UTF-8: UTF-16 is what `>` of Windows PowerShell writes. Raises
    Unparsable."""
    if not data.startswith(_UTF16):
        return data
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        raise Unparsable("is not UTF-16, though it begins so", 1) from error


def unrendered(node: Node) -> bool:
    """Whether apiVersion or kind is still to be filled in: YAML takes a bare `{{ x }}` for a
    mapping, and one in quotes for a text."""
    told = (n.value for key in ("apiVersion", "kind") if (n := node.get(key)))
    return any(isinstance(v, dict) or (isinstance(v, str) and "{{" in v) for v in told)


def from_yaml(text: bytes, first_line: int = 1) -> Iterator[Node]:
    """The documents of a YAML (or JSON) text. Raises Unparsable.

    Built from the parser's events, without recursion, and an alias is the node that it names: deep
    nesting and a few lines that alias each other a million times cost what their bytes cost.
    """
    tree = Tree(first_line)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if (document := tree.add(event)) is not None and document.value is not None:
                yield document
    except UnknownAlias as error:
        raise Unparsable(str(error), error.line - first_line + 1) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unparsable(error.problem or str(error), (mark.line if mark else 0) + 1) from error
    except yaml.reader.ReaderError as error:
        line = text.count(b"\n", 0, error.position) + 1
        raise Unparsable(no_text(error), line) from error
    except yaml.YAMLError as error:
        raise Unparsable(str(error).splitlines()[0], 1) from error


def from_json(data: bytes) -> Iterator[tuple[Node, str, str, bytes]]:
    """The objects of a JSON text, lists expanded, as (node, apiVersion, kind, bytes).

    JSON of an API server is big and mostly uninteresting, so an object's node is the head only
    (apiVersion, kind, metadata); who needs more parses the bytes. Raises Unparsable.
    """
    head = _decoded(data, _Head, 1)
    if head.kind.endswith("List") and head.items is not None:
        at, lines = 0, Lines(data)
        for raw in head.items:
            item = bytes(raw)
            at = data.find(item, at)
            line = lines.at(max(at, 0))
            at = max(at, 0) + len(item)
            inner = _decoded(item, _Head, line)
            api = inner.apiVersion or head.apiVersion
            kind = inner.kind or head.kind.removesuffix("List")
            yield _head_node(inner, api, kind, line), api, kind, item
    else:
        yield _head_node(head, head.apiVersion, head.kind, 1), head.apiVersion, head.kind, data


def whole(raw: bytes, api_version: str, kind: str, line: int) -> Node:
    """All of one JSON object of `from_json`, at one line. Raises Unparsable."""
    try:
        value = json.loads(raw)  # takes numbers that are too large for msgspec
        return plain({**value, "apiVersion": api_version, "kind": kind}, line)
    except UnicodeDecodeError as error:
        raise Unparsable("not UTF-8", line) from error
    except ValueError as error:
        raise Unparsable(f"not JSON: {error}", line) from error
    except RecursionError as error:
        raise Unparsable(_DEEP, line) from error


_DEEP = "nested too deeply"


def _decoded(data: bytes, what: type[T], line: int) -> T:
    try:
        return msgspec.json.decode(data, type=what)
    except msgspec.ValidationError as error:
        raise Unparsable(f"no object of the API: {error}", line) from error
    except msgspec.DecodeError as error:
        raise Unparsable(f"not JSON: {error}", line) from error
    except UnicodeDecodeError as error:
        raise Unparsable("not UTF-8", line) from error
    except RecursionError as error:
        raise Unparsable(_DEEP, line) from error


def stream(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The texts of several JSON documents in a row, each with its first line. Raises Unparsable."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unparsable("not UTF-8", 1) from error
    decoder, at, line = json.JSONDecoder(), 0, 1
    while found := _SOMETHING.search(text, at):
        line += text.count("\n", at, found.start())
        try:
            _, end = decoder.raw_decode(text, found.start())
        except ValueError as error:
            raise Unparsable(f"not JSON: {error}", line) from error
        except RecursionError as error:
            raise Unparsable(_DEEP, line) from error
        yield text[found.start() : end].encode(), line
        line += text.count("\n", found.start(), end)
        at = end


_SOMETHING = re.compile(r"\S")


class _Head(msgspec.Struct):
    apiVersion: str = ""
    kind: str = ""
    metadata: dict[str, Any] | None = None
    items: list[msgspec.Raw] | None = None


def _head_node(head: _Head, api: str, kind: str, line: int) -> Node:
    return plain({"apiVersion": api, "kind": kind, "metadata": head.metadata or {}}, line)
