"""The urgent notes between two releases out of the shipped table, and how far it reaches.

303 patch releases of 1.16 to 1.37 hold one urgent note in all (a vulnerability, 1.16.13), so the
notes of a patch release that are newer than the table are a smaller hole than those of a minor.
"""

from __future__ import annotations

import msgspec

from pawl.core.changelog.item import Item
from pawl.core.knowledge.store import Knowledge
from pawl.core.version import Version


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """`missing` names minors on the way of which nothing is known, `newer` releases after the last
    one that was read ("1.37.1 to 1.37.2")."""

    items: tuple[Item, ...] = ()
    missing: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


def urgent(knowledge: Knowledge, since: Version, to: Version) -> Shipped:
    """The urgent notes after `since`, up to and with `to`; none on the way back."""
    if not since < to:
        return Shipped()
    items = tuple(
        Item(
            id=row.id,
            version=row.version,
            section=row.section,
            category=row.category,
            text=row.text,
            prs=row.prs,
            sigs=row.sigs,
            also=row.also,
        )
        for row in knowledge.notes
        if any(since < Version.parse(v) <= to for v in (row.version, *row.also))
    )
    missing: list[str] = []
    newer: list[str] = []
    minor = since.minor_line
    while minor <= to.minor_line:
        until = knowledge.notes_until.get(str(minor))
        if until is None:
            if minor > since.minor_line:
                missing.append(str(minor))
        elif minor == to.minor_line and Version.parse(until) < to:
            first = max(Version.parse(until), since)
            newer.append(f"{_next(first)} to {to}" if _next(first) != to else str(to))
        minor = minor + 1
    return Shipped(items=items, missing=tuple(missing), newer=tuple(newer))


def _next(version: Version) -> Version:
    return Version(version.major, version.minor, version.patch + 1)
