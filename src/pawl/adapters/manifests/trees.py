"""YAML and JSON into nodes that know their lines, by libyaml where it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from pawl.core.lint.glance import Lines
from pawl.core.lint.node import Node, plain

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
    """Whether apiVersion or kind is no text: YAML takes `{{ x }}` for a mapping."""
    told = (node.get("apiVersion"), node.get("kind"))
    return any(n is not None and isinstance(n.value, dict) for n in told)


def from_yaml(text: bytes, first_line: int = 1) -> Iterator[Node]:
    """The documents of a YAML (or JSON) text. Raises Unparsable."""
    try:
        for document in yaml.compose_all(text, Loader=_Loader):
            if document is not None:
                yield _node(document, first_line, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unparsable(error.problem or str(error), (mark.line if mark else 0) + 1) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unparsable(str(error).splitlines()[0], 1) from error


def _node(node: yaml.Node, first: int, above: tuple[int, ...]) -> Node:
    line = node.start_mark.line + first
    if id(node) in above:  # an alias to its own ancestor
        return Node(None, line)
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    merged = _node(source, first, above).value
                    if isinstance(merged, dict):
                        found = {**merged, **found}
            elif isinstance(key, yaml.ScalarNode):
                found[str(key.value)] = _node(value, first, above)
        return Node(found, line)
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(item, first, above) for item in node.value], line)
    if node.tag == "tag:yaml.org,2002:null":
        return Node(None, line)
    return Node(str(node.value), line)


def from_json(data: bytes) -> Iterator[tuple[Node, str, str, bytes]]:
    """The objects of a JSON text, lists expanded, as (node, apiVersion, kind, bytes).

    JSON of an API server is big and mostly uninteresting, so an object's node is the head only
    (apiVersion, kind, metadata); who needs more parses the bytes. Raises Unparsable.
    """
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError as error:
        raise Unparsable(f"no object of the API: {error}", 1) from error
    except msgspec.DecodeError as error:
        raise Unparsable(f"not JSON: {error}", 1) from error
    if head.kind.endswith("List") and head.items is not None:
        at, lines = 0, Lines(data)
        for raw in head.items:
            item = bytes(raw)
            at = data.find(item, at)
            line = lines.at(max(at, 0))
            at = max(at, 0) + len(item)
            try:
                inner = msgspec.json.decode(item, type=_Head)
            except msgspec.DecodeError as error:
                raise Unparsable(f"an item is no object: {error}", line) from error
            api = inner.apiVersion or head.apiVersion
            kind = inner.kind or head.kind.removesuffix("List")
            yield _head_node(inner, api, kind, line), api, kind, item
    else:
        yield _head_node(head, head.apiVersion, head.kind, 1), head.apiVersion, head.kind, data


def stream(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The texts of several JSON documents in a row, each with its first line. Raises Unparsable."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unparsable("not UTF-8", 1) from error
    decoder, at, lines = json.JSONDecoder(), 0, Lines(data)
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        line = lines.at(len(text[:at].encode()))
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise Unparsable(f"not JSON: {error}", line) from error
        yield text[at:end].encode(), line
        at = end


class _Head(msgspec.Struct):
    apiVersion: str = ""
    kind: str = ""
    metadata: dict[str, Any] | None = None
    items: list[msgspec.Raw] | None = None


def _head_node(head: _Head, api: str, kind: str, line: int) -> Node:
    return plain({"apiVersion": api, "kind": kind, "metadata": head.metadata or {}}, line)
