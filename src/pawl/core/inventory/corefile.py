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
    """Plugins and options, each with its line. Raises ValueError for unbalanced braces."""
    found: list[Use] = []
    depth, plugin, snippet = 0, "", False
    for number, raw in enumerate(text.splitlines(), 1):
        tokens = _tokens(raw)
        closing = 0
        while tokens and tokens[0] == "}":
            tokens, closing = tokens[1:], closing + 1
        depth -= closing
        if depth < 0:
            raise ValueError(f"line {number}: a brace is closed that was never opened")
        if not tokens:
            continue
        opens = tokens[-1] == "{"
        words = tokens[:-1] if opens else tokens
        ends = bool(words) and words[-1] == "}"
        if words and words[0] != "import":
            match depth:
                case 0:
                    snippet = words[0].startswith("(")
                case 1:
                    plugin = words[0]
                    found.append(Use(plugin=plugin, option="", line=number))
                case 2 if not snippet or plugin:
                    found.append(Use(plugin=plugin, option=words[0], line=number))
        depth += opens - ends
    if depth:
        raise ValueError(f"{depth} braces are never closed")
    return tuple(found)


def _tokens(line: str) -> list[str]:
    tokens: list[str] = []
    for m in _TOKEN.finditer(line):
        if m[2] and m[2].startswith("#"):
            break
        tokens.append(m[1] if m[1] is not None else m[2])
    return tokens


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
