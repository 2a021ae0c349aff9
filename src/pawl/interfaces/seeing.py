"""A look at the cluster on which a plan or a way back hangs."""

from __future__ import annotations

from pawl.core.model import ClusterState
from pawl.ports.clock import Clock
from pawl.ports.observer import Observer

APART = 3.0
"""Seconds between two looks: an answer that was lost, or late, is there by then."""


async def seen(observer: Observer, clock: Clock) -> ClusterState:
    """What is seen now. Where not all could be read, everything is read once more, for one lost
    answer is no reason to refuse; what is silent then is told."""
    state = await observer.observe()
    if state.complete:
        return state
    await clock.sleep(APART)
    return await observer.observe(state)
