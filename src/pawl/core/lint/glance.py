"""The cheap look: what a document is, told from its bytes, without parsing it.

Keys of a block mapping at the top level stand at column 0, and nothing else can (the lines of a
block scalar are indented), so two regular expressions name almost every manifest exactly. What they
cannot name is parsed. 2 KB of YAML cost 1.2 ms in PyYAML's C parser and about 5 µs here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_AFTER = (b"", b" ", b"\t", b"\r", b"\n")
"""What may follow the three dashes of a separator; b"" is the end of the data."""

_VALUE = rb"""[ \t]*:[ \t]+["']?([^\s"'#{}&*!|>\\]++)(?=["'\s]|\Z)"""
"""A whole plain or quoted scalar; what "batch\\/v1beta1" or batch/{{ .v }} is, parsing tells."""

_API = re.compile(rb"""^(?:apiVersion|"apiVersion"|'apiVersion')""" + _VALUE, re.M)
_KIND = re.compile(rb"""^(?:kind|"kind"|'kind')""" + _VALUE, re.M)
_API_KEY, _KIND_KEY = b"\napiVersion:", b"\nkind:"
_BARE = re.compile(rb"^[ \t]*(?:#.*|%.*|\.\.\.)?\r?$", re.M)


@dataclass(slots=True, frozen=True)
class Chunk:
    """One document of a stream: bytes `start` to `end` of `data`."""

    data: bytes
    start: int
    end: int

    @property
    def text(self) -> bytes:
        return self.data[self.start : self.end]


class Lines:
    """Line numbers (from 1) of offsets that are asked for in rising order: each byte is counted
    once, however many findings a file has."""

    def __init__(self, data: bytes) -> None:
        self._data, self._offset, self._line = data, 0, 1

    def at(self, offset: int) -> int:
        if offset < self._offset:
            self._offset, self._line = 0, 1
        self._line += self._data.count(b"\n", self._offset, offset)
        self._offset = offset
        return self._line


@dataclass(slots=True, frozen=True)
class Glance:
    """`api_version` and `kind` are "" when the bytes do not tell. `at` is the offset of the
    apiVersion's value in the file. `parse`: only parsing can tell what this document is."""

    chunk: Chunk
    api_version: str = ""
    kind: str = ""
    at: int = 0
    parse: bool = False


def split(data: bytes) -> Iterator[Chunk]:
    """The documents of a YAML stream, in order; empty ones are left out."""
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    at = start if data.startswith(b"---", start) else _next(data, start)
    while at >= 0:
        if data[at + 3 : at + 4] not in _AFTER:
            at = _next(data, at)
            continue
        if at > start:
            yield Chunk(data, start, at)
        newline = data.find(b"\n", at)
        end = newline + 1 if newline >= 0 else len(data)
        rest = data[at + 3 : end].strip()
        # A document may begin on the separator's own line: "--- {apiVersion: …}".
        start = end if not rest or rest.startswith(b"#") else at + 3
        at = _next(data, max(end - 1, 0))
    if start < len(data):
        yield Chunk(data, start, len(data))


def _next(data: bytes, offset: int) -> int:
    found = data.find(b"\n---", offset)
    return found + 1 if found >= 0 else -1


def look(chunk: Chunk) -> Glance:
    api = _API.search(chunk.data, chunk.start, chunk.end)
    kind = _KIND.search(chunk.data, chunk.start, chunk.end)
    if api and kind and not (_again(chunk, _API_KEY, api) or _again(chunk, _KIND_KEY, kind)):
        return Glance(
            chunk, api[1].decode(errors="replace"), kind[1].decode(errors="replace"), api.start(1)
        )
    text = chunk.text
    # Not a manifest by its looks: worth parsing only if both words are there at all.
    return Glance(chunk, parse=b"apiVersion" in text and b"kind" in text)


def _again(chunk: Chunk, key: bytes, first: re.Match[bytes]) -> bool:
    """Whether a key stands twice: the last one counts, as for kubectl."""
    return chunk.data.find(key, first.end(), chunk.end) >= 0


def blank(chunk: Chunk) -> bool:
    """Whether a chunk holds nothing but comments, directives and blank lines."""
    return not _BARE.sub(b"", chunk.text).strip()
