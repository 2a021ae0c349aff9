"""Whatever pawl changed, it gives back: on success, on failure, and here on abort.

What there is to give back is read from the cluster, where cordons and taints carry pawl's mark. A
balancer has no room for a mark, so there the journal tells what the run itself has drained: what a
person took out stays out. A step that was cut in half is finished first.
"""

from __future__ import annotations

from msgspec.structs import replace

from pawl.core import landed, marks
from pawl.core.actions import (
    FinishEmulation,
    ReplaceEtcdMachine,
    SwapApiServer,
    SwapController,
    SwapEtcdMember,
    SwapKubeProxy,
    SwapNode,
)
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Step
from pawl.core.progress import RunView
from pawl.engine.context import Context
from pawl.engine.executors import api_server, component, loosen, nodes, perform, releasing

HELD = ("nodes", "load balancer")
"""Sources that show what pawl holds."""
_COMPONENTS = {
    SwapEtcdMember: "etcd",
    SwapApiServer: "kube-apiserver",
    FinishEmulation: "kube-apiserver",
    SwapKubeProxy: "kube-proxy",
    SwapNode: "kubelet",
}


async def everything(ctx: Context, plan: Plan, view: RunView, told: list[str]) -> str:
    """Give back cordons, taints and places in the balancer; a sentence on what was given back.
    `told` gets its parts, also those before an error: who begins again finds the rest.

    What cannot be finished keeps nothing else from being given back; it is raised at the end."""
    finished: set[str] = set()
    failed: StepFailed | None = None
    state = await ctx.look_everywhere()
    for step_id in view.interrupted:
        step = next((s for s in plan.steps if s.id == step_id), None)
        if step is not None and _half_done(ctx, step, state):
            try:
                told.append(await _finish(ctx, step))
                finished.add(getattr(step.action, "host", ""))
            except StepFailed as error:
                failed = failed or error
    state = await _seen(ctx)
    for node in state.nodes:
        if node.cordoned_by == ctx.owner or marks.leaving(node):
            await nodes.give_back(ctx, node.name)
            told.append(f"{node.name} is in use again.")
        if marks.closed(node):
            async with ctx.effect("untaint", node.name, on_host=False):
                await ctx.tools.kube.untaint(node.name, marks.CLOSED.key)
            told.append(f"Re-opened {node.name}.")
    told += await releasing.take_back(ctx)
    told += await loosen.take_back_leeway(ctx, all_of_it=True)
    for host in _out_of_balancer(state):
        if host in {*view.drained, *finished}:
            await api_server.enter_balancer(ctx, host)
            told.append(f"{host} serves behind the balancer again.")
        elif host in _hosts_of(plan):
            told.append(f"{host} stays out of the balancer: it was not this run that took it out.")
    if failed is not None:
        raise failed
    return " ".join(told) or "There was nothing to give back."


async def _seen(ctx: Context) -> ClusterState:
    """The cluster, where it matters what is not there. A list that could not be read shows no
    cordon either, and an abort that left one would be over for good."""
    state = await ctx.look_everywhere()
    for unread in state.unread:
        if unread.source in HELD:
            raise Unreachable(f"{unread.source} could not be read: {unread.why}")
    return state


def _out_of_balancer(state: ClusterState) -> list[str]:
    """Hosts whose API server is ready, but takes no new connections from the balancer."""
    return [
        b.host
        for b in state.balancer
        if b.admin != "ready" and (server := state.api_server(b.host)) is not None and server.ready
    ]


def _hosts_of(plan: Plan) -> set[str]:
    """The hosts whose API server the plan takes out for a while."""
    return {
        s.action.host for s in plan.steps if isinstance(s.action, SwapApiServer | FinishEmulation)
    }


def _half_done(ctx: Context, step: Step, state: ClusterState) -> bool:
    """Whether the step stopped or switched something and did not bring it back up."""
    action = step.action
    if isinstance(action, ReplaceEtcdMachine):
        return landed.satisfied(action, state) is not True and not _serves(action.host, state)
    if isinstance(action, SwapController):
        name = action.component
    elif type(action) in _COMPONENTS:
        name = _COMPONENTS[type(action)]
    else:
        return False
    where = getattr(action, "host", "") or nodes.host_of(
        state.node(getattr(action, "node", "")), getattr(action, "node", "")
    )
    host = state.host(where)
    if host is None or not host.reachable:
        return True
    return component.unit_state(ctx, host, name).active not in component.UP


def _serves(host: str, state: ClusterState) -> bool:
    member = state.member(host)
    return member is not None and member.healthy


async def _finish(ctx: Context, step: Step) -> str:
    """Bring the half-done step to its safe end, or back to its safe beginning."""
    ctx.step = replace(ctx.step, id=step.id)
    for last in (False, False, True):
        try:
            await perform(step.action, ctx)
            return f"{step.id} was half done and is finished."
        except component.WentBack as error:
            return f"{step.id} was half done: {error}"
        except (StepFailed, Unreachable) as error:
            if last or not isinstance(error, Temporary | Unreachable):
                why = f"{step.id} is half done and cannot be finished now: {error}"
                raise StepFailed(why) from error
            await ctx.sleep(2.0)
    raise AssertionError("unreachable")
