"""CHANGELOG files as items: everything that is urgent, deprecated or removed between two releases.

A file holds the newest release first, down to the alphas. The notes of `# v1.N.0` are complete
for the minor, and alphas and betas repeat them, so pre-releases are left out; patch releases
between the two versions are read too. Most removals stand under "Other (Cleanup or Flake)" and a
few under "Feature", "API Change" or "Dependency": they are found by their words, everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pawl.core.changelog.item import Category, Item, identity
from pawl.core.version import Minor, Version

NEWEST_PATCH = 9999
"""Stands for the newest patch of a minor, whichever that is."""

_VERSION = re.compile(
    r"^# (?:Kubernetes )?v(\d+\.\d+\.\d+(?:-[\w.]+)?)(?: Release Notes)?\s*$", re.M
)
_HEADING = re.compile(r"^(#{2,6})\s+(.*?)\s*$")
_ITEM = re.compile(r"^ {0,3}[-*] +")
_PR = re.compile(
    r"\[#(\d{1,6})\]\(|kubernetes/(?:kubernetes/)?(?:pull|issues)/(\d{1,6})|\(#(\d{3,6})\b"
)
_SIG = re.compile(r"\[SIGs? ([^\]]+)\]\s*$")
_CREDIT = re.compile(r"\s*\(\[#\d+\].*$|\s*\(#\d+, .*$", re.S)

_SKIPPED = re.compile(
    r"^(Downloads|Source Code|(Client|Server|Node) [Bb]inaries|Container Images|Dependencies"
    r"|Added|Changed|Changelog since|Known [Ii]ssues|Contributors)",
    re.I,
)
_URGENT = re.compile(
    r"urgent upgrade notes|no, really, you must|before you upgrade|action required", re.I
)
_DEPRECATION = re.compile(r"deprecat", re.I)
_SECURITY = re.compile(r"^CVE-|security information|vulnerab", re.I)
_BUG = re.compile(r"bug|regression|failing test", re.I)
_ACTION = re.compile(r"action[ -]required", re.I)

_REMOVAL = re.compile(
    r"\b(?:remov(?:e|es|ed|ing|al)|drop(?:s|ped|ping)?|delete[sd]?|no longer|not supported any"
    r"|unsupported|(?:has|have) gone|locked to|retir(?:e|es|ed)|discontinu\w+"
    r"|fail(?:s)? to start|refus(?:e|es) to start)\b",
    re.I,
)
_ANNOUNCED = re.compile(
    r"\b(?:will|to|may|might|should|can|could|would) (?:\w+ )?"
    r"(?:be (?:\w+ )?(?:removed|dropped|deleted|locked to|retired|discontinued)"
    r"|remove|drop|delete)\b|\bwill no longer be served\b|\bfor removal\b",
    re.I,
)
"""Words of a removal that is still to come."""
_MATTERS = re.compile(
    r"\bflags?\b|`?--[a-z]|feature[ -]?gates?|\bAPIs?\b|/v\d|v\d(?:alpha|beta)\d|metrics?\b"
    r"|support\b"
    r"|plugins?\b|providers?\b|driver|field|option|label|annotation|config|legacy|in-tree|command"
    r"|start\b|default|runtime|cgroup|iptables|ipvs|kernel",
    re.I,
)


def releases(text: str) -> Iterator[tuple[Version, str]]:
    """(version, its notes) of a CHANGELOG file, in the file's order."""
    starts = list(_VERSION.finditer(text))
    ends = [*(after.start() for after in starts[1:]), len(text)]
    for here, end in zip(starts, ends, strict=False):  # a file without any has one end too many
        yield Version.parse(here[1]), text[here.end() : end]


def between(texts: Iterable[str], since: Version, to: Version) -> tuple[Item, ...]:
    """The items after `since`, up to and with `to`, each once; oldest release first."""
    found: dict[str, Item] = {}
    every = [release for text in texts for release in releases(text)]
    sections = [(v, notes) for v, notes in every if not v.pre and since < v <= to]
    for version, notes in sorted(sections, key=lambda s: s[0]):
        for item in items(version, notes):
            same = next((k for k, v in found.items() if _same(v, item)), None)
            if same is None:
                found[item.id] = item
            elif item.version != found[same].version:
                old = found[same]
                found[same] = msgspec.structs.replace(old, also=(*old.also, item.version))
    if any(not item.sigs for item in found.values()):  # whole minors are without, their alphas not
        told = _sigs_by_pr(notes for _, notes in every)
        found = {
            key: item if item.sigs else msgspec.structs.replace(item, sigs=_sigs_of(item, told))
            for key, item in found.items()
        }
    order: dict[Category, int] = {
        "urgent": 0, "action required": 1, "security": 2, "removal": 3, "deprecation": 4,
    }  # fmt: skip
    return tuple(
        sorted(found.values(), key=lambda i: (Version.parse(i.version), order[i.category]))
    )


def lacking(text: str, since: Version, to: Version, minor: Minor) -> str:
    """The release on the way whose notes this file of `minor` should hold and does not ("v1.37.0"),
    "" for none: a file that is older than the release says nothing of it. Of a target that is only
    a minor (`NEWEST_PATCH`) any patch will do."""
    there = {version for version, _ in releases(text) if not version.pre}
    wanted = [Version(minor.major, minor.minor, 0)]
    if minor == to.minor_line and to.patch != NEWEST_PATCH:
        wanted.append(to)
    return next((f"v{w}" for w in wanted if since < w and w not in there), "")


def _same(a: Item, b: Item) -> bool:
    """A repetition: the same words, or a pull request picked into another release."""
    return a.id == b.id or (bool(a.prs) and a.prs == b.prs and a.text[:60] == b.text[:60])


def items(version: Version, notes: str) -> Iterator[Item]:
    """The items of one release that a person should know of."""
    for section, heads, body in _entries(notes):
        prs = _prs(body)
        text = _SIG.sub("", _CREDIT.sub("", body)).strip()
        if category := _category(section, heads, text):
            yield Item(
                id=identity(prs, text),
                version=str(version),
                section=section,
                category=category,
                text=text,
                prs=prs,
                sigs=_sigs(body),
            )


def _prs(body: str) -> tuple[int, ...]:
    found = (int(next(g for g in m.groups() if g)) for m in _PR.finditer(body))
    return tuple(dict.fromkeys(found))


def _sigs(body: str) -> tuple[str, ...]:
    sig = _SIG.search(body)
    return tuple(re.split(r",? and |, ", sig[1])) if sig else ()


def _sigs_by_pr(every: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """Pull request -> its SIGs, by any release whose notes name them."""
    return {
        pr: sigs
        for notes in every
        for _, _, body in _entries(notes)
        if (sigs := _sigs(body))
        for pr in _prs(body)
    }


def _sigs_of(item: Item, told: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    return next((told[pr] for pr in item.prs if pr in told), ())


def _entries(notes: str) -> Iterator[tuple[str, str, str]]:
    """(own heading, all headings above, the whole text) of each top-level list item."""
    heads: list[tuple[int, str]] = []
    current: list[str] = []

    def done() -> Iterator[tuple[str, str, str]]:
        if current and heads and not any(_SKIPPED.match(h) for _, h in heads):
            body = "\n".join(current).strip()
            yield heads[-1][1], " / ".join(h for _, h in heads), _ITEM.sub("", body, count=1)
        current.clear()

    paragraph = False
    for line in notes.splitlines():
        if heading := _HEADING.match(line):
            yield from done()
            level = len(heading[1])
            while heads and heads[-1][0] >= level:
                heads.pop()
            heads.append((level, heading[2]))
            paragraph = bool(_SECURITY.search(heading[2]) or _URGENT.search(heading[2]))
        elif line.startswith(("- ", "* ", " - ", " * ")):
            yield from done()
            current.append(line)
        elif (current and _continues(line, current[-1])) or (paragraph and line.strip()):
            current.append(line)
    yield from done()


def _continues(line: str, before: str) -> bool:
    """Markdown: an item goes on while lines are indented, blank, or wrap the line above."""
    return line.startswith((" ", "\t")) or not line.strip() or bool(before.strip())


def _category(section: str, heads: str, text: str) -> Category | None:
    if not text or re.match(
        r"none\.?$|(?:there (?:are|is) )?(?:no|none) (?:urgent|action)", text, re.I
    ):
        return None
    if _URGENT.search(heads):
        return "urgent"
    if _ACTION.search(text):
        return "action required"
    if _SECURITY.search(heads):
        return "security"
    gone = bool(_REMOVAL.search(_ANNOUNCED.sub(" ", text)))
    if _DEPRECATION.search(section):
        return "removal" if gone else "deprecation"
    if section.startswith("Documentation"):
        return None
    if _BUG.search(section):  # "no longer crashes" is no removal
        went = re.search(r"\b(?:removed?|removal|dropped|locked to)\b", text, re.I)
        named = re.search(r"\bflags?\b|feature gate|/v\d|\bAPI\b|plugin|provider", text)
        return "removal" if went and named else None
    if _REMOVAL.search(text) and _MATTERS.search(text):
        return "removal" if gone else "deprecation"
    return "deprecation" if _DEPRECATION.search(text) else None
