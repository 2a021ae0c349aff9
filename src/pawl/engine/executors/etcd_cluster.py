"""Steps on etcd as a whole: leadership, backup, convergence, downgrade."""

from __future__ import annotations

from pathlib import Path

from pawl.core import landed, skew
from pawl.core.actions import (
    BackupEtcd,
    CancelEtcdDowngrade,
    ConvergeEtcd,
    EnableEtcdDowngrade,
    MoveEtcdLeader,
)
from pawl.core.errors import StepFailed, Temporary, Unclassifiable
from pawl.core.model import ClusterState
from pawl.engine.context import Context
from pawl.engine.executors import etcd_health

SNAPSHOTS = "etcd-*.db"


async def move_etcd_leader(action: MoveEtcdLeader, ctx: Context) -> str:
    await etcd_health.leave_leadership(ctx, action.away_from, action.prefer)
    state = await etcd_health.members_now(ctx)
    if state.leader is None:
        raise Temporary("etcd has no leader.", 1.0)
    if state.leader.host == action.away_from:
        raise Temporary(f"etcd member {action.away_from} leads again.", 1.0)
    return f"{state.leader.host} leads etcd now."


def backup_directory(ctx: Context) -> Path:
    configured = ctx.tools.config.backup.directory
    if not configured:
        raise StepFailed("pawl.yaml names no place for backups: set backup.directory.")
    return ctx.tools.path.parent / configured


async def backup_etcd(action: BackupEtcd, ctx: Context) -> str:
    """A snapshot counts as a backup once it was restored and its keys were counted."""
    directory = backup_directory(ctx)
    host = _source(await ctx.look(parts=etcd_health.ETCD), action.host)
    async with ctx.effect("snapshot", host, on_host=False):
        snapshot = await ctx.tools.etcd.snapshot(host, directory)
    async with ctx.effect("restore-proof", host) as epoch:
        proof = await ctx.tools.hosts.restore_snapshot(
            host, snapshot.path, snapshot.revision, epoch
        )
    ctx.evidence(
        "backup",
        {
            "path": str(snapshot.path),
            "sha256": snapshot.sha256,
            "size": snapshot.size,
            "revision": snapshot.revision,
            "proof": proof,
        },
    )
    _prune(directory, ctx.tools.config.backup.keep, snapshot.path)
    return f"{snapshot.path.name}: revision {snapshot.revision}, {snapshot.size} bytes. {proof}"


def _source(state: ClusterState, planned: str) -> str:
    """The planned member; another healthy one when an interrupted step has left that one down.
    All voters hold the same data, and a follower is asked before the leader."""
    able = sorted((m for m in state.voters if m.healthy), key=lambda m: (m.leader, m.host))
    if not able or any(m.host == planned for m in able):
        return planned
    return able[0].host


def _prune(directory: Path, keep: int, newest: Path) -> None:
    """Keep the newest `keep` snapshots; only files that have the snapshots' own name."""
    if not directory.is_dir():
        return
    old = sorted(
        (p for p in directory.glob(SNAPSHOTS) if p != newest),
        key=lambda p: p.stat().st_mtime,
        reverse=True,
    )
    for path in old[max(0, keep - 1) :]:
        path.unlink(missing_ok=True)


async def converge_etcd(action: ConvergeEtcd, ctx: Context) -> str:
    def why(state: ClusterState) -> str:
        if landed.satisfied(action, state) is True:
            return ""
        silent = [m.name for m in state.members if m.version is None]
        if silent:
            return f"etcd member {', '.join(silent)} does not answer, which holds the version back."
        told = sorted({m.cluster_version or "?" for m in state.members})
        return f"etcd's cluster version is {', '.join(told)}, not {action.minor} yet."

    state = await ctx.until(why, seconds=ctx.timeouts.converge, every=0.5, parts=etcd_health.ETCD)
    for member in state.members:
        etcd_health.same_member(ctx, member.host, state)
    alarms = sorted({a for m in state.members for a in m.alarms})
    if alarms:
        raise Unclassifiable(f"etcd raises {', '.join(alarms)} after the roll: clear its cause.")
    revision = await etcd_health.equal_hashes(ctx)
    ctx.evidence("etcd-converged", {"minor": action.minor, "hash-revision": revision})
    return f"cluster version {action.minor} on all members; hashes equal at revision {revision}."


async def enable_etcd_downgrade(action: EnableEtcdDowngrade, ctx: Context) -> str:
    """`enable` answers an error when it is enabled already, so look before."""

    def why(state: ClusterState) -> str:
        if landed.satisfied(action, state) is True:
            return ""
        told = sorted({m.storage_version or "?" for m in state.members})
        return f"etcd's storage version is {', '.join(told)}, not {action.minor} yet."

    state = await etcd_health.members_now(ctx)
    if not any(m.downgrade_target for m in state.members):
        await ctx.tools.etcd.downgrade("validate", action.minor)
        async with ctx.effect("enable-downgrade", action.minor, on_host=False):
            await ctx.tools.etcd.downgrade("enable", action.minor)
    await ctx.until(why, seconds=ctx.timeouts.converge, every=0.5, parts=etcd_health.ETCD)
    return f"every storage version is {action.minor}: the older binary may start."


async def cancel_etcd_downgrade(action: CancelEtcdDowngrade, ctx: Context) -> str:
    state = await etcd_health.members_now(ctx)
    if any(m.downgrade_target for m in state.members):
        async with ctx.effect("cancel-downgrade", "etcd", on_host=False):
            await ctx.tools.etcd.downgrade("cancel")

    def why(now: ClusterState) -> str:
        if not now.members:
            return "etcd's members could not be read."
        pinned = [m.name for m in now.members if m.downgrade_target]
        if pinned:
            return f"etcd member {', '.join(pinned)} still reports a downgrade."
        return _storage_behind(now)

    await ctx.until(why, seconds=ctx.timeouts.converge, every=0.5, parts=etcd_health.ETCD)
    return "the downgrade is cancelled."


def _storage_behind(state: ClusterState) -> str:
    """Why the storage version is not up again, which it is within a tick of the leader's monitor
    (4 s) where all members run one minor; with an older one among them it stays."""
    minors = {skew.minor_of(m.version or "") for m in state.members}
    if len(minors) > 1:
        return ""
    low = {s for m in state.members if (s := m.storage_version) and skew.minor_of(s) not in minors}
    return f"etcd's storage version is still {', '.join(sorted(low))}." if low else ""
