"""In which version an object lies in etcd, and whether the target's API server can read it.

An API server converts on read: an object that was stored in an older version stays so until
somebody writes it again. A version that is not served any more can be read for years on (Ingress
extensions/v1beta1 still can at 1.37), until it is taken out of the scheme. From that minor on one
such object is enough that the whole resource cannot be listed, also while an older minor is
emulated, for the scheme is the binary's. Which versions each minor reads is in the tables
(`Api.unreadable`); what lies in etcd only etcd tells, for neither the object nor its managedFields
name the version of its storage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from pawl.core.findings import Severity
from pawl.core.knowledge.rows import Api, key
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint.finding import LintFinding
from pawl.core.scan.facts import Encoded
from pawl.core.scan.lens import Lens


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A resource that may lie in etcd in one of `versions`, each with the first minor that cannot
    read it."""

    group: str
    resource: str
    kind: str
    versions: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


def suspects(
    knowledge: Knowledge, target: str, served: Collection[tuple[str, str]]
) -> tuple[Suspect, ...]:
    """What to look for in etcd before going to `target`. `served` are the (group, resource) that
    the cluster serves now: of a kind that neither it nor the target serves, what is stored is
    never read."""
    at = key(target)
    by_resource: dict[tuple[str, str], list[Api]] = {}
    for row in knowledge.apis:
        if row.what == "object":
            by_resource.setdefault((row.group, row.resource), []).append(row)
    found = []
    for (group, resource), rows in sorted(by_resource.items()):
        lost = {r.api_version: r.unreadable for r in rows if key(r.unreadable) <= at}
        alive = [r for r in rows if not r.removed or key(r.removed) > at]
        read = (group, resource) in served or any(r.default_served for r in alive)
        if lost and alive and read:
            found.append(Suspect(group=group, resource=resource, kind=rows[0].kind, versions=lost))
    return tuple(found)


def findings(fact: Encoded, lens: Lens) -> Iterator[LintFinding]:
    """Objects that the target cannot read: what the adapter was asked to look for."""
    row = lens.judge.knowledge.by_api[fact.api_version, fact.kind]
    name = f"{fact.resource}.{row.group}" if row.group else fact.resource
    many = "1 object lies" if fact.count == 1 else f"{fact.count} objects lie"
    already = ", which is so on this cluster" if lens.was_before(row.unreadable) else ""
    yield LintFinding(
        rule="stored-unreadable",
        severity=Severity.BLOCKER,
        path=f"etcd/{name}",
        line=0,
        api_version=fact.api_version,
        kind=fact.kind,
        message=f"{many} in etcd as {fact.api_version}, which an API server of {row.unreadable} or "
        f"newer cannot read{already}: it can list no {fact.resource} at all",
        minor=row.unreadable,
        grade="proven",
        evidence=(f"the first of them: {', '.join(fact.examples)}",),
    )
