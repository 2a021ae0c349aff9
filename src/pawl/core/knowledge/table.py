"""The shipped tables as files, and by what a row of one is named."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, TypeVar

import msgspec

from pawl.core.knowledge.rows import Api, Demand, FieldChange, Flag, Gate, Release, Row

T = TypeVar("T")

KEYS: dict[str, tuple[type[Row], Callable[[Any], str]]] = {
    "apis": (Api, lambda r: f"{r.group}/{r.version}/{r.kind}"),
    "gates": (Gate, lambda r: r.name),
    "flags": (Flag, lambda r: f"{r.component}/{r.flag}"),
    "fields": (FieldChange, lambda r: f"{r.definition}.{r.field}@{r.minor}"),
    "releases": (Release, lambda r: f"{r.project}/{r.minor}"),
    "demands": (Demand, lambda r: f"{r.on}/{r.minor}/{r.demand}"),
}
"""The tables that a user may correct: a row of the same name takes the place of the shipped one."""


def table(name: str, kind: type[T]) -> tuple[T, ...]:
    """Decode one shipped table."""
    data = resources.files("pawl.core.knowledge").joinpath("data", f"{name}.json").read_bytes()
    rows: tuple[T, ...] = msgspec.json.decode(data, type=tuple[kind, ...])  # type: ignore[valid-type]
    return rows
