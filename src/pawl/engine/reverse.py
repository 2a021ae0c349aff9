"""The way back as a plan: the steps that have landed, in reverse, as far as an exit is open.

A rollback is no special mode. It is a plan with its own digest, made of the same actions with
source and target exchanged, run by the same runner under the same invariants. So it survives
crashes, pauses and approvals like any other.

What is closed, and why, is said before anything is touched:
  etcd            the old binary refuses to start once the cluster version has gone past its minor;
                  a downgrade goes back by its cancellation first
  API servers     once one of them serves the new minor proper, objects may be stored that the old
                  binary does not know; until then (the two-step upgrade) it is an open exit
  machines        a machine that was removed is gone; going back is a new plan
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pawl.core import skew
from pawl.core.actions import (
    AddControlPlane,
    AddNode,
    AnyAction,
    CancelEtcdDowngrade,
    ConvergeEtcd,
    EnableEtcdDowngrade,
    FinishEmulation,
    Landed,
    MoveEtcdLeader,
    ReplaceEtcdMachine,
    RetireControlPlane,
    RetireNode,
    StageBinaries,
    SwapApiServer,
    SwapController,
    SwapEtcdMember,
    SwapKubeProxy,
    SwapNode,
)
from pawl.core.config import Config
from pawl.core.draft import Draft
from pawl.core.errors import Refused
from pawl.core.model import ClusterState
from pawl.core.plan import Exit, Plan, Step, Target
from pawl.core.planner import source_of
from pawl.core.progress import RunView
from pawl.core.version import Minor

Swap = (
    SwapEtcdMember | ReplaceEtcdMachine | SwapApiServer | SwapController | SwapNode | SwapKubeProxy
)
MACHINES = (AddNode, RetireNode, AddControlPlane, RetireControlPlane)


def reverse(
    plan: Plan, view: RunView, state: ClusterState, config: Config, to_step: str = ""
) -> Plan:
    """The plan that takes back what `plan` did after `to_step` ("" for all of it).

    Raises `Refused` with every reason when an exit on the way is closed."""
    begun = list(_begun(plan, view, to_step))
    if not begun:
        raise Refused([f"nothing was done after {to_step or 'the start'} that could go back."])
    closed = [why for step in begun if (why := _closed(step.action, state, plan))]
    if closed:
        raise Refused(list(dict.fromkeys(closed)))
    swaps = [s for s in begun if isinstance(s.action, Swap)]
    draft = Draft(state=state, target=_target(swaps), config=config, releases={})
    _stage(draft, swaps)
    lowered = any(isinstance(s.action, EnableEtcdDowngrade) for s in begun)
    if not swaps and not lowered:
        raise Refused([_nothing_after(to_step)])
    if lowered:
        draft.add(
            "back/etcd/cancel-downgrade",
            "etcd",
            CancelEtcdDowngrade(),
            why="Until it is cancelled, the cluster version stays pinned to the older minor.",
            keep=True,
        )
    for step in _followers_first(swaps, state):
        _back(draft, step)
    etcd = [s.action for s in swaps if isinstance(s.action, SwapEtcdMember | ReplaceEtcdMachine)]
    if etcd or lowered:
        minor = str(_etcd_before(plan, etcd))
        draft.add(
            f"back/etcd/{minor}/converge",
            "etcd",
            ConvergeEtcd(minor=minor, down=not lowered),
            why="What ran before on every member that had left it, with equal hashes.",
            keep=True,
        )
    draft.add("back/landed", "landed", Landed(), why="Asserted per object, as for the way there.")
    if draft.problems:
        raise Refused(draft.problems)
    if len(draft.steps) == 1:  # swaps were begun, and none came as far as the switch
        raise Refused([_nothing_after(to_step)])
    return Plan(
        cluster=plan.cluster,
        target=draft.target,
        source=source_of(state),
        pace=config.policy.pace,
        steps=tuple(draft.steps),
    ).sealed()


def _nothing_after(step: str) -> str:
    return (
        f"nothing was changed after {step or 'the start'}: what was done there (checks, binaries "
        "laid ready, backups, pods moved) needs no way back. `pawl abort` gives back what a run "
        "has taken."
    )


def _etcd_before(plan: Plan, swaps: Sequence[SwapEtcdMember | ReplaceEtcdMachine]) -> Minor:
    """etcd's minor before the plan."""
    told = [s.source for s in swaps] or list(plan.source.versions.get("etcd", ()))
    return max(Minor.parse(version) for version in told)


def nodes_back(plan: Plan, view: RunView, state: ClusterState, config: Config) -> Plan:
    """The plan that takes back the nodes alone, and keeps what was done before them.

    Raises `Refused` when nothing was done to nodes, or their exit is closed (machines that were
    made anew are gone)."""
    kept = ""
    for step in plan.steps:
        if step.phase == "nodes" and view.step(step.id).attempts and isinstance(step.action, Swap):
            return reverse(plan, view, state, config, kept)
        if step.phase != "nodes":
            kept = step.id
    raise Refused(["no node was changed in place yet, so there is none that could go back."])


class Way(NamedTuple):
    """A way back that is open: `kept` is the last step that stays ("": none does)."""

    kept: str
    plan: Plan


def open_ways(plan: Plan, view: RunView, state: ClusterState, config: Config) -> tuple[Way, ...]:
    """The ways back to the beginning of each part and hop of the plan, the furthest first; those
    that are closed are left out."""
    found: list[Way] = []
    kept, part = "", ""
    for step in plan.steps:
        begins = "/".join(step.id.split("/")[:2])
        if begins != part:
            part = begins
            with contextlib.suppress(Refused):
                way = Way(kept, reverse(plan, view, state, config, kept))
                if not found or found[-1].plan.steps != way.plan.steps:
                    found.append(way)
        kept = step.id
    return tuple(found)


def _begun(plan: Plan, view: RunView, to_step: str) -> Iterator[Step]:
    """Steps that were begun, the last one first, down to but without `to_step`."""
    if to_step and to_step not in {s.id for s in plan.steps}:
        raise Refused([f"the plan has no step {to_step}; `pawl plan -o table` lists them."])
    for step in reversed(plan.steps):
        if step.id == to_step:
            return
        if view.step(step.id).attempts:
            yield step


def _closed(action: AnyAction, state: ClusterState, plan: Plan) -> str:
    """Why this step's exit is closed, "" while it is open."""
    match action:
        case SwapEtcdMember() | ReplaceEtcdMachine():
            told = [m for e in state.members if (m := skew.minor_of(e.cluster_version or ""))]
            if told and max(told) > Minor.parse(action.source):
                return (
                    f"etcd's cluster version is {max(told)}: etcd {action.source} refuses to "
                    f"start. The open exit is an online downgrade: pawl plan --only etcd --etcd "
                    f"{Minor.parse(action.source)}."
                )
        case SwapApiServer() | FinishEmulation():
            server = state.api_server(action.host)
            acts_as = skew.effective(server, state) if server else None
            old = _old_minor(action, plan)
            if acts_as is not None and old is not None and acts_as > old:
                return (
                    f"API server {action.host} serves {acts_as} proper, and may have stored what "
                    f"{old} does not know: after the finish there is no way back but a snapshot "
                    "of etcd."
                )
        case AddControlPlane() | RetireControlPlane():
            was = ", ".join(plan.source.versions.get("kube-apiserver", ())) or "OLD"
            return (
                "machines of the control plane were made anew, and the old ones do not come back. "
                "Until the finish the old binary runs on the new ones: pawl plan --only "
                f"control-plane --to {was}."
            )
        case _ if isinstance(action, MACHINES):
            return (
                "machines were made and removed: what is gone cannot come back. `pawl abort` "
                "re-opens nodes that are still there; a plan with --strategy replace makes new "
                "machines of the old version."
            )
    return ""


def _old_minor(action: SwapApiServer | FinishEmulation, plan: Plan) -> Minor | None:
    for step in plan.steps:
        swap = step.action
        if isinstance(swap, SwapApiServer) and swap.host == action.host and swap.source:
            return Minor.parse(swap.source)
    return None


def _target(swaps: list[Step]) -> Target:
    etcd = kubernetes = ""
    for step in swaps:
        action = step.action
        if isinstance(action, SwapEtcdMember | ReplaceEtcdMachine):
            etcd = action.source
        elif isinstance(action, Swap):
            kubernetes = action.source
    return Target(kubernetes=kubernetes, etcd=etcd)


def _followers_first(swaps: list[Step], state: ClusterState) -> list[Step]:
    """In reverse, except that etcd's present leader comes last of the members."""
    leader = state.leader.host if state.leader else ""
    etcd = [s for s in swaps if s.phase == "etcd"]
    etcd.sort(key=lambda s: getattr(s.action, "host", "") == leader)
    return [s for s in swaps if s.phase != "etcd"] + etcd


def _where(action: AnyAction) -> tuple[str, str]:
    """(host, component) of a swap."""
    match action:
        case SwapEtcdMember() | ReplaceEtcdMachine():
            return action.host, "etcd"
        case SwapApiServer():
            return action.host, "kube-apiserver"
        case SwapController():
            return action.host, action.component
        case SwapKubeProxy():
            return action.host, "kube-proxy"
        case SwapNode():
            return action.node, "kubelet"
    raise TypeError(f"{action} swaps nothing")


def _stage(draft: Draft, swaps: list[Step]) -> None:
    for step in swaps:
        if isinstance(step.action, ReplaceEtcdMachine) or not isinstance(step.action, Swap):
            continue
        where, component = _where(step.action)
        node = draft.state.node(where)
        host = (node.host if node else "") or where
        draft.add(
            f"back/stage/{component}/{host}",
            step.phase,
            StageBinaries(host=host, component=component, version=step.action.source),
            why="The old binary is kept where it was, so this is done at once.",
        )


def _back(draft: Draft, step: Step) -> None:
    action = step.action
    if not isinstance(action, Swap):
        return
    if isinstance(action, SwapEtcdMember | ReplaceEtcdMachine):
        _leave_leadership(draft, action.host)
    draft.add(
        f"back/{step.id}",
        step.phase,
        _exchanged(action),
        why="Back to what ran before, on the present data.",
        exit=Exit(name="forward", how="Run the original plan again.", seconds=step.seconds),
    )


def _exchanged(action: Swap) -> AnyAction:
    match action:
        case SwapEtcdMember():
            return SwapEtcdMember(host=action.host, source=action.target, target=action.source)
        case ReplaceEtcdMachine():
            return ReplaceEtcdMachine(host=action.host, source=action.target, target=action.source)
        case SwapApiServer():
            return SwapApiServer(host=action.host, source=action.target, target=action.source)
        case SwapController():
            return SwapController(
                host=action.host,
                component=action.component,
                source=action.target,
                target=action.source,
            )
        case SwapNode():
            return SwapNode(
                node=action.node, source=action.target, target=action.source, drain=action.drain
            )
        case SwapKubeProxy():
            return SwapKubeProxy(host=action.host, source=action.target, target=action.source)


def _leave_leadership(draft: Draft, host: str) -> None:
    leader = draft.state.leader
    if leader is not None and leader.host == host and len(draft.state.voters) > 1:
        draft.add(
            f"back/etcd/move-leader/{host}",
            "etcd",
            MoveEtcdLeader(away_from=host),
            why="A leader is moved away, never stopped.",
        )
