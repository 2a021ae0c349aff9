"""Evictions side by side, each an effect of its own in the journal."""

from __future__ import annotations

import anyio

from pawl.core.errors import PawlError, Temporary, Unreachable
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
    """Each answer is waited for, also when another eviction fails: what was asked for may happen.
    Raises the first error then."""
    answers: list[tuple[Pod, Evicted]] = []
    errors: list[PawlError] = []

    async def one(pod: Pod) -> None:
        try:
            async with ctx.effect("evict", f"{pod.namespace}/{pod.name}", on_host=False):
                answer = await ctx.tools.kube.evict(pod)
                if not answer.ok:
                    raise _Refused(answer)
        except _Refused as refused:
            answer = refused.answer
        except PawlError as error:
            errors.append(error)
            return
        answers.append((pod, answer))

    async with anyio.create_task_group() as group:
        for pod in pods:
            group.start_soon(one, pod)
    if errors:
        raise next((e for e in errors if not isinstance(e, Temporary | Unreachable)), errors[0])
    return answers
