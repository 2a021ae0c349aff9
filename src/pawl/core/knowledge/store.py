"""The shipped tables, each decoded when first asked for, with a user's corrections merged in.

Reading package data is the one thing that looks like I/O in the core: the tables are part of the
program, as its code is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeVar

from pawl.core.knowledge.correct import Corrections
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
from pawl.core.knowledge.table import KEYS, table

R = TypeVar("R", bound=Row)


class Knowledge:
    """All tables. Cheap to make; a table costs its decoding on first use (1–10 ms)."""

    def __init__(self, extra: Corrections | None = None) -> None:
        self._extra = extra or Corrections()

    @functools.cached_property
    def apis(self) -> tuple[Api, ...]:
        return self._merge("apis", Api, self._extra.apis)

    @functools.cached_property
    def by_api(self) -> dict[tuple[str, str], Api]:
        """(apiVersion, kind) -> row."""
        return {(row.api_version, row.kind): row for row in self.apis}

    @functools.cached_property
    def built_in_groups(self) -> frozenset[str]:
        """API groups of which every kind is known; of a user's own only those that rows name."""
        rows = table("apis", Api) if self._extra.apis else self.apis
        return frozenset(row.group for row in rows)

    @functools.cached_property
    def gates(self) -> tuple[Gate, ...]:
        return self._merge("gates", Gate, self._extra.gates)

    @functools.cached_property
    def by_gate(self) -> dict[str, Gate]:
        return {row.name: row for row in self.gates}

    @functools.cached_property
    def flags(self) -> tuple[Flag, ...]:
        return self._merge("flags", Flag, self._extra.flags)

    @functools.cached_property
    def by_flag(self) -> dict[tuple[str, str], Flag]:
        """(component, flag) -> row."""
        return {(row.component, row.flag): row for row in self.flags}

    @functools.cached_property
    def fields(self) -> tuple[FieldChange, ...]:
        return self._merge("fields", FieldChange, self._extra.fields)

    @functools.cached_property
    def releases(self) -> tuple[Release, ...]:
        return self._merge("releases", Release, self._extra.releases)

    @functools.cached_property
    def demands(self) -> tuple[Demand, ...]:
        return self._merge("demands", Demand, self._extra.demands)

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

    def _merge(self, name: str, kind: type[R], own: Iterable[R]) -> tuple[R, ...]:
        _, named = KEYS[name]
        rows = {named(row): row for row in table(name, kind)}
        for entry in self._extra.drop:
            where, _, which = entry.partition(" ")
            if where == name:
                rows.pop(which, None)
        rows.update((named(row), row) for row in own)
        return tuple(rows.values())


@functools.cache
def shipped() -> Knowledge:
    """The tables as shipped, shared."""
    return Knowledge()
