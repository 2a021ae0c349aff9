"""What to do now: `decide(plan, view, state, now, policy)` -> Start | Wait | Halt | Done.

Total and pure: for any plan, history and observation it answers, and its answer carries a sentence
that a person can act on. The command line, the log and the tests show that very sentence.

A step counts as done when the cluster says so (`landed.satisfied`). Only what the cluster cannot
tell (a backup, a soak, an approval passed) is taken from the journal, and a passing state such as
"the leader is elsewhere" is superseded once every step that waited for it is done.

Before a start the hard invariants are asserted again, on the live state with the step's worst
moment and its end projected onto it. Trouble that may pass by itself is a Wait; trouble that needs
a person, and anything that fits no known state, is a Halt.
"""

from __future__ import annotations

from msgspec import Struct

from pawl.core import drift, interrupted, invariants, landed, quorum
from pawl.core.actions import (
    PASSING,
    AddControlPlane,
    AddNode,
    AnyAction,
    BackupEtcd,
    ConvergeEtcd,
    EnableEtcdDowngrade,
    FinishEmulation,
    Landed,
    MoveEtcdLeader,
    PointOfNoReturn,
    Preflight,
    ReplaceEtcdMachine,
    RetireControlPlane,
    RetireNode,
    Soak,
    StageBinaries,
    SwapApiServer,
    SwapController,
    SwapEtcdMember,
    SwapNode,
)
from pawl.core.config import PolicyConfig
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Step, Target
from pawl.core.progress import RunView

POLL = 1.0
"""Seconds after which a wait for the cluster is looked at again."""


class Start(Struct, frozen=True, kw_only=True, tag="start"):
    """Begin this step (or begin it again, after an interruption)."""

    step: Step
    why: str


class Wait(Struct, frozen=True, kw_only=True, tag="wait"):
    """Nothing to start now. `until` is when to look again at the latest; None when only a
    person or a running step can end the wait."""

    why: str
    until: float | None = None
    step: str = ""
    trouble: bool = False
    """Whether it is the cluster that is not well enough."""


class Halt(Struct, frozen=True, kw_only=True, tag="halt"):
    """Stop at this safe point. `outcome` is what the journal records."""

    why: str
    outcome: str = "paused"


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    why: str


Decision = Start | Wait | Halt | Done

_ON_CONTROL_PLANE = (
    SwapEtcdMember,
    ReplaceEtcdMachine,
    SwapApiServer,
    FinishEmulation,
    SwapController,
    AddControlPlane,
    RetireControlPlane,
)

_ASSERTING = (StageBinaries, ConvergeEtcd)
"""Steps that also ask a question (are the flags accepted, are the hashes equal): an end state that
stands already does not spare asking it."""


def finished(plan: Plan, view: RunView, state: ClusterState) -> frozenset[str]:
    """The ids of all steps whose work is done."""
    dependents: dict[str, list[str]] = {s.id: [] for s in plan.steps}
    for step in plan.steps:
        for earlier in step.after:
            dependents.setdefault(earlier, []).append(step.id)
    done: set[str] = set()
    for step in reversed(plan.steps):  # dependents come later in the list
        answer = landed.satisfied(step.action, state)
        told = view.step(step.id).done
        later = dependents[step.id]
        behind = getattr(step.action, "node", "") in view.quarantined
        superseded = (
            isinstance(step.action, PASSING) and bool(later) and all(d in done for d in later)
        )
        if isinstance(step.action, _ASSERTING):
            stands = told and answer is not False
        elif told:
            passing = isinstance(step.action, (*PASSING, Landed))
            stands = answer is not False or passing or drift.still_there(step.action, state)
        else:
            stands = answer is True and not view.step(step.id).running
        if superseded or stands or behind:
            done.add(step.id)
    return frozenset(done)


def decide(
    plan: Plan, view: RunView, state: ClusterState, now: float, policy: PolicyConfig
) -> Decision:
    """The next thing to do, with its reason."""
    if view.aborted:
        return Halt(why=f"Aborted by {view.aborted_by}: {view.aborted}", outcome="aborted")
    if "plan" in policy.approvals and not view.approved(plan.digest, "plan"):
        return Wait(
            why=f"The plan needs an approval: pawl approve {plan.digest[:12]}.",
        )
    done = finished(plan, view, state)
    left = [s for s in plan.steps if s.id not in done]
    if not left:
        return Done(why=f"All {len(plan.steps)} steps are done.{_left_behind(view)}")
    if view.paused:
        return Halt(why=f"Paused by {view.paused_by}: {view.paused} Go on with: pawl resume.")
    strayed = drift.strayed(plan, left, state)
    if strayed:
        return Halt(why=strayed)
    startable = [s for s in left if all(a in done for a in s.after) and not view.step(s.id).running]
    running = [s for s in left if view.step(s.id).running]
    if not startable:
        if running:
            return Wait(why=f"{running[0].id} is running.", step=running[0].id)
        return Halt(
            why=f"No step can start: {left[0].id} waits for a step that is not in the plan."
        )
    projected = state
    for step in running:
        projected = invariants.during(step.action, projected)
    answers = [_may_start(plan, s, view, state, projected, now, policy, running) for s in startable]
    starts = [a for a in answers if isinstance(a, Start)]
    if starts:
        return starts[0]
    halts = [a for a in answers if isinstance(a, Halt)]
    if halts and not running:
        return halts[0]
    waits = [a for a in answers if isinstance(a, Wait)]
    if waits:
        return waits[0]
    return Wait(why=f"{halts[0].why} First {running[0].id} ends.", step=running[0].id)


def _left_behind(view: RunView) -> str:
    if not view.quarantined:
        return ""
    told = " ".join(f"{node}: {why}" for node, why in sorted(view.quarantined.items()))
    return f" {len(view.quarantined)} nodes stay behind, closed and old. {told}"


def _may_start(
    plan: Plan,
    step: Step,
    view: RunView,
    state: ClusterState,
    projected: ClusterState,
    now: float,
    policy: PolicyConfig,
    running: list[Step],
) -> Start | Wait | Halt:
    seen = view.step(step.id)
    if seen.failures >= policy.attempts:
        return Halt(
            why=f"{step.id} failed {seen.failures} times, the last time because: "
            f"{seen.last_failure} Mend that, then: pawl resume.",
            outcome="failed",
        )
    if seen.failures and seen.failed_at is not None and now < seen.failed_at + policy.retry_delay:
        return Wait(
            why=f"{step.id} failed ({seen.last_failure}) and is tried again, "
            f"{seen.failures + 1} of {policy.attempts}.",
            until=seen.failed_at + policy.retry_delay,
            step=step.id,
        )
    if step.approval and not view.approved(plan.digest, step.approval):
        return Wait(
            why=f"{step.id} needs the approval {step.approval}: pawl approve "
            f"{plan.digest[:12]} {step.approval}.",
            step=step.id,
        )
    held = _held_by_gates(plan, step, view, now, policy)
    if held:
        return held
    trouble = _trouble(step.action, plan.target, state, projected, running)
    if trouble:
        return _patiently(trouble, step, view, now, policy)
    if step.id in view.interrupted or seen.failures:
        return Start(step=step, why=f"It was begun before and is not finished. {step.why}".strip())
    return Start(step=step, why=step.why)


def _held_by_gates(
    plan: Plan, step: Step, view: RunView, now: float, policy: PolicyConfig
) -> Wait | Halt | None:
    """Between batches of nodes the measurements are asked, from after the last batch on. A fail
    has paused the run already; what they cannot tell within their patience, a person must."""
    gates = view.gates
    if gates is None or not gates.blocking or not isinstance(step.action, AddNode | SwapNode):
        return None
    ends = [
        view.step(earlier).ended_at
        for earlier in step.after
        if isinstance(plan.step(earlier).action, SwapNode | RetireNode)
    ]
    last = max((e for e in ends if e is not None), default=None)
    if last is None or (gates.open and gates.looked_at > last):
        return None
    if gates.looked_at <= last:
        return Wait(
            why=f"{step.id} waits for the gates to be judged after the last nodes.",
            until=now + POLL,
            step=step.id,
        )
    if now - last >= policy.gates.patience:
        return Halt(
            why=f"{step.id} has waited for {now - last:.0f} s, and the gates cannot tell: "
            f"{gates.why} Look with `pawl verify`; if all is well, go on with: pawl resume.",
        )
    return Wait(
        why=f"{step.id} waits, the gates cannot tell yet: {gates.why}",
        until=now + POLL,
        step=step.id,
    )


def _patiently(
    trouble: str, step: Step, view: RunView, now: float, policy: PolicyConfig
) -> Wait | Halt:
    """Trouble may pass; after `policy.patience` seconds it needs a person."""
    since = view.waiting_since
    if since is not None and now - since >= policy.patience:
        return Halt(
            why=f"{step.id} has waited for {now - since:.0f} s: {trouble} Mend that, then: "
            "pawl resume.",
            outcome="failed",
        )
    return Wait(why=f"{step.id} waits: {trouble}", until=now + POLL, step=step.id, trouble=True)


def _trouble(
    action: AnyAction,
    target: Target,
    state: ClusterState,
    projected: ClusterState,
    running: list[Step],
) -> str:
    """Why the action must not begin in this state; "" when it may."""
    unread = [
        u
        for u in drift.unread_elsewhere((action, *(s.action for s in running)), state)
        if not interrupted.explained(u, state, target)
    ]
    if unread:
        return f"{unread[0].source} could not be read ({unread[0].why})."
    if isinstance(action, Preflight | Landed | StageBinaries | PointOfNoReturn | Soak):
        return ""
    if isinstance(action, SwapEtcdMember | ReplaceEtcdMachine):
        why = quorum.why_not_stop(state, action.host)
        if why:
            return why
    if isinstance(action, BackupEtcd | MoveEtcdLeader | EnableEtcdDowngrade):
        sick = [m.name for m in state.voters if not m.healthy]
        if sick and not isinstance(action, BackupEtcd):
            return f"etcd member {', '.join(sick)} is not healthy."
        if not quorum.kept(state):
            return "etcd has no quorum."
        if alarm := quorum.alarmed(state):
            return alarm
    if isinstance(action, _ON_CONTROL_PLANE):
        why = _elsewhere(action, state)
        if why:
            return why
    if isinstance(action, RetireNode | SwapNode):
        why = _node_trouble(action, state, running)
        if why:
            return why
    before = set(invariants.violations(projected))
    for moment in (invariants.during, invariants.after):
        broken = [v for v in invariants.violations(moment(action, projected)) if v not in before]
        if broken:
            return broken[0]
    return ""


def _elsewhere(action: AnyAction, state: ClusterState) -> str:
    """One control-plane machine at a time: nothing else may be out of service, be it etcd, an API
    server or a controller. What this very action has left unfinished does not count, and when
    it has, it is finished whatever else is wrong."""
    out: dict[str, str] = {}
    for member in state.voters:
        if not member.healthy:
            out[member.host] = f"etcd member {member.name} is not healthy"
    for server in state.api_servers:
        if not invariants.landed_serving(server, state):
            out[server.host] = f"API server {server.host} does not serve"
    for controller in state.controllers:
        if not controller.healthy:
            out.setdefault(
                controller.host, f"{controller.component} on {controller.host} is not healthy"
            )
    host = getattr(action, "host", "") or getattr(action, "machine", "")
    if not out or host in out:
        return ""
    return f"{next(iter(out.values()))}; {host} must not be taken out as well."


def _node_trouble(action: RetireNode | SwapNode, state: ClusterState, running: list[Step]) -> str:
    """A node that pawl upgraded and that is not Ready stops the roll: the next would follow it."""
    busy = {s.action.node for s in running if isinstance(s.action, RetireNode | SwapNode)}
    sick = [
        n.name for n in state.nodes if not n.ready and n.name != action.node and n.name not in busy
    ]
    if sick:
        return f"node {', '.join(sick)} is not Ready; {action.node} must not go as well."
    return ""
