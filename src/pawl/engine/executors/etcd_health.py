"""What must be true of etcd before a member stops, and after it came back.

Numbers are from the field (docs/safety.md): quorum is asked twice, 2 s apart; a transferee may lag
by 100 entries; a move of the leadership that is not done after 5 s was lost.
"""

from __future__ import annotations

from pawl.core import quorum
from pawl.core.errors import Temporary, Unclassifiable, Unreachable
from pawl.core.model import ClusterState, EtcdMember
from pawl.engine.context import Context, Late
from pawl.ports.observer import Part

GATE_APART = 2.0
MOVE_SECONDS = 5.0
TRANSFER_LAG = 100
CAUGHT_UP_LAG = 100
ETCD: frozenset[Part] = frozenset({"etcd"})
"""What a look at etcd's own state reads."""


async def members_now(ctx: Context) -> ClusterState:
    """etcd read again, where it matters what no member reports: while it has no quorum, and with it
    no member list, nobody can tell."""
    state = await ctx.look(parts=ETCD)
    if not state.members:
        raise Unreachable("etcd's members could not be read.")
    return state


def lag(member: EtcdMember, state: ClusterState) -> int:
    """Entries that the member has yet to apply, as far as the leader tells."""
    leader = state.leader
    return max(0, leader.raft_index - member.applied_index) if leader else 0


async def before_stop(ctx: Context, host: str, prefer: tuple[str, ...] = ()) -> None:
    """Return only when this member may be stopped now, and is not the leader."""
    limit = ctx.policy.limits.etcd_lag_entries

    def why(state: ClusterState) -> str:
        if reason := quorum.why_not_stop(state, host):
            return reason
        slow = [m.name for m in state.voters if m.host != host and lag(m, state) > limit]
        if slow:
            return f"etcd member {', '.join(slow)} is more than {limit} entries behind."
        if state.leader is None and not quorum.announced_outage(state):
            return "etcd has no leader."
        return ""

    while True:
        await ctx.until(
            why,
            host,
            seconds=ctx.policy.patience,
            times=2,
            every=GATE_APART,
            safe=True,
            parts=ETCD,
        )
        await leave_leadership(ctx, host, prefer)
        state = await ctx.look(host, parts=ETCD)
        member = state.member(host)
        if not why(state) and not (member and member.leader and len(state.voters) > 1):
            return


async def leave_leadership(ctx: Context, host: str, prefer: tuple[str, ...] = ()) -> None:
    """If this member leads, move leadership to a verified transferee; never stop a leader.

    A transferee that cannot take over stalls every writer for 7 s, so it must be healthy, caught
    up, and preferably run the newer binary already. Where there is none just now, or the leadership
    stays, a disk that stalls may be the cause: `Temporary`.
    """
    tried: list[str] = []
    for _ in range(2):
        state = await ctx.look(host, parts=ETCD)
        leader = state.leader
        if leader is None or leader.host != host or len(state.voters) == 1:
            return
        transferee = _transferee(state, host, prefer, tried)
        if transferee is None:
            raise Temporary(
                f"etcd member {host} leads, and no other voter is healthy and within "
                f"{TRANSFER_LAG} entries to take over{_besides(tried)}.",
                GATE_APART,
            )
        tried.append(transferee.host)
        async with ctx.effect("move-leader", f"{host} to {transferee.host}") as _:
            try:
                await ctx.tools.etcd.move_leader(host, transferee.host, MOVE_SECONDS)
            except (Temporary, Unreachable) as error:
                ctx.waiting(f"leadership did not move to {transferee.host}: {error}")

        def moved(now: ClusterState) -> str:
            if now.leader is None:
                return "etcd has no leader."
            return "" if now.leader.host != host else f"etcd member {host} still leads."

        try:
            await ctx.until(moved, seconds=MOVE_SECONDS, parts=ETCD)
            return
        except Late:
            continue
    raise Temporary(
        f"etcd member {host} kept the leadership although it was moved twice{_besides(tried)}: a "
        "leader is not stopped. The members' logs tell why.",
        MOVE_SECONDS,
    )


def _besides(tried: list[str]) -> str:
    return f" (tried {', '.join(tried)})" if tried else ""


def _transferee(
    state: ClusterState, away: str, prefer: tuple[str, ...], tried: list[str]
) -> EtcdMember | None:
    able = [
        m
        for m in state.voters
        if m.host != away and m.healthy and m.host not in tried and lag(m, state) < TRANSFER_LAG
    ]
    order = {host: i for i, host in enumerate(prefer)}
    return min(able, key=lambda m: (order.get(m.host, len(order)), m.host), default=None)


def same_member(ctx: Context, host: str, state: ClusterState) -> None:
    """The member is the one that the plan knows, not a new one that took its place."""
    expected = ctx.plan.source.members.get(host, "")
    member = state.member(host)
    if member is None:
        raise Unclassifiable(f"etcd has no member on {host} any more: look at `member list`.")
    if expected and member.member_id != expected:
        raise Unclassifiable(
            f"etcd member {host} came back with the id {member.member_id}, not {expected}: it has "
            "lost its data or joined anew. Nothing more is touched; look at it."
        )


async def caught_up(ctx: Context, host: str) -> None:
    """Applied what the leader had when it came back; the same data as the others."""

    def why(state: ClusterState) -> str:
        member = state.member(host)
        if member is None or not member.healthy:
            return f"etcd member {host} is not healthy."
        behind = lag(member, state)
        return "" if behind < CAUGHT_UP_LAG else f"etcd member {host} is {behind} entries behind."

    state = await ctx.until(why, seconds=ctx.timeouts.member_caught_up, parts=ETCD)
    same_member(ctx, host, state)
    await equal_hashes(ctx)


async def equal_hashes(ctx: Context) -> int:
    """HashKV of all members at one revision; returns that revision. A difference is asked for
    once more, because a compaction in between makes hashes incomparable."""
    for attempt in (1, 2, 3):
        hashes = await ctx.tools.etcd.hashes()
        if len({h.compact_revision for h in hashes}) <= 1 and len({h.hash for h in hashes}) == 1:
            return hashes[0].revision
        if not hashes:
            raise Temporary("no etcd member gave its hash.", 1.0)
        if attempt < 3:
            await ctx.sleep(1.0)
    if len({h.compact_revision for h in hashes}) > 1:
        raise Temporary("etcd is being compacted, so hashes cannot be compared yet.", 5.0)
    told = ", ".join(f"{h.host} {h.hash}" for h in hashes)
    raise Unclassifiable(
        f"etcd members hold different data at revision {hashes[0].revision} ({told}): one is "
        "corrupt. Nothing more is touched; keep its data directory as evidence and see "
        "https://etcd.io/docs/v3.6/op-guide/data_corruption/."
    )
