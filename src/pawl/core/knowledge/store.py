"""The shipped tables, each decoded when first asked for, with a user's corrections merged in.

Reading package data is the one thing that looks like I/O in the core: the tables are part of the
program, as its code is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any, TypeVar

import msgspec

from pawl.core.errors import ConfigError
from pawl.core.knowledge.rows import (
    Api,
    Configuration,
    Demand,
    Disagreement,
    FieldChange,
    Flag,
    Gate,
    InTree,
    Note,
    Plugin,
    Release,
    Row,
    key,
)

T = TypeVar("T")
R = TypeVar("R", bound=Row)


class Corrections(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's file: rows that replace shipped ones with the same key, or add to them.

    `apis` may name a vendor's kinds (CRDs). `drop` names rows to leave out, as
    "apis apps/v1beta1/Deployment" or "gates SomeGate". Every row carries its own `source`.
    """

    apis: tuple[Api, ...] = ()
    gates: tuple[Gate, ...] = ()
    flags: tuple[Flag, ...] = ()
    fields: tuple[FieldChange, ...] = ()
    releases: tuple[Release, ...] = ()
    demands: tuple[Demand, ...] = ()
    drop: tuple[str, ...] = ()


def corrections(data: object, where: str) -> Corrections:
    """Decode a corrections document (already parsed YAML or JSON). Raises ConfigError."""
    try:
        found = msgspec.convert(data if data is not None else {}, type=Corrections)
    except msgspec.ValidationError as error:
        raise ConfigError(where, [f"{error}; see docs/knowledge.md, Corrections"]) from error
    if wrong := list(_no_minors(msgspec.to_builtins(found), "$")):
        raise ConfigError(where, wrong)
    return found


_MINORS = frozenset({"minor", "introduced", "served_from", "deprecated", "removed", "announced",
                     "unreadable", "locked", "added", "from", "until"})  # fmt: skip


def _no_minors(value: object, at: str) -> Iterator[str]:
    """A sentence for every field that holds a minor and is none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _MINORS and isinstance(inner, str):
                if inner and not re.fullmatch(r"\d+\.\d+", inner):
                    yield f"{at}.{name}: {inner!r} is no minor such as '1.37'"
            else:
                yield from _no_minors(inner, f"{at}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _no_minors(inner, f"{at}[{index}]")


class Knowledge:
    """All tables. Cheap to make; a table costs its decoding on first use (1–10 ms)."""

    def __init__(self, extra: Corrections | None = None) -> None:
        self._extra = extra or Corrections()

    @functools.cached_property
    def apis(self) -> tuple[Api, ...]:
        return self._merge(
            "apis", Api, self._extra.apis, lambda r: f"{r.group}/{r.version}/{r.kind}"
        )

    @functools.cached_property
    def by_api(self) -> dict[tuple[str, str], Api]:
        """(apiVersion, kind) -> row."""
        return {(row.api_version, row.kind): row for row in self.apis}

    @functools.cached_property
    def gates(self) -> tuple[Gate, ...]:
        return self._merge("gates", Gate, self._extra.gates, lambda r: r.name)

    @functools.cached_property
    def by_gate(self) -> dict[str, Gate]:
        return {row.name: row for row in self.gates}

    @functools.cached_property
    def flags(self) -> tuple[Flag, ...]:
        return self._merge("flags", Flag, self._extra.flags, lambda r: f"{r.component}/{r.flag}")

    @functools.cached_property
    def by_flag(self) -> dict[tuple[str, str], Flag]:
        """(component, flag) -> row."""
        return {(row.component, row.flag): row for row in self.flags}

    @functools.cached_property
    def fields(self) -> tuple[FieldChange, ...]:
        return self._merge(
            "fields",
            FieldChange,
            self._extra.fields,
            lambda r: f"{r.definition}.{r.field}@{r.minor}",
        )

    @functools.cached_property
    def releases(self) -> tuple[Release, ...]:
        return self._merge(
            "releases", Release, self._extra.releases, lambda r: f"{r.project}/{r.minor}"
        )

    @functools.cached_property
    def demands(self) -> tuple[Demand, ...]:
        return self._merge(
            "demands", Demand, self._extra.demands, lambda r: f"{r.on}/{r.minor}/{r.demand}"
        )

    @functools.cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        return table("plugins", Plugin)

    @functools.cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        return table("configurations", Configuration)

    @functools.cached_property
    def in_tree(self) -> tuple[InTree, ...]:
        return table("in_tree", InTree)

    @functools.cached_property
    def notes(self) -> tuple[Note, ...]:
        """Urgent release notes, oldest release first."""
        return table("notes", Note)

    @functools.cached_property
    def notes_until(self) -> dict[str, str]:
        """Minor -> the newest of its releases whose notes were read."""
        rows = table("sources", dict[str, Any])
        return next(dict(r["notes"]) for r in rows if "notes" in r)

    @functools.cached_property
    def disagreements(self) -> tuple[Disagreement, ...]:
        return table("disagreements", Disagreement)

    @functools.cached_property
    def sources(self) -> tuple[dict[str, Any], ...]:
        return tuple(r for r in table("sources", dict[str, Any]) if "minor" in r)

    @functools.cached_property
    def as_of(self) -> str:
        """The day of the newest release that the tables know of: how fresh they are."""
        return next(str(r["as_of"]) for r in table("sources", dict[str, Any]) if "as_of" in r)

    @property
    def oldest(self) -> str:
        """The oldest minor that upgrades can be judged to."""
        return str(self.sources[1]["minor"])

    @property
    def newest(self) -> str:
        return str(self.sources[-1]["minor"])

    def known(self, minor: str) -> bool:
        return key(self.oldest) <= key(minor) <= key(self.newest)

    def _merge(self, name: str, kind: type[R], own: Iterable[R], identity: Any) -> tuple[R, ...]:
        rows = {identity(row): row for row in table(name, kind)}
        for entry in self._extra.drop:
            where, _, which = entry.partition(" ")
            if where == name and rows.pop(which, None) is None:
                raise ConfigError(
                    "corrections", [f"drop {entry!r}: the shipped table {name} has no such row"]
                )
        rows.update((identity(row), row) for row in own)
        return tuple(rows.values())


def table(name: str, kind: type[T]) -> tuple[T, ...]:
    """Decode one shipped table."""
    data = resources.files("pawl.core.knowledge").joinpath("data", f"{name}.json").read_bytes()
    rows: tuple[T, ...] = msgspec.json.decode(data, type=tuple[kind, ...])  # type: ignore[valid-type]
    return rows


@functools.cache
def shipped() -> Knowledge:
    """The tables as shipped, shared."""
    return Knowledge()
