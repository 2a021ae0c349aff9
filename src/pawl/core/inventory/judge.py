"""What a person must know of an inventory before the upgrade: findings PAWL-A001 to PAWL-A010.

Only what is known to break blocks. A vendor's table ends where the vendor stopped writing, so what
is unsupported or untested warns: whoever approves the plan has accepted it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from pawl.core.findings import Finding, Severity
from pawl.core.inventory import compat, corefile, rbac
from pawl.core.inventory.constraint import Constraint
from pawl.core.inventory.facts import InventoryFacts
from pawl.core.inventory.report import Client
from pawl.core.knowledge.rows import key
from pawl.core.knowledge.store import Knowledge
from pawl.core.version import Version

CODES = {
    "PAWL-A001": "an add-on is known to break at a hop",
    "PAWL-A002": "an add-on does not go with a hop",
    "PAWL-A003": "what an add-on goes with is not known",
    "PAWL-A004": "an add-on's project is retired",
    "PAWL-A005": "a Helm chart refuses the target",
    "PAWL-A006": "the Corefile holds what CoreDNS gave up",
    "PAWL-A007": "a client still calls an API that goes away",
    "PAWL-A008": "RBAC names an API that is gone",
    "PAWL-A009": "a client's Kubernetes library is old",
    "PAWL-A010": "an API that goes away was called, and nobody is named",
}
OF_ADDONS = tuple(code for code in CODES if code <= "PAWL-A006")
"""Those on add-ons and charts; the others are on clients."""
OLD_CLIENT = 4
"""client-go tests no combination, but an API lives for at least three minors after its deprecation
(the deprecation policy of kubernetes.io/docs/reference/using-api/deprecation-policy): a client that
is further behind can rely on one that is gone. A hint, never more than information."""


def findings(
    facts: InventoryFacts,
    found: Sequence[Client],
    addons: Sequence[compat.Addon],
    knowledge: Knowledge,
    path: Sequence[str],
) -> tuple[Finding, ...]:
    every = [
        *_addons(found, addons),
        *_charts(facts, path),
        *_corefiles(facts, found),
        *_calls(found, path),
        *_roles(facts, found, knowledge, path),
        *_libraries(found, path),
        *_requested(facts, found, path),
    ]
    worst = {Severity.BLOCKER: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return tuple(sorted(set(every), key=lambda f: (worst[f.severity], f)))


def questions(found: Sequence[Client]) -> tuple[str, ...]:
    """What only an owner can say, one sentence each, addressed to the owner where there is one."""
    asked = []
    for client in found:
        unknown = [h.minor for h in client.hops if h.verdict == "unknown"]
        whom = client.owner or "whoever owns it"
        what = client.addon or client.ref
        version = f" {client.version}" if client.version else ""
        if unknown:
            asked.append(
                f"{whom}: which release of {what}{version} ({client.ref}) goes with Kubernetes "
                f"{', '.join(unknown)}?"
            )
        elif not client.addon and "rbac" in client.seen and not client.owner:
            asked.append(f"{client.ref} may call the API ({client.access}): who owns it?")
    return tuple(dict.fromkeys(asked))


def _addons(found: Sequence[Client], addons: Sequence[compat.Addon]) -> Iterator[Finding]:
    by_name = {a.name: a for a in addons}
    for client in found:
        addon = by_name.get(client.addon)
        if addon is None:
            continue
        if addon.retired:
            yield Finding(
                code="PAWL-A004",
                severity=Severity.WARNING,
                subject=client.ref,
                message=f"{addon.name} is retired since {addon.retired.since}: "
                f"{addon.retired.note} ({addon.retired.source}).",
                remedy="Plan its replacement before the upgrade.",
            )
        for hops in _alike(client.hops):
            if finding := _hop(client, hops[0], hops[-1].minor):
                yield finding


def _alike(hops: Sequence[compat.Hop]) -> Iterator[list[compat.Hop]]:
    """Each hop by itself; but hops in a row of which the same is unknown are one question."""

    def same(numbered: tuple[int, compat.Hop]) -> tuple[object, ...]:
        number, hop = numbered
        unknown = hop.verdict == "unknown" and not hop.move_to
        return ("unknown", hop.why) if unknown else ("hop", number)

    for _, group in groupby(enumerate(hops), key=same):
        yield [hop for _, hop in group]


def _hop(client: Client, hop: compat.Hop, until: str) -> Finding | None:
    """`until` is where the last hop ends of which the same is to be said."""
    source = f" ({hop.source}, {hop.as_of})" if hop.source else ""
    match hop.verdict:
        case "breaks":
            code, severity = "PAWL-A001", Severity.BLOCKER
        case "unsupported" | "untested":
            code, severity = "PAWL-A002", Severity.WARNING
            if hop.when == "after" and hop.verdict == "untested":
                severity = Severity.INFO
        case "unknown":
            code, severity = "PAWL-A003", Severity.INFO
        case _:
            return None
    if hop.move_to:
        remedy = f"Move it to {hop.move_to} {hop.when} the hop {hop.start} to {hop.minor}."
    elif hop.verdict == "unknown":
        remedy = "Ask its owner, and add a row of your own (docs/inventory.md, Your own rows)."
    else:
        remedy = "Ask its vendor for a release that does, or replace it."
    return Finding(
        code=code,
        severity=severity,
        subject=client.ref,
        message=f"hop {hop.start} to {until}: {hop.why}{source}.",
        remedy=remedy,
        minor=hop.minor,
    )


def _charts(facts: InventoryFacts, path: Sequence[str]) -> Iterator[Finding]:
    """`kubeVersion` is checked by Helm at install and upgrade, not at runtime: what runs goes on,
    the next `helm upgrade` (and so a rollback) of the release is refused."""
    for release in facts.releases:
        if not release.kube_version:
            continue
        subject = f"Helm release {release.ref}"
        try:
            constraint = Constraint(release.kube_version)
        except ValueError as error:
            yield Finding(
                code="PAWL-A003",
                severity=Severity.INFO,
                subject=subject,
                message=f"the chart's kubeVersion cannot be read: {error}.",
                remedy="Ask the chart's maintainer what it goes with.",
            )
            continue
        for minor in path[1:]:
            if constraint.admits(Version.parse(f"{minor}.0")):
                continue
            yield Finding(
                code="PAWL-A005",
                severity=Severity.WARNING,
                subject=subject,
                message=f"chart {release.chart} {release.version} says kubeVersion "
                f"{release.kube_version!r}, which leaves out {minor}: the next `helm upgrade` "
                "of it fails there; what runs goes on.",
                remedy=f"Move to a chart version that takes {minor} before the hop to it.",
                minor=minor,
            )
            break


def _corefiles(facts: InventoryFacts, found: Sequence[Client]) -> Iterator[Finding]:
    versions = [c.version for c in found if c.addon == "CoreDNS" and c.version]
    for held in facts.corefiles:
        subject = f"ConfigMap {held.namespace}/{held.name}"
        try:
            newest = corefile.shipped().newest
            now = {c.use: c for c in corefile.changes(held.text, versions[0])} if versions else {}
            later = corefile.changes(held.text, newest)
            unknown = corefile.uncovered(held.text)
        except ValueError as error:
            yield Finding(
                code="PAWL-A006", severity=Severity.WARNING, subject=subject,
                message=f"the Corefile cannot be read: {error}.",
                remedy="Mend it; CoreDNS keeps the last good one until it restarts.",
            )  # fmt: skip
            continue
        for change in later:
            warns = change.status == "removed" and now.get(change.use) != change
            yield Finding(
                code="PAWL-A006",
                severity=Severity.WARNING if warns else Severity.INFO,
                subject=subject,
                message=f"{change.sentence()}.",
                remedy=f"Take it out before CoreDNS moves to {change.since} or newer.",
            )
        if unknown:
            yield Finding(
                code="PAWL-A006", severity=Severity.INFO, subject=subject,
                message=f"nothing is known about the plugins {', '.join(unknown)}.",
                remedy="Look them up in the release notes of your CoreDNS build.",
            )  # fmt: skip


def _calls(found: Sequence[Client], path: Sequence[str]) -> Iterator[Finding]:
    for client in found:
        for caller in client.callers:
            for api, removed in caller.deprecated:
                gone = bool(removed) and key(removed) <= key(path[-1])
                fate = f"which {removed} no longer serves" if removed else "which is deprecated"
                yield Finding(
                    code="PAWL-A007",
                    severity=Severity.BLOCKER if gone else Severity.WARNING,
                    subject=client.ref,
                    message=f"{caller.agent} called {api}, {fate}"
                    f"{f' (last {caller.last})' if caller.last else ''}.",
                    remedy="Move it to a release that uses the replacement before that hop.",
                )


def _roles(
    facts: InventoryFacts, found: Sequence[Client], knowledge: Knowledge, path: Sequence[str]
) -> Iterator[Finding]:
    """Groups of RBAC rules whose every version is gone at the target, though they once were the
    API server's own. Cleaning up after a client that moved on is common, so this is a hint."""
    at = key(path[-1])
    alive: dict[tuple[str, str], bool] = {}
    for row in knowledge.apis:
        if row.what != "object" or not row.resource:
            continue
        live = not row.removed or key(row.removed) > at
        where = (row.group, row.resource)
        alive[where] = alive.get(where, False) or live
    access = rbac.resolve(facts)
    for client in found:
        named = set()
        for grant in access.of.get((client.namespace, client.service_account), ()):
            for group in grant.rule.groups:
                for resource in grant.rule.resources:
                    if alive.get((group, resource.partition("/")[0])) is False:
                        named.add(f"{resource}.{group}")
        if named:
            yield Finding(
                code="PAWL-A008",
                severity=Severity.INFO,
                subject=client.ref,
                message=f"its RBAC names {', '.join(sorted(named))}, which {path[-1]} does not "
                "serve: it may still want it.",
                remedy="Look whether its release is current; then take the rule out.",
            )


def _libraries(found: Sequence[Client], path: Sequence[str]) -> Iterator[Finding]:
    target = key(path[-1])
    for client in found:
        if not client.client_minor:
            continue
        behind = target[1] - key(client.client_minor)[1]
        if behind > OLD_CLIENT:
            yield Finding(
                code="PAWL-A009",
                severity=Severity.INFO,
                subject=client.ref,
                message=f"its program is built with client-go {client.client_go}, {behind} minors "
                f"older than {path[-1]}: an API that it relies on may be gone.",
                remedy="Look at its calls (audit log, `pawl scan`), or move it to a newer release.",
            )


def _requested(
    facts: InventoryFacts, found: Sequence[Client], path: Sequence[str]
) -> Iterator[Finding]:
    """A metric that names no client: said only where no audit record names one, with those whose
    RBAC lets them."""
    named = {api for c in found for caller in c.callers for api, _ in caller.deprecated}
    access = rbac.resolve(facts)
    for api, removed in sorted({(r.api, r.removed) for r in facts.requested}):
        if api in named:
            continue
        group, _, rest = api.partition("/")
        resource = rest.rpartition("/")[2]
        able = [
            c.ref
            for c in found
            if any(
                ({group, "*"} & set(g.rule.groups)) and ({resource, "*"} & set(g.rule.resources))
                for g in access.of.get((c.namespace, c.service_account), ())
            )
        ]
        gone = bool(removed) and key(removed) <= key(path[-1])
        fate = f"which {removed} no longer serves" if removed else "which is deprecated"
        who = f" Those that may: {', '.join(able[:6])}." if able else ""
        yield Finding(
            code="PAWL-A010",
            severity=Severity.WARNING if gone else Severity.INFO,
            subject=api,
            message=f"an API server was asked for {api}, {fate}; its metric names no client.{who}",
            remedy="Turn on the audit log (level Metadata) for a day to learn who it is.",
        )
