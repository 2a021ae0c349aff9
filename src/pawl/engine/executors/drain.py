"""Emptying a node: workload by workload, and no pod before its successor where that is legal.

Pods leave in the order of their workloads' dependencies: only those of the lowest tier on the node
are touched, and the next tier waits until what left is Ready again elsewhere. A pod that may surge
is released from its ReplicaSet first, which makes another at once; the old one serves until the new
one is Ready. Then it is evicted, as every other pod: by the Eviction API alone, which keeps every
disruption budget. A 429 is the budget speaking: pawl waits, and says which pod waits for which
budget. Webhook denials and server errors are tried again as well; only a refusal that no wait can
change fails the step. Pods of DaemonSets and mirror pods belong to the node and stay; Jobs
complete.

A release is a mark on the pod itself, so that whoever resumes goes on with it and releases nobody
twice.
"""

from __future__ import annotations

import random
from collections import Counter

import anyio

from pawl.core.errors import StepFailed
from pawl.core.workloads.methods import Method
from pawl.engine.context import Context
from pawl.engine.executors.turns import Turns, turns
from pawl.ports.kube import Evicted, Pod, Standing

AT_ONCE = 8
"""Evictions in parallel: bounded, so that an API server in mid-roll is not flooded."""
STARTS = 4
"""Successors on their way at a time, beside each workload's own limit."""
FIRST_RETRY = 1.0
LAST_RETRY = 10.0
"""Seconds between tries of one pod, doubled from the first to the last, and jittered by a fifth so
that two drains do not march in step. `kubectl drain` uses 5 s."""
POLL = 0.5


class _Refused(Exception):
    """Leaves the effect without its end in the journal: nothing happened."""

    def __init__(self, answer: Evicted) -> None:
        self.answer = answer
        super().__init__(answer.why)


def stays(pod: Pod) -> bool:
    return pod.mirror or pod.finished or pod.owner.startswith("DaemonSet/")


def accepted_bare(pod: Pod, ctx: Context) -> bool:
    """Whether the plan named this pod in a finding, so that it was approved with the plan."""
    name = f"{pod.namespace}/{pod.name}"
    return any(name in f.subject or name in f.message for f in ctx.plan.findings)


async def drain(ctx: Context, node: str) -> int:
    """Move all pods that leave; returns how many went. `StepFailed` names those that did not, and
    what was released for nothing is given back first."""
    try:
        return await _Drain(ctx, node, await turns(ctx, node)).run()
    except StepFailed:
        await take_back(ctx, node)
        raise


class _Drain:
    def __init__(self, ctx: Context, node: str, order: Turns) -> None:
        self.ctx, self.node, self.order = ctx, node, order
        self.gone: set[str] = set()
        self.next_try: dict[str, float] = {}
        self.wait: dict[str, float] = {}
        self.reasons: dict[str, str] = {}
        self.tier = -1
        self.leaving: dict[tuple[str, str], int] = {}
        """(namespace, owner) of the tier that leaves -> Ready pods that it had before."""
        self.left = -1

    async def run(self) -> int:
        ctx = self.ctx
        deadline = ctx.now() + ctx.timeouts.eviction
        while True:
            ctx.safe_point()
            pods = [p for p in await ctx.tools.kube.pods_on(self.node) if not stays(p)]
            if not pods:
                return len(self.gone)
            self._refuse_bare(pods)
            if len(pods) != self.left:  # something moves: that is no stall
                self.left, deadline = len(pods), ctx.now() + ctx.timeouts.eviction
            said = await self._settled(pods)
            if not said:
                await self._step(pods)
            left = {p.uid for p in pods}
            told = [said] if said else [why for u, why in self.reasons.items() if u in left]
            if told:
                more = "; ".join(sorted(set(told))[:3])
                ctx.waiting(f"{len(pods)} pods are left on {self.node}; {more}")
            else:
                ctx.waiting(f"{len(pods)} pods are leaving {self.node}.")
            if ctx.now() >= deadline:
                raise StepFailed(
                    f"{self.node} was not empty after {ctx.timeouts.eviction:.0f} s: "
                    f"{'; '.join(sorted(set(told))) or _names(pods) + ' did not end'}. "
                    "Make room for them or relax the budget, then: pawl resume."
                )
            await ctx.sleep(POLL)

    def _refuse_bare(self, pods: list[Pod]) -> None:
        bare = [
            p
            for p in pods
            if not p.owner
            and not p.released
            and not p.terminating
            and not accepted_bare(p, self.ctx)
        ]
        if bare:
            raise StepFailed(
                f"{_names(bare)} on {self.node} has no controller that would make it again "
                "elsewhere: delete or move it, then: pawl resume."
            )

    # -- whose turn it is --------------------------------------------------------------------

    async def _settled(self, pods: list[Pod]) -> str:
        """Why the next tier must still wait, "" when its turn has come."""
        tier = min(self.order.of(p).tier for p in pods)
        if tier <= self.tier:
            return ""
        for (namespace, owner), before in self.leaving.items():
            now = await self.ctx.tools.kube.standing(namespace, owner)
            if now.ready < min(before, now.wanted):
                return (
                    f"what depends on {namespace}/{owner} waits until it is Ready again: "
                    f"{_ready(now)}"
                )
        self.tier, self.leaving = tier, {}
        for p in pods:
            owner = p.released or p.owner
            known = owner.startswith(("ReplicaSet/", "StatefulSet/"))
            if known and self.order.of(p).tier == tier:
                key = (p.namespace, owner)
                if key not in self.leaving:
                    standing = await self.ctx.tools.kube.standing(*key)
                    self.leaving[key] = standing.ready
        return ""

    async def _step(self, pods: list[Pod]) -> None:
        """One pass over the pods whose turn it is."""
        turn = [p for p in pods if not p.terminating and self.order.of(p).tier <= self.tier]
        turn.sort(key=lambda p: (p.priority, p.namespace, p.name))
        due: list[Pod] = []
        for p in turn:
            method = self.order.of(p).method
            if p.released:
                if await self._succeeded(p):
                    due.append(p)
            elif method == "wait":
                self.reasons[p.uid] = f"pod {p.namespace}/{p.name} is left to complete"
            elif not _surges(p, method):
                due.append(p)
        await self._release(turn)
        due = [p for p in due if self.next_try.get(p.uid, 0.0) <= self.ctx.now()]
        for pod, answer in await _evict(self.ctx, due[:AT_ONCE]):
            if answer.ok:
                self.gone.add(pod.uid)
                self.reasons.pop(pod.uid, None)
            elif not answer.retry:
                raise StepFailed(
                    f"pod {pod.namespace}/{pod.name} on {self.node} cannot be evicted: {answer.why}"
                )
            else:
                self._later(pod, answer)

    def _later(self, pod: Pod, answer: Evicted) -> None:
        wait = min(LAST_RETRY, self.wait.get(pod.uid, FIRST_RETRY / 2) * 2)
        self.wait[pod.uid] = wait
        self.next_try[pod.uid] = self.ctx.now() + wait * random.uniform(0.8, 1.2)
        self.reasons[pod.uid] = f"pod {pod.namespace}/{pod.name}: {answer.why}"

    # -- surging -----------------------------------------------------------------------------

    async def _release(self, turn: list[Pod]) -> None:
        """Release as many as may be on the way at once; those that are count."""
        flying = Counter(self.order.of(p).workload for p in turn if p.released)
        for p in turn:
            own = self.order.of(p)
            if p.released or not _surges(p, own.method):
                continue
            if flying[own.workload] >= own.at_once or flying.total() >= STARTS:
                continue
            flying[own.workload] += 1
            name = f"{p.namespace}/{p.name}"
            async with self.ctx.effect("release", name, on_host=False):
                await self.ctx.tools.kube.release(p, self.ctx.owner)
            self.reasons[p.uid] = f"pod {name} stays until its successor is Ready"

    async def _succeeded(self, p: Pod) -> bool:
        now = await self.ctx.tools.kube.standing(p.namespace, p.released)
        if now.full:
            return True
        self.reasons[p.uid] = (
            f"pod {p.namespace}/{p.name} stays until its successor is Ready: {_ready(now)}"
        )
        return False


def _surges(pod: Pod, method: Method) -> bool:
    """A pod that is not Ready has no service to keep: it goes by eviction."""
    return method == "surge" and pod.ready and bool(pod.template)


async def take_back(ctx: Context, node: str = "") -> list[str]:
    """Give every released pod (of `node`) back to its ReplicaSet, which ends the one too many."""
    told = []
    for p in await ctx.tools.kube.released():
        if not p.terminating and (not node or p.node == node):
            async with ctx.effect("take-back", f"{p.namespace}/{p.name}", on_host=False):
                await ctx.tools.kube.take_back(p)
            told.append(f"{p.namespace}/{p.name} is {p.released}'s again.")
    return told


async def _evict(ctx: Context, pods: list[Pod]) -> list[tuple[Pod, Evicted]]:
    answers: list[tuple[Pod, Evicted]] = []

    async def one(pod: Pod) -> None:
        try:
            async with ctx.effect("evict", f"{pod.namespace}/{pod.name}", on_host=False):
                answer = await ctx.tools.kube.evict(pod)
                if not answer.ok:
                    raise _Refused(answer)
        except _Refused as refused:
            answer = refused.answer
        answers.append((pod, answer))

    try:
        async with anyio.create_task_group() as group:
            for pod in pods:
                group.start_soon(one, pod)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return answers


def _ready(now: Standing) -> str:
    pending = f"; {now.pending}" if now.pending else ""
    return f"{now.ready} of {now.wanted} are{pending}"


def _names(pods: list[Pod]) -> str:
    listed = [f"{p.namespace}/{p.name}" for p in pods]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"pod {', '.join(listed[:3])}{more}"
