"""Fields of every definition over all minors, in one file instead of one a minor.

`extracts/schemas.json`: definition -> field -> [[type, first minor, last minor], …]. What stands
at one minor can be read back exactly (`at`), so deriving a minor again can be compared with it.
"""

from __future__ import annotations

import json
from pathlib import Path

from .extract import EXTRACTS
from .openapi import Schema

History = dict[str, dict[str, list[list[str | int]]]]

FILE: Path = EXTRACTS / "schemas.json"
_EXISTS = ""
"""The field name that stands for the definition itself."""


def merge(schemas: dict[int, Schema]) -> History:
    out: History = {}
    for minor, schema in sorted(schemas.items()):
        for definition, fields in schema.items():
            entry = out.setdefault(definition, {})
            for field, kind in {_EXISTS: "", **fields}.items():
                spans = entry.setdefault(field, [])
                if spans and spans[-1][0] == kind and spans[-1][2] == minor - 1:
                    spans[-1][2] = minor
                else:
                    spans.append([kind, minor, minor])
    return {d: dict(sorted(f.items())) for d, f in sorted(out.items())}


def at(history: History, minor: int) -> Schema:
    out: Schema = {}
    for definition, fields in history.items():
        there = {
            field: str(kind)
            for field, spans in fields.items()
            for kind, first, last in spans
            if int(first) <= minor <= int(last)
        }
        if _EXISTS in there:
            del there[_EXISTS]
            out[definition] = there
    return out


def load() -> History:
    history: History = json.loads(FILE.read_bytes())
    return history
