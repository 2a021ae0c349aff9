"""What was found out before the plan, beside the cluster's state: facts in, findings later.

    state + Beforehand ──checks──> findings ──accept──> plan

`Beforehand` holds what hosts have in use, what binaries said, the release notes and the scan, each
as facts. What was not looked at is named in `left_out` with who left it out, and becomes a part of
the plan: absence of findings never looks like a look that found nothing.
"""

from __future__ import annotations

import msgspec

from pawl.core.changelog.item import Judged
from pawl.core.findings import Finding
from pawl.core.foreseen import Foreseen
from pawl.core.inuse.facts import HostUse
from pawl.core.model import Unread


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A look that was not taken ("scan", "hosts", "changelog" …), and why."""

    what: str
    why: str


class Beforehand(msgspec.Struct, frozen=True, kw_only=True):
    """`notes_unread` are sentences on minors whose notes are not known, `notes_newer` on patch
    releases that are newer than what was read. `asked` names the binaries that were asked on this
    machine ("kubelet 1.37.0"), `not_asked` those that could not be. `scan` and `inventory` hold
    findings that were made of a scan of the cluster and of the add-ons that run in it.
    """

    uses: tuple[HostUse, ...] = ()
    notes: tuple[Judged, ...] = ()
    notes_unread: tuple[str, ...] = ()
    notes_newer: tuple[str, ...] = ()
    scan: tuple[Finding, ...] = ()
    scan_unread: tuple[Unread, ...] = ()
    inventory: tuple[Finding, ...] = ()
    inventory_unread: tuple[Unread, ...] = ()
    moves: Foreseen | None = None
    """What emptying the nodes will ask for."""
    asked: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
