"""Evictions side by side, each an effect of its own in the journal."""

from __future__ import annotations

import anyio

from pawl.engine.context import Context
from pawl.ports.kube import Evicted, Pod

AT_ONCE = 8
"""Evictions in parallel: bounded, so that an API server in mid-roll is not flooded. No setting: the
pace's caps on starts hold before it does, and what it refuses is asked again."""


class _Refused(Exception):
    """Leaves the effect without its end in the journal: nothing happened."""

    def __init__(self, answer: Evicted) -> None:
        self.answer = answer
        super().__init__(answer.why)


async def evict(ctx: Context, pods: list[Pod]) -> list[tuple[Pod, Evicted]]:
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
