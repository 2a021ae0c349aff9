"""Known add-ons, and which Kubernetes minors each of their releases goes with.

`data/addons.json` holds them: each row has its source and the day that the source was current (or a
copy of it was read). What no row says is unknown, and stays so: the owner is asked. A user's own
file adds add-ons and rows, and replaces those of the same name and version.

What a vendor's table means differs, and the verdict keeps the vendor's word (`basis`):
`supported` and `required` are promises, outside of which the add-on is *unsupported*; `tested` and
`client-go` say what was tried, so what is not listed is *untested*, not refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import pairwise
from typing import Literal

import msgspec

from pawl.core.errors import ConfigError
from pawl.core.inventory.images import Image
from pawl.core.version import Minor, Version

Basis = Literal["supported", "required", "tested", "client-go"]
Rule = Literal["", "same-minor", "kube-proxy", "untied"]
Verdict = Literal["supported", "unsupported", "untested", "breaks", "untied", "unknown"]
When = Literal["", "before", "with", "after"]

KUBE_PROXY_BEHIND = 3
"""kube-proxy may be up to three minors older than the API server, never newer (the version skew
policy of kubernetes.io/releases/version-skew-policy, since 1.28)."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Releases `line` ("1.21": every 1.21.x; "1.21.3": that one; "0.10+": from 0.10 on) go with
    `oldest` to `newest` ("": no end is named). `breaks`: it is known not to work beyond them."""

    line: str
    oldest: str
    newest: str = ""
    basis: Basis = "supported"
    breaks: bool = False
    chart: str = ""
    source: str
    as_of: str

    @property
    def parts(self) -> tuple[int, ...]:
        return tuple(int(p) for p in self.line.rstrip("+").split("."))

    @property
    def first(self) -> Version:
        """The lowest release that it covers."""
        return _lowest(self.line)

    def covers(self, version: Version) -> bool:
        numbers = (version.major, version.minor, version.patch)[: len(self.parts)]
        return numbers >= self.parts if self.line.endswith("+") else numbers == self.parts

    def goes_with(self, minor: Minor) -> bool:
        return Minor.parse(self.oldest) <= minor and (
            not self.newest or minor <= Minor.parse(self.newest)
        )

    @property
    def range(self) -> str:
        if not self.newest:
            return f"{self.oldest} and newer"
        return self.oldest if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


class Retired(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    since: str
    note: str
    source: str


class Addon(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`images` are ends of image repositories, `charts` names of Helm charts. `rule`: the version
    follows Kubernetes' own (`same-minor`, `kube-proxy`), or is `untied`: its project names no
    Kubernetes versions on purpose. `source` and `as_of` are the rule's."""

    name: str
    what: str
    images: tuple[str, ...]
    charts: tuple[str, ...] = ()
    rule: Rule = ""
    source: str = ""
    as_of: str = ""
    note: str = ""
    retired: Retired | None = None
    rows: tuple[Row, ...] = ()

    def row(self, version: Version) -> Row | None:
        """The row that says most about a release: an exact one before a line."""
        found = [r for r in self.rows if r.covers(version)]
        return max(found, key=lambda r: (not r.line.endswith("+"), r.parts), default=None)


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict for one hop, from `start` to `minor`. `move_to` is the release to go to, `when`
    in relation to the hop. `version` is what would run then, moves of earlier hops included."""

    start: str
    minor: str
    version: str
    verdict: Verdict
    move_to: str = ""
    when: When = ""
    why: str
    source: str = ""
    as_of: str = ""


@functools.cache
def shipped() -> tuple[Addon, ...]:
    data = resources.files("pawl.core.inventory").joinpath("data", "addons.json").read_bytes()
    return msgspec.json.decode(data, type=tuple[Addon, ...])


def merged(data: object, where: str, base: Sequence[Addon] = ()) -> tuple[Addon, ...]:
    """The shipped add-ons with a user's (a parsed list); ConfigError with the place."""
    try:
        own = msgspec.convert(data or [], type=tuple[Addon, ...])
        for addon in own:
            for row in addon.rows:
                _ = (row.parts, Minor.parse(row.oldest), row.newest and Minor.parse(row.newest))
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(where, [f"{error}; see docs/inventory.md, Your own rows"]) from error
    found = {a.name: a for a in (base or shipped())}
    for addon in own:
        held = found.get(addon.name)
        rows = {r.line: r for r in (*(held.rows if held else ()), *addon.rows)}
        found[addon.name] = msgspec.structs.replace(addon, rows=tuple(rows.values()))
    return tuple(found.values())


def find(addons: Iterable[Addon], images: Sequence[Image], chart: str = "") -> Addon | None:
    """The add-on that a workload is, by its images first: a chart brings others along."""
    addons = tuple(addons)
    for image in images:
        for addon in addons:
            if any(image.is_of(end) for end in addon.images):
                return addon
    return next((a for a in addons if chart and not images and chart in a.charts), None)


def judge(addon: Addon, version: str, path: Sequence[str]) -> tuple[Hop, ...]:
    """One verdict for each hop of `path` (minors, the running one first), each in the light of the
    moves that the earlier ones asked for."""
    minors = [Minor.parse(m) for m in path]
    try:
        at: Version | None = Version.parse(version)
    except ValueError:
        at = None
    hops: list[Hop] = []
    for number, (start, minor) in enumerate(pairwise(minors)):
        match addon.rule:
            case "untied":
                hop = _hop(start, minor, version, "untied", addon.note, addon)
            case "kube-proxy":
                hop = _kube_proxy(addon, at, start, minor)
            case "same-minor":
                hop = _same_minor(addon, at, start, minor)
            case _:
                hop = _by_rows(addon, at, start, minor, minors[number + 1 :])
        hops.append(hop)
        if hop.move_to:
            at = _lowest(hop.move_to)
    return tuple(hops)


def _lowest(line: str) -> Version:
    parts = [*(int(p) for p in line.rstrip("+").split(".")), 0, 0]
    return Version(parts[0], parts[1], parts[2])


def _hop(start: Minor, minor: Minor, version: str, verdict: Verdict, why: str, addon: Addon) -> Hop:
    return Hop(
        start=str(start), minor=str(minor), version=version, verdict=verdict, why=why,
        source=addon.source, as_of=addon.as_of,
    )  # fmt: skip


def _unknown(start: Minor, minor: Minor, version: str, why: str, addon: Addon) -> Hop:
    return _hop(start, minor, version, "unknown", why, addon)


def _kube_proxy(addon: Addon, at: Version | None, start: Minor, minor: Minor) -> Hop:
    if at is None:
        return _unknown(start, minor, "", "its version is not known", addon)
    behind = minor - at.minor_line
    if behind > KUBE_PROXY_BEHIND:
        hop = _hop(start, minor, str(at), "unsupported",
                   f"kube-proxy {at} would be {behind} minors older than the API servers; "
                   f"{KUBE_PROXY_BEHIND} are allowed", addon)  # fmt: skip
        return msgspec.structs.replace(hop, move_to=str(start), when="before")
    if behind < 0:
        return _hop(start, minor, str(at), "unsupported",
                    f"kube-proxy {at} is newer than the API servers will be", addon)  # fmt: skip
    why = f"may be up to {KUBE_PROXY_BEHIND} minors older than the API servers, and is {behind}"
    hop = _hop(start, minor, str(at), "supported", why, addon)
    return msgspec.structs.replace(hop, move_to=str(minor), when="after") if behind else hop


def _same_minor(addon: Addon, at: Version | None, start: Minor, minor: Minor) -> Hop:
    if at is None:
        return _unknown(start, minor, "", "its version is not known", addon)
    if at.minor_line == minor:
        return _hop(start, minor, str(at), "supported", f"its minor is Kubernetes' {minor}", addon)
    why = f"its minor is to be Kubernetes' own: {minor}.x after the control plane is at {minor}"
    hop = _hop(start, minor, str(at), "untested", why, addon)
    return msgspec.structs.replace(hop, move_to=str(minor), when="after")


def _by_rows(
    addon: Addon, at: Version | None, start: Minor, minor: Minor, ahead: Sequence[Minor]
) -> Hop:
    if at is None:
        return _unknown(start, minor, "", "its version is not known", addon)
    row = addon.row(at)
    if row is None:
        what = "no row of the table" if addon.rows else "no table"
        hop = _unknown(
            start, minor, str(at), f"{what} says what {addon.name} {at} goes with", addon
        )
        return _move(hop, addon, at, start, minor, ahead)
    if row.goes_with(minor):
        word = {"supported": "supports", "required": "needs", "tested": "is tested with",
                "client-go": "is built for"}[row.basis]  # fmt: skip
        return Hop(start=str(start), minor=str(minor), version=str(at), verdict="supported",
                   why=f"{addon.name} {row.line} {word} {row.range}",
                   source=row.source, as_of=row.as_of)  # fmt: skip
    promised = row.basis in ("supported", "required")
    verdict: Verdict = "breaks" if row.breaks else "unsupported" if promised else "untested"
    word = {"breaks": "does not work there; it goes with", "unsupported": "supports only",
            "untested": "names only"}[verdict]  # fmt: skip
    hop = Hop(start=str(start), minor=str(minor), version=str(at), verdict=verdict,
              why=f"{addon.name} {row.line} {word} {row.range}",
                   source=row.source, as_of=row.as_of)  # fmt: skip
    return _move(hop, addon, at, start, minor, ahead)


def _move(
    hop: Hop, addon: Addon, at: Version, start: Minor, minor: Minor, ahead: Sequence[Minor]
) -> Hop:
    """The release to go to: one that spans both sides of the hop, *before* it; of these the one
    that lasts for most of the hops to come, and then the oldest. If none spans it, *after*."""
    newer = [r for r in addon.rows if r.first > at and r.goes_with(minor)]
    spanning = [r for r in newer if r.goes_with(start)]
    choice = spanning or newer
    if not choice:
        if addon.rows and hop.verdict != "unknown":
            said = "; no release in the table goes with it: ask the vendor, or replace it"
            return msgspec.structs.replace(hop, why=hop.why + said)
        return hop

    def lasts(row: Row) -> int:
        return next((i for i, m in enumerate(ahead) if not row.goes_with(m)), len(ahead))

    best = max(choice, key=lambda r: (lasts(r), tuple(-p for p in r.parts)))
    when: When = "before" if spanning else "after"
    said = f"; {best.line} goes with {best.range}"
    if not spanning:
        said += f", but not with {start}: move right after the hop"
    return msgspec.structs.replace(
        hop, move_to=best.line.rstrip("+"), when=when, why=hop.why + said,
        source=hop.source or best.source, as_of=hop.as_of or best.as_of,
    )  # fmt: skip
