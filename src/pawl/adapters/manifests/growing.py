"""A YAML document as nodes, grown from the events of a parser: no recursion, however deep it is."""

from __future__ import annotations

import yaml

from pawl.core.lint.node import Node

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NULL_TAG = "tag:yaml.org,2002:null"


class UnknownAlias(Exception):
    """An alias that nothing stands for, and its line."""

    def __init__(self, name: str | None, line: int) -> None:
        self.line = line
        super().__init__(f"found undefined alias {name!r}")


class Tree:
    """One document after the other. Raises UnknownAlias."""

    def __init__(self, first_line: int) -> None:
        self._first = first_line
        self._begin()

    def _begin(self) -> None:
        self._root = Node(None, self._first)
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}

    def add(self, event: yaml.Event) -> Node | None:
        """The document that is complete with this event, None before."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(Node({}, self._line(event)), event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(Node([], self._line(event)), event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            if done.anchor:
                self._anchors[done.anchor] = done.node
            self._put(done.node)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise UnknownAlias(event.anchor, self._line(event))
            self._put(self._anchors[event.anchor])
        elif isinstance(event, yaml.DocumentEndEvent):
            document = self._root
            self._begin()
            return document
        return None

    def _line(self, event: yaml.Event) -> int:
        return (event.start_mark.line if event.start_mark else 0) + self._first

    def _start(self, node: Node, anchor: str | None) -> None:
        self._open.append(_Open(node, anchor))
        if anchor:  # seen from inside itself, it is nothing
            self._anchors[anchor] = Node(None, node.line)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        plain, text = event.implicit[0], event.value
        null = event.tag == _NULL_TAG or (plain and text in _NULLS)
        node = Node(None if null else text, self._line(event))
        if event.anchor:
            self._anchors[event.anchor] = node
        if self._open and self._open[-1].wants_key:
            self._open[-1].begin(text, merge=plain and text == "<<")
        else:
            self._put(node)

    def _put(self, node: Node) -> None:
        if self._open:
            self._open[-1].put(node)
        else:
            self._root = node


class _Open:
    """A mapping or sequence whose end has not come yet."""

    __slots__ = ("_key", "_merge", "anchor", "node", "wants_key")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node, self.anchor = node, anchor
        self.wants_key = isinstance(node.value, dict)
        self._key: str | None = None
        self._merge = False

    def begin(self, key: str | None, *, merge: bool = False) -> None:
        """The key of the next value; None for one that is no scalar, whose value is left out."""
        self._key, self._merge, self.wants_key = key, merge, False

    def put(self, node: Node) -> None:
        if isinstance(self.node.value, list):
            self.node.value.append(node)
        elif self.wants_key:
            self.begin(node.value if isinstance(node.value, str) else None)
        elif isinstance(self.node.value, dict):
            self.wants_key = True
            if self._merge:
                for source in node.items() or [node]:
                    if isinstance(source.value, dict):
                        for key, value in source.value.items():
                            self.node.value.setdefault(key, value)
            elif self._key is not None:
                self.node.value[self._key] = node
