"""Steps that change nothing: preflight, soak, the point of no return, the landed check."""

from __future__ import annotations

from pawl.core import accept, checks, interrupted, invariants, landed, marks
from pawl.core.actions import (
    LAST,
    LASTING,
    Landed,
    PointOfNoReturn,
    Preflight,
    Soak,
)
from pawl.core.days import day_of
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.findings import Severity
from pawl.core.foreseen import Foreseen, foresee, missing, nodes_to_empty
from pawl.core.model import ClusterState
from pawl.engine.context import Context
from pawl.engine.executors import etcd_health

LOOK_EVERY = 5.0
HASH_EVERY = 60.0
"""Seconds; field notes, state C6: HashKV each minute while soaking."""
LASTS = 15.0
"""Seconds for which something must be worse to be a regression, or be wrong to forbid a run or its
end: an election, a disk that stalls, a probe that timed out are over by then. Leases of controllers
last as long."""


async def preflight(action: Preflight, ctx: Context) -> str:
    """All checks again, on facts of now: a plan is as good as the moment it was made."""
    reasons: list[str] = []
    note = ""

    async def why() -> str:
        nonlocal note
        ctx.safe_point()
        reasons[:], note = await _forbidding(action, ctx)
        return reasons[0] if reasons else ""

    if await ctx.asked(why, LASTS, LOOK_EVERY):
        told = "\n".join(f"  - {reason}" for reason in reasons)
        raise StepFailed(f"preflight found what forbids the run:\n{told}")
    if ctx.state.members:
        await etcd_health.equal_hashes(ctx)
    ctx.evidence("before", ctx.state)
    return note


async def _forbidding(action: Preflight, ctx: Context) -> tuple[list[str], str]:
    """(what forbids the run now, a note where nothing does)."""
    state = await ctx.look_everywhere()
    silent = [u for u in state.unread if not interrupted.explained(u, state, ctx.plan.target)]
    if silent:
        lost = "; ".join(f"{u.source}: {u.why}" for u in silent)
        raise Temporary(f"not everything could be read, so nothing is begun: {lost}", 5.0)
    moves = await _foreseen(ctx, state)
    findings = checks.run(
        checks.Facts(state=state, target=ctx.plan.target, config=ctx.tools.config, moves=moves)
    )
    accepted = {(f.code, f.subject) for f in ctx.plan.findings if f.waived}
    reasons = [
        f.sentence()
        for f in findings
        if f.severity is Severity.BLOCKER and (f.code, f.subject) not in accepted
    ]
    reasons += [
        f"{x.workload} needs more leeway now ({x.what}) than the plan asks for: make a new plan."
        for x in (missing(ctx.plan.loosens, moves) if moves else ())
    ]
    reasons += accept.ended(ctx.plan.waivers, day_of(ctx.tools.clock.now()))
    warnings = sum(f.severity is Severity.WARNING for f in findings)
    note = f"{len(findings)} findings, {warnings} of them warnings, none forbids the run."
    return reasons, note


async def _foreseen(ctx: Context, state: ClusterState) -> Foreseen | None:
    """Where nodes are to be emptied: what that asks for now. None where it cannot be told: then
    the checks of the state decide."""
    if not nodes_to_empty(state, ctx.plan.target):
        return None
    try:
        facts = await ctx.workloads()
    except (Unreachable, Temporary):
        return None
    patience = ctx.timeouts.eviction
    return foresee(facts, state, ctx.plan.target, pace=ctx.plan.pace, patience=patience)


async def point_of_no_return(action: PointOfNoReturn, ctx: Context) -> str:
    """The approval was asked for before this step began; here it is put on record."""
    return f"passed with the approval {action.approval}. {action.loses}"


async def soak(action: Soak, ctx: Context) -> str:
    """Watch. The time counts from the start of this attempt: what nobody watched is no soak. Where
    measurements are judged, it lasts until a look that began after its time passes; what they
    cannot tell, a person must. The last one, with nothing behind it to hold, takes twice its time
    at most and then says what could not be told."""
    hosts = tuple(h.name for h in ctx.state.hosts)
    state = await ctx.look(*hosts)
    before = _regressions(state, state)
    if before:
        raise Temporary(f"the soak cannot begin: {before[0]}", LOOK_EVERY)
    baseline, began, found = state, ctx.now(), before
    over = began + action.seconds
    hashed = well = began
    last, patience = action.gate == LAST, ctx.policy.gates.patience
    while True:
        left = over - ctx.now()
        held = ctx.gates(over) if left <= 0 else ""
        told = last and left <= -min(patience, action.seconds)
        if left <= 0 and not found and (told or not held):
            untold = f", but {held}" if held else "."
            return f"{action.seconds:.0f} s without a regression{untold}"
        if held and not last and left <= -patience:
            ctx.pause(
                f"The soak before the gate {action.gate} is over, but {held} Look with `pawl "
                "verify`; if all is well, go on with: pawl resume.",
                by="gates",
            )
        ctx.safe_point()
        passed = f"soaked, but {held}" if held else _progress(action, ctx.now() - began)
        ctx.waiting(found[0] if found else passed)
        await ctx.sleep(1.0 if found else min(LOOK_EVERY, left if left > 0 else LOOK_EVERY))
        found = _regressions(await ctx.look(*hosts), baseline)
        if not found:
            well = ctx.now()
        elif ctx.now() - well >= LASTS:
            raise StepFailed(
                f"{found[0]} It was seen {ctx.now() - began:.0f} s into the soak before the gate "
                f"{action.gate}. The exit is open: pawl rollback."
            )
        if state.members and not found and ctx.now() - hashed >= HASH_EVERY:
            await etcd_health.equal_hashes(ctx)
            hashed = ctx.now()


def _progress(action: Soak, passed: float) -> str:
    """Coarse, so that the journal gets ten entries of it and not a thousand."""
    tenth = int(10 * passed / action.seconds) * 10 if action.seconds else 100
    return f"soaking before the gate {action.gate}: {tenth} % of {action.seconds:.0f} s."


def _regressions(state: ClusterState, baseline: ClusterState) -> list[str]:
    """What is worse than when the soak began. What could not be read is no good news either."""
    found = [f"etcd raises {a}." for a in sorted({a for m in state.members for a in m.alarms})]
    found += [f"etcd member {m.name} is not healthy." for m in state.members if not m.healthy]
    found += [f"API server {a.host} is not ready." for a in state.api_servers if not a.ready]
    found += [
        f"the balancer does not send traffic to {b.host or b.name}."
        for b in state.balancer
        if b.admin == "ready" and b.check == "down"
    ]
    for node in state.nodes:
        was = baseline.node(node.name)
        if was is not None and was.ready and not node.ready:
            found.append(f"node {node.name} is no longer Ready.")
    for host in state.hosts:
        before = baseline.host(host.name)
        if before is not None and before.reachable and not host.reachable:
            found.append(f"host {host.name} does not answer over SSH.")
        for unit in host.units:
            old = before.unit(unit.name) if before else None
            if old is not None and host.reachable and unit.restarts > old.restarts:
                found.append(f"{unit.name} on {host.name} was restarted by systemd.")
    known = {u.source for u in baseline.unread}
    found += [
        f"{u.source} could not be read ({u.why})." for u in state.unread if u.source not in known
    ]
    return found


async def check_landed(action: Landed, ctx: Context) -> str:
    """Asserted per object, on one full reading: nothing is inferred from commands that returned."""

    async def why() -> str:
        ctx.safe_point()
        return await _not_landed(action, ctx)

    if reason := await ctx.asked(why, LASTS, LOOK_EVERY):
        raise StepFailed(reason)
    if ctx.state.members:
        await etcd_health.equal_hashes(ctx)
    ctx.evidence("after", ctx.state)
    return "every object runs what was planned, and everything taken was given back."


async def _not_landed(action: Landed, ctx: Context) -> str:
    state = await ctx.look_everywhere()
    if not state.complete:
        lost = "; ".join(f"{u.source}: {u.why}" for u in state.unread)
        raise Temporary(f"what landed cannot be told, not everything could be read: {lost}", 5.0)
    behind = ctx.quarantined
    short = [
        s.id
        for s in ctx.plan.steps
        if s.action != action
        and getattr(s.action, "node", "") not in behind
        and landed.satisfied(s.action, state) is False
        and isinstance(s.action, LASTING)
    ]
    if short:
        return f"not landed: {', '.join(short)}. Look at it, then: pawl resume."
    kept = [
        n.name
        for n in state.nodes
        if n.name not in behind and (n.cordoned_by == ctx.owner or marks.marked(n))
    ]
    if kept:
        return f"node {', '.join(kept)} still carries a mark of pawl."
    # The object of a pod that has ended stays until it is collected, long after its node went.
    loose = [p for p in await ctx.tools.kube.released() if not (p.terminating or p.finished)]
    if loose:
        names = ", ".join(f"{p.namespace}/{p.name}" for p in loose)
        return f"pod {names} was released by pawl and is still there."
    if lent := await ctx.tools.leeway.lent():
        names = ", ".join(x.name for x in lent)
        return f"{names} is still loosened by pawl: pawl resume gives it back."
    out = [b.name for b in state.balancer if b.admin != "ready"]
    if out:
        return f"API server {', '.join(out)} is not back in the balancer."
    if broken := invariants.violations(state):
        return f"the cluster is not as it must be: {' '.join(broken)}"
    return ""
