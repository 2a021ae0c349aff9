"""What `pawl plan` finds out before it plans: hosts, binaries, release notes, scan, inventory.

All of it is reading. What fails is named by the part that failed and becomes a finding; what was
left out, by an option or by a setting, is named in the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from pawl.core import skew
from pawl.core.beforehand import Beforehand, LeftOut
from pawl.core.changelog.facts import ApiFacts, Facts
from pawl.core.changelog.item import URGENT, Acknowledgement, Item
from pawl.core.changelog.judge import judged
from pawl.core.changelog.shipped import urgent
from pawl.core.checks import FlagComplaint
from pawl.core.checks.in_use import CONTROL_PLANE, NODE
from pawl.core.days import day_of
from pawl.core.errors import PawlError, Unreachable
from pawl.core.findings import Finding
from pawl.core.foreseen import Foreseen, foresee, nodes_to_empty
from pawl.core.inuse.blame import blame
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint import waive
from pawl.core.lint.waive import Waiver as LintWaiver
from pawl.core.model import ClusterState, Unread
from pawl.core.plan import Target
from pawl.core.version import Minor, Version

if TYPE_CHECKING:
    from pawl.interfaces.wiring import Session
    from pawl.ports.hosts import Hosts
    from pawl.ports.inuse import Oracle, Reading

LOOKS = ("scan", "hosts", "binaries", "changelog", "inventory")


@dataclass(frozen=True, slots=True)
class Found:
    beforehand: Beforehand
    complaints: tuple[FlagComplaint, ...] = ()


@dataclass
class Look:
    """Looks at one cluster, through a session's ports. `left_out` maps a look to the reason."""

    session: Session
    knowledge: Knowledge
    left_out: Mapping[str, str] = field(default_factory=dict)
    lint_waivers: tuple[LintWaiver, ...] = ()
    """Waivers by rule, for what the scan finds."""

    async def __call__(
        self, state: ClusterState, target: Target, releases: Mapping[str, str]
    ) -> Found:
        """`releases` says which release a minor in between means, for the binaries to ask."""
        if not target.kubernetes:
            return Found(Beforehand(), await self._staged(state, target, ()))
        readings: tuple[Reading, ...] = ()
        if "hosts" not in self.left_out:
            readings = await self.session.in_use.read(self.session.inventory.all())
        uses = tuple(r.use for r in readings)
        versions = passed(state, target, releases)
        staged = await self._staged(state, target, readings)
        asked, not_asked, said = await self._binaries(readings, target, versions)
        shipped = urgent(self.knowledge, oldest(state, target), Version.parse(target.kubernetes))
        items, newer = self._with_cached(shipped.items, shipped.newer, state, target)
        api = await self.session.api_facts() if items else ApiFacts()
        in_use = uses if "hosts" not in self.left_out else None
        notes = judged(items, Facts(state, None, in_use, api), self.knowledge, self._acknowledged())
        wanted = "changelog" not in self.left_out
        scan, scan_unread = await self._scan(state, target)
        addons, addons_unread = await self._inventory(state, target)
        moves = await self._moves(state, target)
        return Found(
            Beforehand(
                uses=uses,
                notes=notes if wanted else (),
                notes_unread=tuple(
                    f"The notes of Kubernetes {minor} are not known."
                    for minor in (shipped.missing if wanted else ())
                ),
                notes_newer=tuple(
                    f"The notes of {span} are newer than what is shipped and were not read."
                    for span in (newer if wanted else ())
                ),
                moves=moves,
                scan=scan,
                scan_unread=scan_unread,
                inventory=addons,
                inventory_unread=addons_unread,
                asked=asked,
                not_asked=not_asked,
                left_out=tuple(
                    LeftOut(what=what, why=self.left_out[what])
                    for what in LOOKS
                    if what in self.left_out
                ),
            ),
            tuple(dict.fromkeys((*staged, *said))),
        )

    async def _moves(self, state: ClusterState, target: Target) -> Foreseen | None:
        """What emptying the nodes asks for. What was not read leaves it to the plainer checks."""
        if not nodes_to_empty(state, target):
            return None
        try:
            facts = await self.session.see_workloads(connections=False)
        except Unreachable as error:
            return Foreseen(unread=(Unread(source="workloads", why=str(error)),))
        policy = self.session.config.policy
        return foresee(facts, state, target, pace=policy.pace, patience=policy.timeouts.eviction)

    async def _scan(
        self, state: ClusterState, target: Target
    ) -> tuple[tuple[Finding, ...], tuple[Unread, ...]]:
        """What the API's objects, managers, releases and clients use, for this target."""
        minor = str(Minor.parse(target.kubernetes))
        if "scan" in self.left_out or not self.knowledge.known(minor):
            return (), ()  # an unknown minor is a finding of its own
        from pawl.core.scan.rules import plan_findings, plan_unread
        from pawl.interfaces.scanning import scanned

        try:
            report = await scanned(self.session, state, self.knowledge, minor)
        except Unreachable as error:
            return (), (Unread(source="the API", why=str(error)),)
        findings, _ = waive.apply(report.findings, self.lint_waivers, day_of(state.taken_at))
        return plan_findings(findings), plan_unread(report)

    async def _inventory(
        self, state: ClusterState, target: Target
    ) -> tuple[tuple[Finding, ...], tuple[Unread, ...]]:
        """The add-ons that run, and whether they go along with each hop to this target."""
        minor = Minor.parse(target.kubernetes)
        if "inventory" in self.left_out or not self.knowledge.known(str(minor)):
            return (), ()
        from pawl.core.inventory.inventory import plan_findings, take
        from pawl.interfaces.addons import table

        addons = table(self.session.config.findings.addons)
        try:
            facts = await self.session.inventory_source(clients=False).read()
        except PawlError as error:
            return (), (Unread(source="the API", why=str(error)),)
        span = skew.api_range(state)
        start = min(span[0], minor) if span else minor
        found = take(
            facts, to=str(minor), knowledge=self.knowledge, addons=addons, start=str(start)
        )
        return plan_findings(found), found.unread

    async def _staged(
        self, state: ClusterState, target: Target, readings: Sequence[Reading]
    ) -> tuple[FlagComplaint, ...]:
        found = await ask_staged(state, target, self.session.hosts)
        uses = {r.use.host: r.use for r in readings}
        return tuple(
            FlagComplaint(
                c.host,
                c.component,
                c.version,
                c.complaint,
                blame(uses[c.host], c.component, c.complaint) if c.host in uses else "",
            )
            for c in found
        )

    async def _binaries(
        self, readings: Sequence[Reading], target: Target, versions: Sequence[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[FlagComplaint, ...]]:
        if "binaries" in self.left_out or not readings:
            return (), (), ()
        wanted = [
            (component, version)
            for version in versions
            for component in parts(target)
            if any(component in r.use.components for r in readings)
        ]
        return await ask(self.session.oracle, readings, wanted, target.kubernetes)

    def _with_cached(
        self,
        items: tuple[Item, ...],
        newer: tuple[str, ...],
        state: ClusterState,
        target: Target,
    ) -> tuple[tuple[Item, ...], tuple[str, ...]]:
        """Notes that are newer than the table, where a CHANGELOG in the cache holds them."""
        if not newer:
            return items, newer
        from pawl.adapters.manifests import changelogs
        from pawl.core.changelog.parse import between, releases

        to = Version.parse(target.kubernetes)
        cached = changelogs.cache_directory() / f"CHANGELOG-{to.minor_line}.md"
        if not cached.is_file():
            return items, newer
        text = cached.read_text(encoding="utf-8")
        if not any(version == to for version, _ in releases(text)):
            return items, newer
        known = {i.id for i in items}
        more = between([text], oldest(state, target), to)
        return (*items, *(i for i in more if i.category in URGENT and i.id not in known)), ()

    def _acknowledged(self) -> tuple[Acknowledgement, ...]:
        from pawl.adapters.store import acknowledgements

        return acknowledgements.load(self.session.state_dir / acknowledgements.NAME)


def parts(target: Target) -> tuple[str, ...]:
    """The components that the plan takes to a new release."""
    only = target.only
    return (CONTROL_PLANE if not only or "control-plane" in only else ()) + (
        NODE if not only or "nodes" in only else ()
    )


def oldest(state: ClusterState, target: Target) -> Version:
    """The oldest release that runs of what the plan changes: its notes start there."""
    running = [v for a in state.api_servers if (v := a.version)]
    if not target.only or "nodes" in target.only:
        running += [v for n in state.nodes if (v := n.kubelet)]
    known = [Version.parse(v) for v in running]
    return min(known, default=Version.parse(target.kubernetes))


def passed(state: ClusterState, target: Target, releases: Mapping[str, str]) -> tuple[str, ...]:
    """The exact releases that the control plane passes: one for each minor, then the target."""
    to = Version.parse(target.kubernetes)
    minor = oldest(state, target).minor_line + 1
    found: list[str] = []
    while minor < to.minor_line:
        if release := releases.get(str(minor)):
            found.append(release)
        minor = minor + 1
    return (*found, str(to))


async def ask(
    oracle: Oracle, readings: Sequence[Reading], wanted: Iterable[tuple[str, str]], target: str
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[FlagComplaint, ...]]:
    """(asked, not asked, complaints). Of releases on the way those at hand are asked; that one of
    the target is not at hand is told."""
    asked: list[str] = []
    missing: list[str] = []
    said: list[FlagComplaint] = []

    async def one(component: str, version: str) -> None:
        try:
            answer = await oracle.ask(readings, component, version)
        except Unreachable as error:
            missing.append(f"{component} {version} ({error})")
            return
        if answer is not None:
            asked.append(f"{component} {version}")
            said.extend(answer)
        elif version == target:
            missing.append(f"{component} {version}")

    async with anyio.create_task_group() as group:
        for component, version in wanted:
            group.start_soon(one, component, version)
    return tuple(sorted(asked)), tuple(sorted(missing)), tuple(sorted(said, key=_order))


def _order(complaint: FlagComplaint) -> tuple[str, ...]:
    return (complaint.host, complaint.component, complaint.version, complaint.complaint)


async def ask_staged(
    state: ClusterState, target: Target, hosts: Hosts
) -> tuple[FlagComplaint, ...]:
    """What target binaries that lie ready on the hosts say to the flags in use. Who gives no answer
    is asked again by the run, before anything stops."""
    found: list[FlagComplaint] = []

    async def one(host: str, component: str, version: str, flags: tuple[str, ...]) -> None:
        with suppress(Unreachable):
            said = await hosts.accepts_flags(host, component, version, flags)
            found.extend(FlagComplaint(host, component, version, each) for each in said)

    async with anyio.create_task_group() as group:
        for host in state.hosts:
            for component, running in host.current.items():
                version = target.etcd if component == "etcd" else target.kubernetes
                ready = version in host.staged.get(component, ())
                if host.reachable and version and ready and version != running:
                    flags = host.flags.get(component, ())
                    group.start_soon(one, host.name, component, version, flags)
    return tuple(sorted(found, key=_order))
