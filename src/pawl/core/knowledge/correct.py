"""A user's own rows for the tables, for a vendor's fork or for custom resources, checked whole:
a row that is silently not what its author meant would make a later "nothing is removed" a lie."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator

import msgspec

from pawl.core.days import is_day
from pawl.core.errors import ConfigError
from pawl.core.knowledge.rows import Api, Demand, FieldChange, Flag, Gate, Release
from pawl.core.knowledge.table import KEYS, table


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
    wrong = [*_mistakes(msgspec.to_builtins(found), "$"), *_twice(found), *_no_rows(found)]
    if wrong:
        raise ConfigError(where, wrong)
    return found


_MINORS = frozenset({"minor", "introduced", "served_from", "deprecated", "removed", "announced",
                     "unreadable", "locked", "added", "from", "until"})  # fmt: skip
_DAYS = frozenset({"released", "maintenance", "end_of_life", "latest_released"})


def _mistakes(value: object, at: str) -> Iterator[str]:
    """A sentence for every field, however deep, whose value is not what its name says."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if why := _mistake(name, inner):
                yield f"{at}.{name}: {why}"
            else:
                yield from _mistakes(inner, f"{at}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _mistakes(inner, f"{at}[{index}]")


def _mistake(name: str, value: object) -> str:
    match value:
        case str() if name == "source":
            return "" if value.strip() else "says nothing; name what the row was read from"
        case str() if not value:
            return ""
        case str() if name in _MINORS and not re.fullmatch(r"\d+\.\d+", value):
            return f"{value!r} is no minor such as '1.37'"
        case str() if name in _DAYS and not is_day(value):
            return f"{value!r} is no day such as '2027-01-31'"
        case str() if name == "latest" and not re.fullmatch(r"\d+\.\d+\.\d+", value):
            return f"{value!r} is no release such as '1.37.2'"
        case [] | () if name == "stages":
            return "a gate has at least one stage"
        case dict() if name == "where":
            wrong = [kind for kind in value if kind != "*" and kind.count("/") != 2]
            return f"{wrong[0]!r} is no group/version/Kind such as '/v1/Pod'" if wrong else ""
    return ""


def _twice(found: Corrections) -> Iterator[str]:
    for name, (_, key) in KEYS.items():
        for row, count in Counter(key(row) for row in getattr(found, name)).items():
            if count > 1:
                yield f"{name} {row}: stands {count} times"


def _no_rows(found: Corrections) -> Iterator[str]:
    """A sentence for every entry of `drop` that drops nothing."""
    for entry in found.drop:
        name, _, which = entry.partition(" ")
        if name not in KEYS:
            yield f"drop {entry!r}: there is no table {name!r} of {', '.join(KEYS)}"
            continue
        kind, key = KEYS[name]
        rows = [key(row) for row in table(name, kind)]
        if which not in rows:
            near = difflib.get_close_matches(which, rows, n=1)
            hint = f"; did you mean {name + ' ' + near[0]!r}?" if near else ""
            yield f"drop {entry!r}: the shipped table {name} has no such row{hint}"
