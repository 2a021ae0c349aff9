"""Questions that the tables answer: what a hop takes away, and what can take its place.

A question about a minor that the tables do not cover is refused: silence about an unknown target
would read as "nothing is removed there".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from pawl.core.errors import ConfigError
from pawl.core.knowledge.rows import Api, Candidate, Flag, key
from pawl.core.knowledge.store import Knowledge


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `pawl knowledge removals`."""

    group: str
    version: str
    kind: str
    stage: str
    default_served: bool
    introduced: str
    deprecated: str
    removed: str
    replacement: str
    field_compatible: bool | None
    source: str


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `pawl knowledge stored`: an object that lies in etcd in this version cannot be read
    from minor `unreadable` on."""

    group: str
    version: str
    kind: str
    resource: str
    removed: str
    unreadable: str
    source: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one minor, from where, and how fresh."""

    target: str
    as_of: str
    sources: dict[str, str]
    missing: tuple[str, ...]
    removed: dict[str, int]
    verdict: str
    disagreements: int


_MINOR = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+(?:[-+].*)?)?", re.ASCII)
"""A minor, or a release of it, a vendor's too ("v1.36.2+k3s1")."""


def demand_known(knowledge: Knowledge, minor: str) -> str:
    """The minor of "1.37", "v1.37" or "1.37.2-rc.1". Raises ConfigError outside the tables."""
    told = _MINOR.fullmatch(minor.strip())
    if told is None:
        raise ConfigError(
            "target", [f"{minor!r} is no Kubernetes minor such as {knowledge.newest}"]
        )
    bare = f"{int(told[1])}.{int(told[2])}"
    if not knowledge.known(bare):
        raise ConfigError(
            "target",
            [
                f"nothing is known about Kubernetes {bare}: the tables cover {knowledge.oldest} "
                f"to {knowledge.newest} (as of {knowledge.as_of}). Update pawl, or derive the "
                "tables for it (docs/knowledge.md)."
            ],
        )
    return bare


def demand_span(knowledge: Knowledge, since: str, to: str) -> tuple[str, str]:
    """The two minors of "what changed after `since`, up to `to`"; each may be "". `since` may be
    the minor before the oldest, after which everything in the tables happened. Raises ConfigError
    where one is outside the tables, and where nothing can lie between them."""
    if to:
        to = demand_known(knowledge, to)
    major, oldest = key(knowledge.oldest)
    before = f"{major}.{oldest - 1}"
    if since.strip().removeprefix("v") != before:
        since = demand_known(knowledge, since) if since else ""
    else:
        since = before
    if since and to and key(since) >= key(to):
        raise ConfigError("--from, --to", [f"{to} is not after {since}: nothing lies between them"])
    return since, to


def between(since: str, to: str) -> range:
    """Numbers of the minors that lie after `since`, up to and with `to` (of major 1)."""
    return range(key(since)[1] + 1, key(to)[1] + 1)


def removals(
    knowledge: Knowledge, since: str = "", to: str = "", *, subresources: bool = False
) -> tuple[Removal, ...]:
    """APIs removed after `since` (default: before the oldest minor) up to and with `to`.

    Without `subresources`, kinds that exist only below another resource are left out.
    """
    floor = key(since) if since else (0, 0)
    ceiling = key(to or knowledge.newest)
    found = [
        row
        for row in knowledge.apis
        if row.removed
        and floor < key(row.removed) <= ceiling
        and (subresources or row.what != "subresource")
    ]
    found.sort(key=lambda r: (key(r.removed), r.group, r.version, r.kind))
    return tuple(as_removal(row, to or knowledge.newest) for row in found)


def stored(knowledge: Knowledge, to: str = "") -> tuple[Unreadable, ...]:
    """Versions that no API server of `to` (default: the newest minor) can read out of etcd."""
    ceiling = key(to or knowledge.newest)
    found = [r for r in knowledge.apis if r.unreadable and key(r.unreadable) <= ceiling]
    found.sort(key=lambda r: (key(r.unreadable), r.group, r.version, r.kind))
    return tuple(
        Unreadable(
            group=r.group,
            version=r.version,
            kind=r.kind,
            resource=r.resource,
            removed=r.removed,
            unreadable=r.unreadable,
            source=f"absent from the API server's scheme v{r.unreadable}.0",
        )
        for r in found
    )


def as_removal(row: Api, target: str) -> Removal:
    best = replacement(row, target)
    return Removal(
        group=row.group,
        version=row.version,
        kind=row.kind,
        stage=row.stage,
        default_served=row.default_served,
        introduced=row.introduced,
        deprecated=row.deprecated,
        removed=row.removed,
        replacement=best.api if best else "",
        field_compatible=best.compatible if best else None,
        source=row.source,
    )


def replacement(row: Api, target: str) -> Candidate | None:
    """The best API that itself is served by default at `target`; None when there is none.

    A row of a corrections file may give only `replacement`, without candidates.
    """
    at = key(target)
    for candidate in row.candidates:
        if key(candidate.from_) <= at < key(candidate.until):
            return candidate
    if row.replacement and not row.candidates:
        return Candidate(api=row.replacement, from_="0.0", compatible=row.field_compatible)
    return None


def gates_of(flags: Iterable[str]) -> dict[str, bool]:
    """The gates that "--feature-gates=A=true,B=false" names, over all of a component's flags."""
    out = {}
    for flag in flags:
        name, _, value = flag.lstrip("-").partition("=")
        if name == "feature-gates":
            for item in value.strip("\"'").split(","):
                gate, _, text = item.strip().rpartition(":")  # 1.31 on: "kubelet:Gate=true"
                del gate
                word, _, truth = text.partition("=")
                if word:
                    out[word] = truth.lower() != "false"
    return out


def flags_gone(
    knowledge: Knowledge, component: str, flags: Iterable[str], target: str
) -> tuple[Flag, ...]:
    """Flags in use that this component no longer has at `target` ("3.6" for etcd)."""
    found = []
    for text in flags:
        name = text.lstrip("-").partition("=")[0].replace("_", "-")
        row = knowledge.by_flag.get((component, name))
        if row and key(row.removed) <= key(target):
            found.append(row)
    return tuple(found)


def coverage(knowledge: Knowledge, target: str) -> Coverage:
    """What is known about a minor. Raises ConfigError when it lies outside the tables."""
    minor = demand_known(knowledge, target)
    read = next(dict(s["read"]) for s in knowledge.sources if s["minor"] == minor)
    expected = {name for s in knowledge.sources for name in s["read"]}
    if key(minor) < (1, 20):
        expected.discard("k8s.io/controller-manager")  # split off in 1.20
    apis = [r for r in knowledge.apis if r.removed == minor and r.what != "subresource"]
    counts = {
        "APIs on by default": sum(r.default_served for r in apis),
        "APIs off by default": sum(not r.default_served for r in apis),
        "feature gates": sum(g.removed == minor for g in knowledge.gates),
        "flags": sum(f.removed == minor and f.component != "etcd" for f in knowledge.flags),
        "fields": sum(f.minor == minor and f.change == "removed" for f in knowledge.fields),
        "admission plugins": sum(p.removed == minor for p in knowledge.plugins),
        "configuration kinds": sum(c.removed == minor for c in knowledge.configurations),
        "in-tree plugins": sum(i.removed == minor for i in knowledge.in_tree),
    }
    missing = tuple(sorted(expected - read.keys()))
    verdict = "complete" if not missing else f"complete but for {', '.join(missing)}"
    if not apis:
        verdict += ", none"  # of the APIs: the counts say what else went
    return Coverage(
        target=minor,
        as_of=knowledge.as_of,
        sources=read,
        missing=missing,
        removed=counts,
        verdict=verdict,
        disagreements=sum(d.minor == minor for d in knowledge.disagreements),
    )
