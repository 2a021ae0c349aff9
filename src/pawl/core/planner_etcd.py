"""The etcd part of a plan: hops, order of members, the gate before the last one, downgrades.

Order inside one hop, and why:
  1. stage the binaries everywhere, so that no step waits for a network with a member down;
  2. a snapshot, proven by a restore;
  3. followers, one at a time; an interrupted member before all others;
  4. one verified move of the leadership to an upgraded member: the only leader change of the roll;
  5. soak. The cluster version advances only when *every* member is new, so as long as the last one
     is held back, each new member can go back to the old binary on its current data;
  6. the point of no return, with its own approval; the last member; wait until converged.
"""

from __future__ import annotations

from pawl.core import etcd_rules, predict, skew
from pawl.core.actions import (
    AnyAction,
    BackupEtcd,
    CancelEtcdDowngrade,
    ConvergeEtcd,
    EnableEtcdDowngrade,
    MoveEtcdLeader,
    PointOfNoReturn,
    ReplaceEtcdMachine,
    Soak,
    StageBinaries,
    SwapEtcdMember,
)
from pawl.core.draft import Draft
from pawl.core.model import ClusterState, EtcdMember
from pawl.core.plan import Exit
from pawl.core.version import Minor, Version

LAST_MEMBER = "etcd-last-member"


def running(member: EtcdMember, state: ClusterState) -> Version | None:
    """The member's version; of a stopped one, what its `current` link names; of a machine that is
    being rebuilt, what its image holds."""
    if member.version is not None:
        return Version.parse(member.version)
    host = state.host(member.host)
    linked = host.current.get("etcd") if host else None
    if linked is None:
        machine = state.machine(member.host)
        linked = machine.versions.get("etcd") if machine else None
    return Version.parse(linked) if linked else None


def cluster_minor(state: ClusterState) -> Minor | None:
    """The cluster version that the members agree on: the newest that any of them tells."""
    told = [
        m for e in state.members if e.cluster_version and (m := skew.minor_of(e.cluster_version))
    ]
    return max(told) if told else None


def plan_etcd(draft: Draft) -> None:
    """Add all steps that bring etcd to `draft.target.etcd`."""
    if not draft.target.etcd:
        return
    target = Version.parse(draft.target.etcd)
    state = draft.state
    versions = [v for m in state.members if (v := running(m, state)) is not None]
    if not versions:
        draft.refuse("No etcd member's version could be read: mend `pawl status` first.")
        return
    if len(state.voters) == 2:
        draft.refuse(
            "etcd has two members, of which none may stop: add a third member before the upgrade."
        )
        return
    highest, lowest = max(versions), min(versions)
    cluster = cluster_minor(state) or lowest.minor_line
    if target < highest and target.minor_line < cluster:
        _downgrade(draft, target, highest)
        return
    if target < highest:
        _back(draft, target)
        return
    if any(m.downgrade_target for m in state.members):
        draft.add(
            "etcd/cancel-downgrade",
            "etcd",
            CancelEtcdDowngrade(),
            why="A downgrade is enabled, which pins the cluster version; the target is newer.",
        )
    path, problems = etcd_rules.hops(lowest, target, dict(draft.releases_of_etcd))
    for problem in problems:
        draft.refuse(problem)
    for hop in path or (target,):
        _hop(draft, hop)
    _converge(draft, target)


def _behind(state: ClusterState, target: Version) -> list[EtcdMember]:
    """Members that are not at `target` yet, in the order of their swap."""
    todo = [
        m
        for m in state.members
        if (v := running(m, state)) is None or (v != target and not v > target) or not m.healthy
    ]
    return sorted(todo, key=lambda m: (m.healthy, m.leader, m.host))


def _swap(draft: Draft, member: EtcdMember, target: Version) -> AnyAction:
    now = running(member, draft.state)
    source = str(now) if now is not None else ""
    if draft.target.etcd_strategy == "replace":
        return ReplaceEtcdMachine(host=member.host, source=source, target=str(target))
    return SwapEtcdMember(host=member.host, source=source, target=str(target))


def _stage_and_back_up(draft: Draft, todo: list[EtcdMember], target: Version) -> None:
    base = f"etcd/{target}"
    if draft.target.etcd_strategy == "in-place":
        begin, staged = draft.frontier, []
        for member in sorted(todo, key=lambda m: m.host):
            step = f"{base}/stage/{member.host}"
            if draft.add(
                step,
                "etcd",
                StageBinaries(host=member.host, component="etcd", version=str(target)),
                why="The binaries lie ready, and have accepted the flags in use, before anything "
                "stops.",
                after=begin,
            ):
                staged.append(step)
        if staged:
            draft.frontier = tuple(staged)
    source = _backup_source(draft.state)
    if source is not None:
        draft.add(
            f"{base}/backup",
            "etcd",
            BackupEtcd(host=source.host),
            why="A snapshot that was proven by a restore, before any member is touched.",
            risk="None for the running members; the snapshot is read from one of them.",
        )


def _backup_source(state: ClusterState) -> EtcdMember | None:
    """A healthy follower, so that the leader does not pay for the read; else the leader."""
    healthy = sorted((m for m in state.voters if m.healthy), key=lambda m: (m.leader, m.host))
    return healthy[0] if healthy else None


def _move(draft: Draft, away: EtcdMember, target: Version) -> None:
    upgraded = tuple(
        sorted(
            m.host
            for m in draft.state.voters
            if m.host != away.host and m.healthy and running(m, draft.state) == target
        )
    )
    draft.add(
        f"etcd/{target}/move-leader/{away.host}",
        "etcd",
        MoveEtcdLeader(away_from=away.host, prefer=upgraded),
        why="The one leader change of the roll, to an upgraded member that has caught up; stopping "
        "a leader instead can stall all writers for 7 s.",
        risk="Requests that are in flight while the leader changes may be retried by clients.",
        disruption="writes pause for about 50 ms",
    )


def _hop(draft: Draft, target: Version) -> None:
    """One release further, for every member that is behind it."""
    todo = _behind(draft.state, target)
    if not todo:
        return
    base = f"etcd/{target}"
    single = len(draft.state.voters) == 1
    minor_hop = _crosses(draft.state, target)
    floor = etcd_rules.floor_for(target.minor_line) if minor_hop else None
    unknown = [m.name for m in todo if running(m, draft.state) is None]
    if floor is not None and unknown:
        draft.refuse(
            f"etcd {target.minor_line} needs every member at {floor.at_least} or newer before, and "
            f"the version of {', '.join(unknown)} is not known: bring it back first."
        )
    _stage_and_back_up(draft, todo, target)
    back = Exit(
        name="old-binary",
        how="Each upgraded member goes back to the old binary on its current data, one by one.",
        seconds=5.0 * len(draft.state.members),
    )
    for member in todo[:-1]:
        draft.add(
            f"{base}/swap/{member.host}",
            "etcd",
            _swap(draft, member, target),
            why=_why_now(member),
            risk="Redundancy is one member less until it has caught up.",
            disruption="clients of this endpoint reconnect; writes pause for at most 150 ms",
            exit=back,
        )
    last = todo[-1]
    leader = draft.state.leader
    if leader is not None and leader.host == last.host and not single:
        _move(draft, leader, target)
    if minor_hop:
        _gate(draft, last, target, single=single)
    draft.add(
        f"{base}/swap/{last.host}",
        "etcd",
        _swap(draft, last, target),
        why="The last member: with it the cluster version advances within seconds."
        if minor_hop
        else "The last member, by now a follower.",
        risk="A binary of the old minor refuses to start afterwards."
        if minor_hop
        else "Redundancy is one member less until it has caught up.",
        disruption="etcd and every API server are down for the restart, a few seconds"
        if single
        else "clients of this endpoint reconnect; writes pause for at most 150 ms",
        exit=_after_last(draft, target) if minor_hop else back,
    )
    _converge(draft, target, keep=True)


def _why_now(member: EtcdMember) -> str:
    if not member.healthy:
        return "It was left stopped by an interrupted step, so it is finished first."
    return "A follower; the leader comes last, so that leadership moves only once."


def _crosses(state: ClusterState, target: Version) -> bool:
    cluster = cluster_minor(state)
    return cluster is None or cluster < target.minor_line


def _gate(draft: Draft, last: EtcdMember, target: Version, *, single: bool) -> None:
    base = f"etcd/{target}"
    if not single and last.healthy:
        draft.before_soak = draft.frontier
        draft.add(
            f"{base}/soak",
            "etcd",
            Soak(gate="etcd", seconds=draft.config.policy.soak.etcd),
            why=f"While {last.host} is held back, the cluster version stays old and every member "
            "can go back to the old binary.",
        )
    draft.add(
        f"{base}/point-of-no-return",
        "etcd",
        PointOfNoReturn(
            approval=LAST_MEMBER,
            loses=f"After the last member the cluster version becomes {target.minor_line}: the old "
            "binary no longer starts.",
        ),
        why="The last moment at which the old binary is a way back."
        if single or last.healthy
        else f"{last.host} is stopped in the middle of its step, so nothing is left to hold back "
        "for a soak. To go back instead, start the old binary there.",
        approval=LAST_MEMBER,
    )


def _after_last(draft: Draft, target: Version) -> Exit:
    source = Minor(target.major, target.minor - 1)
    rule = etcd_rules.downgrade_rule(target.minor_line, source)
    if rule is not None:
        return Exit(
            name="downgrade",
            how=f"Online downgrade to {source}: pawl plan --only etcd --etcd {source}.",
            seconds=30.0 + 5.0 * len(draft.state.members),
        )
    return Exit(
        name="snapshot",
        how="Restore of the snapshot on all members; everything written since is lost.",
        seconds=300.0,
    )


def _converge(draft: Draft, target: Version, *, down: bool = False, keep: bool = False) -> None:
    draft.add(
        f"etcd/{target}/converge",
        "etcd",
        ConvergeEtcd(minor=str(target.minor_line), down=down),
        why="Only a cluster version that every member reports, with equal hashes and the same "
        "member ids, ends the etcd part.",
        keep=keep,
    )


def _back(draft: Draft, target: Version) -> None:
    """Old binary on the current data: open while the cluster version is still old."""
    state = draft.state
    todo = sorted(
        (m for m in state.members if (v := running(m, state)) is None or v != target),
        key=lambda m: (m.healthy, m.leader, m.host),
    )
    if any(m.downgrade_target for m in state.members):
        _swap_down(draft, todo, target)
        return
    _stage_and_back_up(draft, todo, target)
    _swap_down(draft, todo, target)


def _swap_down(draft: Draft, todo: list[EtcdMember], target: Version) -> None:
    for index, member in enumerate(todo):
        leader = draft.state.leader
        if leader is not None and leader.host == member.host and len(draft.state.voters) > 1:
            _move(draft, leader, target)
        draft.add(
            f"etcd/{target}/swap/{member.host}",
            "etcd",
            _swap(draft, member, target),
            why="Back to the older binary on its current data, followers first."
            if index < len(todo) - 1
            else "The last member that runs the newer binary.",
            risk="Redundancy is one member less until it has caught up.",
            disruption="clients of this endpoint reconnect",
            exit=_forward_again(target, len(draft.state.members))
            if index == len(todo) - 1
            else None,
        )
    _converge(draft, target, down=True, keep=bool(todo))


def _forward_again(target: Version, members: int) -> Exit:
    """Once no member runs the newer binary there is no downgrade left to cancel."""
    newer = Minor(target.major, target.minor + 1)
    return Exit(
        name="upgrade",
        how=f"Forward again, as any upgrade: pawl plan --only etcd --etcd {newer}.",
        seconds=members * predict.SECONDS["swap-etcd-member"],
    )


def _downgrade(draft: Draft, target: Version, highest: Version) -> None:
    """Online, by etcd's own downgrade procedure; one minor, and only where servers offer it."""
    rule = etcd_rules.downgrade_rule(highest.minor_line, target.minor_line)
    if rule is None:
        draft.refuse(
            f"etcd offers no online downgrade from {highest.minor_line} to {target.minor_line}: "
            "only one minor, from 3.6 on; otherwise restore a snapshot on the whole cluster."
        )
        return
    if target < rule.at_least:
        draft.refuse(
            f"etcd {target} cannot read what {highest.minor_line} leaves: downgrade to "
            f"{rule.at_least} or newer."
        )
        return
    if draft.target.etcd_strategy == "replace":
        draft.refuse(
            "A downgrade must not exchange snapshots, so machines are not replaced meanwhile "
            "(etcd#19147): use --strategy etcd=in-place."
        )
        return
    state = draft.state
    todo = sorted(
        (m for m in state.members if (v := running(m, state)) is None or v != target),
        key=lambda m: (m.healthy, m.leader, m.host),
    )
    _stage_and_back_up(draft, todo, target)
    draft.add(
        f"etcd/{target}/enable-downgrade",
        "etcd",
        EnableEtcdDowngrade(minor=str(target.minor_line)),
        why="The servers lower the storage version first; only then may an older binary start.",
        risk="Until it is completed or cancelled, the cluster version stays pinned.",
        exit=Exit(
            name="downgrade-cancel",
            how="`downgrade cancel` while at least one member still runs the newer binary.",
            seconds=5.0,
        ),
    )
    _swap_down(draft, todo, target)
