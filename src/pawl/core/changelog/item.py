"""One release note that a person must know of, and its verdict for one cluster."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

Category = Literal["urgent", "action required", "security", "deprecation", "removal"]
Verdict = Literal["applies", "does not apply", "needs a person"]

URGENT: tuple[Category, ...] = ("urgent", "action required")
"""Categories that block a plan until they are judged or acknowledged."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is the release whose notes hold it; `also` further releases that repeat it (a fix
    that was picked into several patches). `section` is its heading, `prs` its pull requests."""

    id: str
    version: str
    section: str
    category: Category
    text: str
    prs: tuple[int, ...] = ()
    sigs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(f"https://github.com/kubernetes/kubernetes/pull/{pr}" for pr in self.prs)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An item with its verdict for this cluster. `evidence` says why: each a sentence."""

    item: Item
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    acknowledged: str = ""


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person has dealt with an item. `at` is a day, "2026-11-24"."""

    item: str
    by: str
    at: str
    note: str = ""


class Checklist(msgspec.Struct, frozen=True, kw_only=True):
    """Everything between two versions. `unread` names changelogs that could not be had."""

    schema: int = 1
    source: str
    target: str
    judged: tuple[Judged, ...]
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[Judged, ...]:
        """Urgent notes that apply or need a person, and that nobody has acknowledged."""
        return tuple(
            j
            for j in self.judged
            if j.item.category in URGENT and j.verdict != "does not apply" and not j.acknowledged
        )


def identity(prs: tuple[int, ...], text: str) -> str:
    """Stable over repetitions with other white space: the first pull request, and the words."""
    words = re.sub(r"\W+", " ", text.lower()).strip()
    digest = hashlib.sha256(words.encode()).hexdigest()[:6]
    return f"{prs[0]}-{digest}" if prs else digest
