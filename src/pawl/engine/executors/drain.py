"""Emptying a node by the Eviction API alone, which keeps every disruption budget.

A 429 is the budget speaking: pawl waits, and says which pod waits for which budget. Webhook denials
and server errors are tried again as well; only a refusal that no wait can change fails the step.
Pods of DaemonSets and mirror pods belong to the node and stay.
"""

from __future__ import annotations

import random

import anyio

from pawl.core.errors import StepFailed
from pawl.engine.context import Context
from pawl.ports.kube import Evicted, Pod

AT_ONCE = 8
"""Evictions in parallel: bounded, so that an API server in mid-roll is not flooded."""
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
    """Evict all pods that leave; returns how many went. `StepFailed` names those that did not."""
    deadline = ctx.now() + ctx.timeouts.eviction
    next_try: dict[str, float] = {}
    wait: dict[str, float] = {}
    reasons: dict[str, str] = {}
    gone: set[str] = set()
    while True:
        ctx.safe_point()
        pods = [p for p in await ctx.tools.kube.pods_on(node) if not stays(p)]
        if not pods:
            return len(gone)
        bare = [p for p in pods if not p.owner and not p.terminating and not accepted_bare(p, ctx)]
        if bare:
            raise StepFailed(
                f"{_names(bare)} on {node} has no controller that would make it again elsewhere: "
                "delete or move it, then: pawl resume."
            )
        due = [p for p in pods if not p.terminating and next_try.get(p.uid, 0.0) <= ctx.now()]
        due.sort(key=lambda p: (p.priority, p.namespace, p.name))
        for pod, answer in await _evict(ctx, due[:AT_ONCE]):
            if answer.ok:
                gone.add(pod.uid)
                reasons.pop(pod.uid, None)
            elif not answer.retry:
                raise StepFailed(
                    f"pod {pod.namespace}/{pod.name} on {node} cannot be evicted: {answer.why}"
                )
            else:
                wait[pod.uid] = min(LAST_RETRY, wait.get(pod.uid, FIRST_RETRY / 2) * 2)
                next_try[pod.uid] = ctx.now() + wait[pod.uid] * random.uniform(0.8, 1.2)
                reasons[pod.uid] = f"pod {pod.namespace}/{pod.name}: {answer.why}"
        left = {p.uid for p in pods}
        told = [why for uid, why in reasons.items() if uid in left]
        if told:
            ctx.waiting(f"{len(pods)} pods are left on {node}; {'; '.join(sorted(set(told))[:3])}")
        else:
            ctx.waiting(f"{len(pods)} pods are leaving {node}.")
        if ctx.now() >= deadline:
            raise StepFailed(
                f"{node} was not empty after {ctx.timeouts.eviction:.0f} s: "
                f"{'; '.join(sorted(set(told))) or _names(pods) + ' did not end'}. "
                "Make room for them or relax the budget, then: pawl resume."
            )
        await ctx.sleep(POLL)


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


def _names(pods: list[Pod]) -> str:
    listed = [f"{p.namespace}/{p.name}" for p in pods]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"pod {', '.join(listed[:3])}{more}"
