"""The one step from what was read to the answer."""

from __future__ import annotations

from collections.abc import Sequence

from pawl.core.errors import ConfigError
from pawl.core.findings import Finding
from pawl.core.inventory import assemble, compat, judge, rbac
from pawl.core.inventory.facts import InventoryFacts
from pawl.core.inventory.report import Inventory
from pawl.core.knowledge.answer import demand_known
from pawl.core.knowledge.store import Knowledge
from pawl.core.ownership import Ownership
from pawl.core.version import Minor


def take(
    facts: InventoryFacts,
    *,
    to: str,
    knowledge: Knowledge,
    ownership: Ownership | None = None,
    addons: Sequence[compat.Addon] | None = None,
    start: str = "",
) -> Inventory:
    """`start` is the minor that the API servers act as, where it is not that of their binaries.

    Raises ConfigError for a target that the tables do not cover or that lies behind.
    """
    addons = compat.shipped() if addons is None else addons
    hops = path(start or facts.server, demand_known(knowledge, to))
    found = assemble.clients(facts, ownership or Ownership(), addons, hops)
    notes = [*rbac.resolve(facts).dangling]
    if not facts.calls_read:
        notes.append(
            "no audit log was read: clients are listed by what they may do, not by what they do "
            "(give --audit FILE, or run it with pawl.yaml where the hosts keep one)"
        )
    days = [row.as_of for addon in addons for row in addon.rows] + [a.as_of for a in addons]
    return Inventory(
        server=facts.server,
        path=hops,
        as_of=max((d for d in days if d), default=""),
        clients=found,
        outside=assemble.outside(facts),
        orphans=assemble.orphans(facts),
        findings=judge.findings(facts, found, addons, knowledge, hops),
        questions=judge.questions(found),
        notes=tuple(notes),
        unread=facts.unread,
    )


def plan_findings(found: Inventory) -> tuple[Finding, ...]:
    """What a plan carries of it: all on add-ons and charts, the unknown too. Who calls an API that
    goes away is the scan's to tell, with a grade (PAWL-S001, S004), and of clients that may call
    one an inventory has only hints."""
    return tuple(f for f in found.findings if f.code in judge.OF_ADDONS)


def path(server: str, target: str) -> tuple[str, ...]:
    """The minors from the running one to the target; the running one alone where both are one."""
    end = Minor.parse(target)
    if not server:
        return (str(end), str(end))
    start = Minor.parse(server)
    if end < start:
        raise ConfigError(
            "target", [f"the API servers run {start}, which is newer than the target {end}"]
        )
    return tuple(str(start + n) for n in range(end - start + 1))
