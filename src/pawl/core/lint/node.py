"""A parsed document with the line of every value: what rules look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Node:
    """`value` is a scalar as text, a dict of nodes or a list of nodes; `line` counts from 1."""

    value: str | dict[str, Node] | list[Node] | None
    line: int

    def get(self, *keys: str) -> Node | None:
        here: Node | None = self
        for key in keys:
            if here is None or not isinstance(here.value, dict):
                return None
            here = here.value.get(key)
        return here

    def text(self, *keys: str) -> str:
        found = self.get(*keys)
        return found.value if found is not None and isinstance(found.value, str) else ""

    def items(self) -> list[Node]:
        return self.value if isinstance(self.value, list) else []

    @property
    def empty(self) -> bool:
        return self.value is None or self.value in ("", {}, [])


def reach(node: Node, path: str) -> Iterator[Node]:
    """The nodes at "spec.volumes[].ephemeral.readOnly"; "[]" is every item, "{}" every value."""
    yield from _reach(node, path.split("."))


def _reach(node: Node, parts: list[str]) -> Iterator[Node]:
    if not parts:
        yield node
        return
    head, rest = parts[0], parts[1:]
    found = node.get(head.rstrip("[]{}"))
    if found is None:
        return
    if head.endswith("[]"):
        for item in found.items():
            yield from _reach(item, rest)
    elif head.endswith("{}"):
        if isinstance(found.value, dict):
            for value in found.value.values():
                yield from _reach(value, rest)
    else:
        yield from _reach(found, rest)


def plain(value: object, line: int) -> Node:
    """Python data as nodes that all stand at one line."""
    if isinstance(value, dict):
        return Node({str(k): plain(v, line) for k, v in value.items()}, line)
    if isinstance(value, list):
        return Node([plain(v, line) for v in value], line)
    return Node(None if value is None else str(value), line)
