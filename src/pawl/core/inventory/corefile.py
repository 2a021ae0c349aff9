"""A Corefile against CoreDNS's own table of what went away (github.com/coredns/corefile-migration).

The table is `data/corefile.json`, made by tools/corefile. Its words: *deprecated* still works,
*ignored* does nothing, *removed* makes CoreDNS exit at start. A plugin that the table does not
cover is said to be so, never passed over.

A Corefile is server blocks `zone… { plugin arg… { option arg… } }`; `#` begins a comment, quotes
hold blanks, `import` and `(snippet)` are as in Caddy 1 (coredns.io/manual/configuration).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources
from typing import Literal

import msgspec

from pawl.core.version import Version

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
Status = Literal["", "deprecated", "ignored", "removed", "newdefault", "unsupported"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """True of `plugin` (and its `option`, "" for the plugin itself) from `since` to `last`."""

    plugin: str
    option: str
    pattern: bool
    status: str
    since: str
    last: str
    replaced_by: str
    note: str


class CoreRelease(msgspec.Struct, frozen=True, kw_only=True):
    """`kubernetes`: the minors for which kubeadm installed this CoreDNS."""

    version: str
    kubernetes: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    releases: tuple[CoreRelease, ...]
    rows: tuple[Row, ...]

    @property
    def newest(self) -> str:
        return self.releases[-1].version


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin (option "") or option in a Corefile."""

    plugin: str
    option: str
    line: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`use` is `status` from CoreDNS `since` on. `replaced_by` names what takes its place."""

    use: Use
    status: str
    since: str
    replaced_by: str = ""

    def sentence(self) -> str:
        what = f"option {self.use.option} of plugin " if self.use.option else "plugin "
        end = {
            "removed": "CoreDNS does not start with it",
            "ignored": "it does nothing",
            "deprecated": "it still works",
        }[self.status]
        instead = f"; use {self.replaced_by}" if self.replaced_by else ""
        return (
            f"line {self.use.line}: {what}{self.use.plugin} is {self.status} since CoreDNS "
            f"{self.since}: {end}{instead}"
        )


@functools.cache
def shipped() -> Table:
    data = resources.files("pawl.core.inventory").joinpath("data", "corefile.json").read_bytes()
    return msgspec.json.decode(data, type=Table)


def uses(text: str) -> tuple[Use, ...]:
    """Plugins and options, each with its line. Raises ValueError for what is no Corefile.

    A statement begins on a new line, or behind a brace: a plugin at the first level of braces, an
    option at the second.
    """
    found: list[Use] = []
    depth, plugin, begins = 0, "", True
    for line, token in _tokens(text):
        if token in ("{", "}"):
            depth += 1 if token == "{" else -1
            if depth < 0:
                raise ValueError(f"line {line}: a brace is closed that was never opened")
            begins = True
            continue
        if token == "\n":
            begins = True
            continue
        if begins and token != "import":
            if depth == 1:
                plugin = token
                found.append(Use(plugin=plugin, option="", line=line))
            elif depth == 2:
                found.append(Use(plugin=plugin, option=token, line=line))
        begins = False
    if depth:
        raise ValueError(f"{depth} braces are never closed")
    if text.strip() and not found:
        raise ValueError("there is no server block in it (a brace behind its zones)")
    return tuple(found)


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Words with their lines, quotes taken off, comments left out, and a token for a line's end."""
    for number, line in enumerate(text.splitlines(), 1):
        for m in _TOKEN.finditer(line):
            if m[2] and m[2].startswith("#"):
                break
            yield number, m[1] if m[1] is not None else m[2]
        yield number, "\n"


def changes(text: str, version: str, table: Table | None = None) -> tuple[Change, ...]:
    """What CoreDNS `version` thinks of this Corefile, worst first. A version newer than the table
    is judged by the table's newest."""
    table = table or shipped()
    at = min(Version.parse(version), Version.parse(table.newest))
    found = []
    for use in dict.fromkeys(uses(text)):
        row = _row(table, use, at)
        if row and row.status in ("removed", "ignored", "deprecated"):
            found.append(
                Change(use=use, status=row.status, since=row.since, replaced_by=row.replaced_by)
            )
    worst = {"removed": 0, "ignored": 1, "deprecated": 2}
    return tuple(sorted(found, key=lambda c: (worst[c.status], c.use.line)))


def uncovered(text: str, table: Table | None = None) -> tuple[str, ...]:
    """Plugins that the table never mentions: nothing is known about them."""
    table = table or shipped()
    known = {row.plugin for row in table.rows}
    return tuple(dict.fromkeys(u.plugin for u in uses(text) if u.plugin not in known))


def _row(table: Table, use: Use, at: Version) -> Row | None:
    """The latest row that speaks of `use` at `at`: what was removed once stays so until a later
    row says otherwise."""
    best: Row | None = None
    for row in table.rows:
        if row.plugin != use.plugin or Version.parse(row.since) > at:
            continue
        if row.option != use.option and not (
            row.pattern and use.option and re.fullmatch(row.option, use.option)
        ):
            continue
        if best is None or Version.parse(row.since) > Version.parse(best.since):
            best = row
    if best and Version.parse(best.last) < at and best.status != "removed":
        return None
    return best
