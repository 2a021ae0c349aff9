"""From facts to the list: who is a client of the API, whose it is, and what it brings along."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pawl.core.inventory import compat, images, rbac
from pawl.core.inventory.facts import Binary, Call, InventoryFacts, Release, WorkloadFact
from pawl.core.inventory.gobuild import client_go_minor
from pawl.core.inventory.report import Caller, Client, Seen
from pawl.core.ownership import Ownership

HELM_MANAGERS = ("helm", "Helm")


def clients(
    facts: InventoryFacts,
    ownership: Ownership,
    addons: Sequence[compat.Addon],
    path: Sequence[str],
) -> tuple[Client, ...]:
    """Every workload whose service account has a grant of its own or was seen calling, and every
    known add-on. A grant to all service accounts alone lists nobody: it says nothing of one."""
    access = rbac.resolve(facts)
    calls = _calls_by_account(facts.calls)
    binaries = {b.workload: b for b in facts.binaries if b.workload}
    releases = {r.ref: r for r in facts.releases}
    crds = _crd_owners(facts)
    found = []
    for workload in facts.workloads:
        account = (workload.namespace, workload.service_account)
        own = access.of.get(account, ()) + access.per_namespace.get(account[0], ())
        called = calls.get(account, ())
        parsed = [images.parse(c.image) for c in workload.containers]
        release = releases.get(workload.release)
        addon = compat.find(addons, parsed, release.chart if release else "")
        seen: list[Seen] = []
        if own:
            seen.append("rbac")
        if called:
            seen.append("audit")
        if addon and not seen:
            seen.append("add-on")
        if seen:
            found.append(
                _client(facts, ownership, workload, seen, access.grants(account), called,
                        parsed, release, addon, binaries.get(workload.ref),
                        crds.get(workload.ref, ()), path)
            )  # fmt: skip
    return tuple(sorted(found, key=lambda c: (c.namespace, c.kind, c.name)))


def outside(facts: InventoryFacts) -> tuple[Caller, ...]:
    """Callers in audit logs whose user is no service account of a workload that is there."""
    accounts = {(w.namespace, w.service_account) for w in facts.workloads}
    return tuple(
        _caller(call)
        for call in sorted(facts.calls, key=lambda c: (-c.count, c.user, c.agent))
        if _account(call.user) not in accounts
    )


def orphans(facts: InventoryFacts) -> tuple[str, ...]:
    owned = {name for names in _crd_owners(facts).values() for name in names}
    return tuple(sorted(c.name for c in facts.crds if c.name not in owned))


def _client(
    facts: InventoryFacts,
    ownership: Ownership,
    workload: WorkloadFact,
    seen: Sequence[Seen],
    grants: Sequence[rbac.Grant],
    called: Sequence[Call],
    parsed: Sequence[images.Image],
    release: Release | None,
    addon: compat.Addon | None,
    binary: Binary | None,
    crds: Sequence[str],
    path: Sequence[str],
) -> Client:
    owner, owner_by = _owner(facts, ownership, workload)
    version = _version(workload, parsed, release, addon)
    tokens = {(a.namespace, a.name): a.token for a in facts.accounts}
    token = workload.token
    if token is None:
        token = tokens.get((workload.namespace, workload.service_account))
    notes = []
    if token is False and "audit" not in seen:
        notes.append("its pods get no token of this service account by default")
    if addon and addon.note and addon.rule != "untied":
        notes.append(addon.note)
    chart = f"{release.chart} {release.version}" if release else workload.chart
    return Client(
        kind=workload.kind,
        namespace=workload.namespace,
        name=workload.name,
        service_account=workload.service_account,
        seen=tuple(seen),
        owner=owner,
        owner_by=owner_by,
        images=tuple(c.image for c in workload.containers),
        version=version,
        release=workload.release,
        chart=chart,
        kube_version=release.kube_version if release else "",
        addon=addon.name if addon else "",
        access=rbac.words(grants),
        bindings=tuple(dict.fromkeys(g.through for g in grants)),
        token=token,
        go=binary.go if binary else "",
        client_go=binary.client_go if binary else "",
        client_minor=client_go_minor(binary.client_go) if binary else "",
        crds=tuple(crds),
        callers=tuple(_caller(c) for c in called),
        hops=compat.judge(addon, version, path) if addon else (),
        notes=tuple(notes),
    )


def _owner(facts: InventoryFacts, ownership: Ownership, workload: WorkloadFact) -> tuple[str, str]:
    if workload.owner:
        return workload.owner, "its annotation or label"
    if by_file := ownership.of(workload.kind, workload.namespace, workload.name):
        return by_file, "the ownership file"
    if by_namespace := facts.namespace_owners.get(workload.namespace, ""):
        return by_namespace, f"namespace {workload.namespace}"
    return "", ""


def _version(
    workload: WorkloadFact,
    parsed: Sequence[images.Image],
    release: Release | None,
    addon: compat.Addon | None,
) -> str:
    """Of the image that makes it the add-on, else of the first; then chart, then label."""
    ordered = list(parsed)
    if addon:
        ordered.sort(key=lambda i: not any(i.is_of(end) for end in addon.images))
    if ordered and ordered[0].version:
        return ordered[0].version
    for text in (release.app_version if release else "", workload.version_label):
        if version := images.version_of(text):
            return version
    return next((i.version for i in ordered if i.version), "")


def _account(user: str) -> tuple[str, str] | None:
    if not user.startswith(rbac.PREFIX):
        return None
    namespace, _, name = user.removeprefix(rbac.PREFIX).partition(":")
    return namespace, name


def _calls_by_account(calls: Iterable[Call]) -> dict[tuple[str, str], tuple[Call, ...]]:
    found: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda c: (-c.count, c.agent)):
        if account := _account(call.user):
            found[account].append(call)
    return {account: tuple(own) for account, own in found.items()}


def _caller(call: Call) -> Caller:
    return Caller(
        user=call.user,
        agent=call.agent,
        count=call.count,
        last=call.last,
        deprecated=call.deprecated,
    )


def _crd_owners(facts: InventoryFacts) -> dict[str, tuple[str, ...]]:
    """Workload -> names of CRDs. A CRD belongs to the release that its annotation names or whose
    chart ships it, else to the workload that is one of its field managers by name, else to the
    workload whose label `app.kubernetes.io/name` it shares. Within a release the workload that
    carries the release's own name, or the only one, is the controller."""
    shipped: dict[str, str] = {}
    for release in facts.releases:
        for name in release.crds:
            shipped[name] = release.ref
    by_release: dict[str, list[WorkloadFact]] = defaultdict(list)
    for workload in facts.workloads:
        if workload.release:
            by_release[workload.release].append(workload)
    owned: dict[str, list[str]] = defaultdict(list)
    for crd in facts.crds:
        release_ref = crd.release or shipped.get(crd.name, "")
        holders = _main_of(by_release.get(release_ref, []), release_ref)
        if not holders:
            names = {m for m in crd.managers if m not in HELM_MANAGERS}
            holders = [w for w in facts.workloads if w.name in names]
        if not holders and crd.app:
            holders = [w for w in facts.workloads if w.app == crd.app][:1]
        for workload in holders:
            owned[workload.ref].append(crd.name)
    return {ref: tuple(sorted(names)) for ref, names in owned.items()}


def _main_of(workloads: Sequence[WorkloadFact], release: str) -> list[WorkloadFact]:
    """The workloads of a release that a CRD of it may be meant for."""
    name = release.partition("/")[2]
    exact = [w for w in workloads if w.name == name]
    if exact or len(workloads) <= 1:
        return exact or list(workloads)
    controllers = [w for w in workloads if "controller" in w.name or "operator" in w.name]
    return controllers[:1] or list(workloads)
