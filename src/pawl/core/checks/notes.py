"""Risks that were found out beforehand: release notes, and what could not be found out."""

from __future__ import annotations

from collections.abc import Iterator

from pawl.core.beforehand import Beforehand
from pawl.core.changelog.item import URGENT
from pawl.core.changelog.judge import findings as note_findings
from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding
from pawl.core.model import Unread
from pawl.core.version import Minor


@check(K001="an urgent release note waits for a person")
def release_notes(facts: Facts) -> Iterator[Finding]:
    if facts.beforehand is None:
        return
    yield from note_findings(
        j
        for j in facts.beforehand.notes
        if j.item.category in URGENT and j.verdict != "does not apply" and not j.acknowledged
    )


@check(K002="release notes on the way were not read")
def notes_read(facts: Facts) -> Iterator[Finding]:
    """A minor without its notes refuses; a patch release that is newer than the table warns, since
    303 patch releases held one urgent note in all (`pawl.core.changelog.shipped`)."""
    known = facts.beforehand or Beforehand()
    remedy = (
        "Read them into the cache with `pawl changelog FROM TO` (--source FILE where there is no "
        "network), then plan again."
    )
    for what in known.notes_unread:
        yield finding("K002", "release notes", what, remedy)
    for what in known.notes_newer:
        yield finding("K002", "release notes", what, remedy, warn=True)


def _not_read(code: str, look: str, unread: Unread) -> Finding:
    """`look`: the name of the command, of its page in docs/, and in the flag that leaves it out."""
    return finding(
        code,
        f"{look} of {unread.source}",
        f"could not be read: {unread.why}",
        f"Give pawl the right to read it (docs/{look}.md), waive it by name, or plan with "
        f"--no-{look}, which the plan will say.",
        where=unread.source,
    )


@check(S000="the scan could not read something")
def scan_read(facts: Facts) -> Iterator[Finding]:
    """Not read is not clean."""
    for unread in facts.beforehand.scan_unread if facts.beforehand else ():
        yield _not_read("S000", "scan", unread)


@check()
def scanned(facts: Facts) -> Iterator[Finding]:
    """What `pawl scan` finds: its codes are declared in `pawl.core.scan.rules`."""
    yield from facts.beforehand.scan if facts.beforehand else ()


@check(A000="the inventory could not read something")
def inventory_read(facts: Facts) -> Iterator[Finding]:
    """An add-on in what was not read is one whose verdict nobody has seen."""
    for unread in facts.beforehand.inventory_unread if facts.beforehand else ():
        yield _not_read("A000", "inventory", unread)


@check()
def inventoried(facts: Facts) -> Iterator[Finding]:
    """What `pawl inventory` finds: its codes are declared in `pawl.core.inventory.judge`."""
    yield from facts.beforehand.inventory if facts.beforehand else ()


@check(K003="nothing is known about the target")
def target_known(facts: Facts) -> Iterator[Finding]:
    """Of a minor that the tables do not cover they say nothing: no finding would mean nothing."""
    if facts.beforehand is None or not facts.target.kubernetes:
        return
    minor, tables = str(Minor.parse(facts.target.kubernetes)), facts.knowledge
    if not tables.known(minor):
        yield finding(
            "K003",
            f"Kubernetes {minor}",
            f"is not in the tables, which cover {tables.oldest} to {tables.newest} (as of "
            f"{tables.as_of}): what it removes is not known.",
            "Update pawl, or derive the tables for it (docs/knowledge.md).",
            minor=minor,
        )


@check(U013="a binary of the target could not be asked")
def asked(facts: Facts) -> Iterator[Finding]:
    for what in facts.beforehand.not_asked if facts.beforehand else ():
        yield finding(
            "U013",
            what,
            "was not asked whether it takes the flags and configuration in use: it lies neither "
            "on the hosts nor in the cache of this machine.",
            "pawl artifact fetch COMPONENT VERSION, then plan again; the tables alone were judged.",
            warn=True,
        )
