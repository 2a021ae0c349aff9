"""A finding as a watch keeps it: with a key that stays the same from round to round."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import msgspec

from pawl.core.findings import Finding, Severity
from pawl.core.inventory.report import Inventory
from pawl.core.lint.finding import LintFinding
from pawl.core.model import Unread
from pawl.core.ownership import Ownership

_CHANGING = re.compile(r" \(last [^)]*\)|\d{4}-\d\d-\d\dT[\d:.]+Z?|\b\d+ (?:calls?|times|days)\b")
"""Parts of a message that change although the thing said is the same."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """`source` is the command that says the same by hand; `minor` where it breaks, "" for unsaid.

    `key` tells findings apart: what, about what, and how bad. A warning that becomes a blocker is
    another finding, so its owner is told again.
    """

    key: str
    source: str
    code: str
    severity: Severity
    subject: str
    message: str
    remedy: str = ""
    owner: str = ""
    minor: str = ""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a cluster. `unread` makes it incomplete: then what it does not see may be there
    all the same."""

    sightings: tuple[Sighting, ...] = ()
    unread: tuple[Unread, ...] = ()
    server: str = ""
    target: str = ""


def of_inventory(inventory: Inventory) -> tuple[Sighting, ...]:
    """Warnings and blockers; what is only information is not worth anybody's mail."""
    owners: dict[str, str] = {c.ref: c.owner for c in inventory.clients}
    for client in inventory.clients:
        if client.release:
            owners.setdefault(f"Helm release {client.release}", client.owner)
    return tuple(
        _of_finding("pawl inventory", f, owners)
        for f in inventory.findings
        if f.counts is not Severity.INFO
    )


def of_lint(
    findings: tuple[LintFinding, ...], ownership: Ownership | None = None
) -> tuple[Sighting, ...]:
    """Of `pawl scan`: what counts, waivers applied. The object's own mark names its owner, else the
    ownership file."""
    owned = ownership or Ownership()
    return tuple(
        Sighting(
            key=_key(f.rule, str(f.counts), f.path, f.object, f.api_version, f.minor),
            source="pawl scan",
            code=f.rule,
            severity=f.counts,
            subject=f"{f.object} ({f.path})" if f.path else f.object,
            message=f.message,
            remedy=f"Use {f.replacement}." if f.replacement else "",
            owner=f.owner or owned.of(f.kind, f.namespace, f.name),
            minor=f.minor,
        )
        for f in findings
        if f.counts is not Severity.INFO
    )


def _of_finding(source: str, finding: Finding, owners: Mapping[str, str]) -> Sighting:
    said = _CHANGING.sub("", finding.message)
    return Sighting(
        key=_key(finding.code, str(finding.counts), finding.subject, said),
        source=source,
        code=finding.code,
        severity=finding.counts,
        subject=finding.subject,
        message=finding.message,
        remedy=finding.waived or finding.remedy,
        owner=owners.get(finding.subject, ""),
        minor=finding.minor,
    )


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
