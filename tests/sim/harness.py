"""Whole runs in virtual time: plan, run, crash, resume."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pawl.core.beforehand import Beforehand
from pawl.core.events import Approved, Paused, Resumed, RunEnded
from pawl.core.foreseen import foresee
from pawl.core.plan import Plan, Target
from pawl.core.planner import plan as make_plan
from pawl.engine.effects import Effect, EffectHook
from pawl.engine.record import Narrator
from pawl.engine.runner import Runner, Stop
from pawl.testing.cluster import SimCluster, SimSession
from pawl.testing.virtual import run_virtual
from pawl.testing.workloads import workload_facts

T = TypeVar("T")
UP = Target(kubernetes="1.37.0", etcd="3.6.14")
RUN = "run-1"


class Crash(BaseException):
    """SIGKILL: nothing that the process would have done afterwards happens."""


class Watch:
    """Counts effects, and crashes before or after the one that it was told."""

    def __init__(self, crash_at: int = -1, when: str = "") -> None:
        self.effects: list[Effect] = []
        self._crash_at = crash_at
        self._when = when

    async def before(self, effect: Effect) -> None:
        self.effects.append(effect)
        if self._when == "before" and len(self.effects) - 1 == self._crash_at:
            raise Crash

    async def after(self, effect: Effect) -> None:
        if self._when == "after" and effect is self.effects[min(self._crash_at, 10**9)]:
            raise Crash


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in virtual time."""
    import functools

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))  # type: ignore[arg-type]

    return wrapper


def planned(cluster: SimCluster, target: Target = UP) -> Plan:
    return make_plan(cluster.state(), target, cluster.config)


def nodes_planned(cluster: SimCluster, target: Target) -> Plan:
    """As `pawl plan` does it, which looks at the workloads too."""
    state, world = cluster.state(), cluster.world
    policy = cluster.config.policy
    patience = policy.timeouts.eviction
    moves = foresee(workload_facts(world), state, target, pace=policy.pace, patience=patience)
    return make_plan(state, target, cluster.config, beforehand=Beforehand(moves=moves))


async def drive(
    cluster: SimCluster,
    plan: Plan,
    *,
    session: SimSession | None = None,
    holder: str = "me",
    hook: EffectHook | None = None,
    stop: Stop | None = None,
    narrator: Narrator | None = None,
    lock: object | None = None,
    run: str = RUN,
    wait: bool = True,
) -> RunEnded:
    """One pawl process, from start to end."""
    session = session or cluster.session(holder)
    session.journal.save_plan(plan)
    runner = Runner(
        tools=session,
        plan=plan,
        run=run,
        holder=holder,
        known_dead=lambda name: True,
        lock=lock or cluster.lock,  # type: ignore[arg-type]
        hook=hook,
        narrator=narrator,
        stop=stop,
        wait_for_approval=wait,
    )
    return await runner.run()


def approve(cluster: SimCluster, plan: Plan, *names: str) -> None:
    for name in names or ("plan",):
        cluster.journal.append(Approved(at=0.0, run="", digest=plan.digest, name=name, by="test"))


def pause(cluster: SimCluster) -> None:
    cluster.journal.append(Paused(at=0.0, run=RUN, why="lunch.", by="test"))


def resume(cluster: SimCluster) -> None:
    cluster.journal.append(Resumed(at=0.0, run=RUN, by="test"))


def versions(cluster: SimCluster) -> dict[str, set[str]]:
    """What runs, by component."""
    state = cluster.state()
    return {
        "etcd": {m.version or "down" for m in state.members},
        "kube-apiserver": {a.version or "down" for a in state.api_servers},
        "emulates": {a.emulation_version or "down" for a in state.api_servers},
        "controllers": {c.version or "down" for c in state.controllers},
        "kubelet": {n.kubelet or "down" for n in state.nodes},
        "kube-proxy": {n.kube_proxy or "down" for n in state.nodes},
    }
