"""state + target + configuration -> plan: pure, deterministic, and with no clock of its own.

    plan(state, target, config) -> Plan        or Refused, with every reason at once

`state.taken_at` is the only time. The order is fixed (preflight, etcd, API servers, controllers,
nodes, kube-proxy, landed) and its reasons stand in the modules that plan each part. What already
stands in the cluster gives no step, so planning again after a crash gives exactly what is left,
under the same step ids.

Several minors are a chain: etcd first through all its hops, then the control plane at each minor;
nodes follow only where the skew policy demands it before the next minor, and at the end.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from pawl.core import accept, checks, skew
from pawl.core.actions import Landed, PointOfNoReturn, Preflight
from pawl.core.beforehand import Beforehand
from pawl.core.changelog.item import URGENT
from pawl.core.config import Config
from pawl.core.days import day_of
from pawl.core.draft import Draft
from pawl.core.errors import Refused
from pawl.core.findings import Finding
from pawl.core.knowledge.store import Knowledge, shipped
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Source, Step, Target
from pawl.core.planner_control_plane import controller_version, plan_control_plane, running
from pawl.core.planner_etcd import plan_etcd
from pawl.core.planner_nodes import kubelet_version, plan_nodes, pool_of, proxy_version
from pawl.core.version import Minor, Version


def plan(
    state: ClusterState,
    target: Target,
    config: Config,
    *,
    releases: Mapping[str, str] | None = None,
    complaints: Sequence[checks.FlagComplaint] = (),
    beforehand: Beforehand | None = None,
    waivers: Sequence[accept.Waiver] = (),
    knowledge: Knowledge | None = None,
) -> Plan:
    """The plan that brings the cluster from `state` to `target`.

    `releases` says which exact release a minor in between means ({"1.37": "1.37.3"}; etcd's by
    its own minors, {"3.5": "3.5.33"}). `complaints` are what binaries of the target said about the
    flags in use, `beforehand` what else was found out. Raises Refused with every reason, from the
    checks and from planning itself.
    """
    facts = checks.Facts(
        state=state,
        target=target,
        config=config,
        complaints=tuple(complaints),
        beforehand=beforehand,
        knowledge=knowledge or shipped(),
        moves=beforehand.moves if beforehand else None,
    )
    findings, used = accept.apply(checks.run(facts), tuple(waivers), day_of(state.taken_at))
    blockers = [f for f in findings if f.refuses]
    draft = Draft(
        state=state,
        target=target,
        config=config,
        releases=_minors(releases),
        emptying=facts.moves.emptying if facts.moves else {},
    )
    _steps(draft)
    over = [f.sentence() for f in findings if f.code == accept.EXPIRED] if blockers else []
    reasons = (
        [f.sentence() for f in blockers]
        + over
        + [p for p in draft.problems if not _said_already(p, blockers)]
    )
    if reasons:
        raise Refused(reasons)
    return Plan(
        cluster=state.cluster,
        target=target,
        source=source_of(state),
        findings=findings,
        waivers=used,
        notes=tuple(j for j in beforehand.notes if j.item.category in URGENT) if beforehand else (),
        asked=beforehand.asked if beforehand else (),
        left_out=beforehand.left_out if beforehand else (),
        loosens=beforehand.moves.loosens if beforehand and beforehand.moves else (),
        pace=config.policy.pace,
        steps=_each_its_own_approval(_with_preflight(draft.steps)),
    ).sealed()


def _minors(releases: Mapping[str, str] | None) -> dict[Minor, Version]:
    return {Minor.parse(m): Version.parse(v) for m, v in (releases or {}).items()}


def _said_already(problem: str, blockers: Sequence[Finding]) -> bool:
    """Whether a check has reported the same with its remedy."""
    bare = problem.split(" (in step ")[0]
    return any(bare in f.message for f in blockers)


def _steps(draft: Draft) -> None:
    if draft.wants("etcd"):
        plan_etcd(draft)
    if draft.target.kubernetes:
        _kubernetes(draft, Version.parse(draft.target.kubernetes))
    draft.add(
        "landed",
        "landed",
        Landed(),
        why="Asserted per object: the version runs, and what pawl changed was given back.",
    )


def _with_preflight(steps: list[Step]) -> tuple[Step, ...]:
    """Preflight before all steps. A plan with nothing to do has only its landed check."""
    if len(steps) <= 1:
        return tuple(steps)
    first = Step(
        id="preflight",
        phase="preflight",
        action=Preflight(),
        why="A plan is only as good as the moment it was made: all checks again, just before.",
        seconds=2.0,
    )
    return (
        first,
        *(s if s.after else msgspec.structs.replace(s, after=(first.id,)) for s in steps),
    )


def _each_its_own_approval(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """In a chain of several hops, one approval must not pass the points of no return of all: their
    names get the release of the hop, as in "etcd-last-member-3.7.1"."""
    times = Counter(s.approval for s in steps if s.approval)

    def own(step: Step) -> Step:
        if times[step.approval] < 2 or not step.approval:
            return step
        name = f"{step.approval}-{step.id.split('/')[1]}"
        action = step.action
        if isinstance(action, PointOfNoReturn):
            action = msgspec.structs.replace(action, approval=name)
        return msgspec.structs.replace(step, action=action, approval=name)

    return tuple(own(s) for s in steps)


def _kubernetes(draft: Draft, target: Version) -> None:
    if not draft.wants("control-plane"):
        if draft.wants("nodes"):
            plan_nodes(draft, target)
        return
    path = _chain(draft, target)
    if not path:
        return
    for hop in path:
        if draft.wants("nodes"):
            _lagging_nodes(draft, hop)
        plan_control_plane(draft, hop)
    if draft.wants("nodes"):
        plan_nodes(draft, target)


def _chain(draft: Draft, target: Version) -> list[Version]:
    """The exact releases that the control plane passes, ending with `target`; none when a release
    in between is not known."""
    span = skew.api_range(draft.state)
    known = [v for a in draft.state.api_servers if (v := running(a, draft.state)) is not None]
    if span is not None:
        oldest = span[0]
    elif known:
        oldest = min(known).minor_line
    else:
        return [target]
    path: list[Version] = []
    if known and _controllers_behind(draft.state, oldest):
        path.append(min(known))  # an earlier hop is not finished: it comes first
    minor = oldest + 1
    while minor < target.minor_line:
        between = draft.releases.get(minor)
        if between is None:
            draft.refuse(
                f"The way from {oldest} to {target.minor_line} passes {minor}, and which release "
                f"of it to use is not known: say --release {minor}=X.Y.Z."
            )
            return []
        path.append(between)
        minor = minor + 1
    return path if path and path[-1] == target else [*path, target]


def _controllers_behind(state: ClusterState, minor: Minor) -> bool:
    """Whether a controller is, or emulates, an older minor than this: they end each hop."""
    for c in state.controllers:
        acts_as = skew.effective_controller(c, state)
        at = controller_version(c, state)
        if (acts_as is not None and acts_as < minor) or (at is not None and at.minor_line < minor):
            return True
    return False


def _lagging_nodes(draft: Draft, hop: Version) -> None:
    """Nodes that would be too old beside API servers of `hop` go to the present minor first."""
    span = skew.api_range(draft.state)
    if span is None:
        return
    too_old = [
        n.name
        for n in draft.state.nodes
        for v in (kubelet_version(n, draft.state), proxy_version(n, draft.state))
        if v is not None and hop.minor_line - v.minor_line > skew.node_may_lag(v.minor_line)
    ]
    if too_old:
        present = [v for a in draft.state.api_servers if (v := running(a, draft.state))]
        plan_nodes(draft, min(present))


def source_of(state: ClusterState) -> Source:
    """What the plan was computed from: versions by component, and a fingerprint of the facts."""
    versions: dict[str, set[str]] = {}

    def note(component: str, version: str | None) -> None:
        if version:
            versions.setdefault(component, set()).add(version)

    for member in state.members:
        note("etcd", member.version)
    for server in state.api_servers:
        note("kube-apiserver", server.version)
    for controller in state.controllers:
        note(controller.component, controller.version)
    for node in state.nodes:
        note("kubelet", node.kubelet)
        note("kube-proxy", node.kube_proxy)
    return Source(
        taken_at=state.taken_at,
        fingerprint=fingerprint(state),
        versions={k: tuple(sorted(v, key=Version.parse)) for k, v in sorted(versions.items())},
        members={m.host: m.member_id for m in state.members},
        disks={h.name: h.etcd_data for h in state.hosts if h.etcd_data},
    )


def fingerprint(state: ClusterState) -> str:
    """SHA-256 over the facts that shape a plan: who is there, at which version, in which role."""
    facts: list[object] = [
        sorted(
            [m.host, m.member_id, m.version or "", m.cluster_version or "", m.leader, m.learner]
            for m in state.members
        ),
        sorted(
            [a.host, a.version or "", str(skew.effective(a, state) or "")]
            for a in state.api_servers
        ),
        sorted([c.component, c.host, c.version or ""] for c in state.controllers),
        sorted(
            [n.name, n.host, n.kubelet or "", n.kube_proxy or "", pool_of(n, state)]
            for n in state.nodes
        ),
        sorted(
            [h.name, sorted(h.current.items()), sorted((k, list(v)) for k, v in h.flags.items())]
            for h in state.hosts
        ),
    ]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()
