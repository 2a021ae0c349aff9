"""What an executor sees of the engine: fresh facts, guarded effects, and waits with a reason.

An executor is find -> perform -> verify. It never trusts what it read before an effect: `look`
reads again, and every wait is a predicate over fresh facts that answers with the reason why not
yet, "" when it stands. That reason is what the person at the terminal reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import msgspec

from pawl.core.config import LayoutConfig, PolicyConfig, TimeoutConfig
from pawl.core.errors import StepFailed, Unreachable
from pawl.core.events import Evidence, Paused, Quarantined
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Step
from pawl.core.workloads.facts import Workloads
from pawl.engine.effects import Effects
from pawl.engine.moving import Moving
from pawl.engine.record import Record
from pawl.engine.tools import Tools
from pawl.ports.observer import EVERYTHING, Part

Why = Callable[[ClusterState], str]
"""A predicate over fresh facts: "" when it holds, else the reason for waiting."""

POLL = 0.2
"""Seconds between two looks at something that takes seconds. A look itself takes 50-500 ms, by the
parts that it reads, and is what bounds the load on the cluster."""
READINGS, READ_AGAIN = 3, 2.0
"""Times that facts are read which could not be read as a whole, and seconds between them."""
HOSTS: frozenset[Part] = frozenset()
"""Parts of a look at nothing but the named hosts."""


class Late(StepFailed):
    """A wait passed its deadline; the message ends with the last reason."""


class Interrupted(Exception):
    """The run was asked to stop, and the step stands at a safe point."""


class Context:
    def __init__(
        self,
        *,
        step: Step,
        plan: Plan,
        tools: Tools,
        effects: Effects,
        record: Record,
        state: ClusterState,
        stopping: Callable[[], str],
        moving: Moving,
        gates: Callable[[float], str] = lambda since: "",
    ) -> None:
        self.step = step
        self.plan = plan
        self.tools = tools
        self.state = state
        self._effects = effects
        self._record = record
        self._stopping = stopping
        self.moving = moving
        self.gates = gates
        """Why the gates hold what was watched until then (a time of `now`), "" when they do not."""

    @property
    def policy(self) -> PolicyConfig:
        return self.tools.config.policy

    @property
    def timeouts(self) -> TimeoutConfig:
        return self.tools.config.policy.timeouts

    @property
    def layout(self) -> LayoutConfig:
        return self.tools.config.layout

    @property
    def owner(self) -> str:
        """Whose cordon it is."""
        return f"pawl:{self._record.run}"

    def now(self) -> float:
        """Seconds of a clock that nobody can set: deadlines and soaks are measured by it, so that
        a jump of the machine's clock neither ends a soak that nobody watched nor takes a healthy
        binary for a late one."""
        return anyio.current_time()

    async def look(self, *hosts: str, parts: frozenset[Part] = EVERYTHING) -> ClusterState:
        """Read `parts` and these hosts again; the rest stays as it was read before."""
        self.state = await self.tools.observer.refresh(self.state, *hosts, parts=parts)
        return self.state

    async def look_everywhere(self) -> ClusterState:
        self.state = await self.tools.observer.observe(self.state)
        return self.state

    async def workloads(self) -> Workloads:
        """The facts of all workloads. Where not all could be read they are read again: what is
        missing for a moment must not cost a pod its surge. Raises `Unreachable`."""
        for left in reversed(range(READINGS)):
            try:
                facts = await self.tools.workloads.read()
            except Unreachable:
                if not left:
                    raise
            else:
                if facts.complete or not left:
                    return facts
            await self.sleep(READ_AGAIN)
        raise AssertionError("unreachable")

    def effect(
        self, name: str, target: str, *, on_host: bool = True
    ) -> AbstractAsyncContextManager[int]:
        return self._effects.effect(self.step.id, name, target, on_host=on_host)

    def safe_point(self) -> None:
        """Nothing is half done here: leave if the run was asked to stop."""
        if self._stopping():
            raise Interrupted(self._stopping())

    def pause(self, why: str, by: str) -> None:
        """Ask the run to pause; whoever is at a safe point leaves there."""
        self._record.append(Paused(why=why, by=by, **self._record.stamp()))

    @property
    def quarantined(self) -> set[str]:
        """Nodes of this run that stay behind."""
        return set(self._record.view().quarantined)

    def quarantine(self, node: str, why: str) -> bool:
        """Leave the node behind, closed; False when the policy allows no more of them."""
        if len(self.quarantined | {node}) > self.policy.limits.quarantine:
            return False
        stamp = self._record.stamp()
        self._record.append(Quarantined(step=self.step.id, node=node, why=why, **stamp))
        return True

    def waiting(self, why: str) -> None:
        self._record.waiting(self.step.id, why)

    async def sleep(self, seconds: float) -> None:
        await self.tools.clock.sleep(seconds)

    def evidence(self, name: str, value: object) -> None:
        """Keep an observation for the report."""
        data = msgspec.json.encode(value, order="sorted").decode()
        self._record.append(Evidence(name=name, data=data, **self._record.stamp()))

    async def asked(
        self, why: Callable[[], Awaitable[str]], seconds: float, every: float = POLL
    ) -> str:
        """Ask something that no look reads by itself, until it answers "" or `seconds` have passed;
        returns the last reason."""
        end = self.now() + seconds
        while reason := await why():
            self.waiting(reason)
            if self.now() >= end:
                break
            await self.sleep(every)
        return reason

    async def until(
        self,
        why: Why,
        *hosts: str,
        seconds: float,
        times: int = 1,
        every: float = POLL,
        stop: Why | None = None,
        safe: bool = False,
        parts: frozenset[Part] = EVERYTHING,
    ) -> ClusterState:
        """Look until `why` answers "" `times` in a row; `Late` with its last reason after
        `seconds`. `stop` ends the wait early with its reason (a crash loop needs no deadline).
        `safe`: the run may be stopped while this wait lasts. `parts`: all that `why` and `stop`
        look at, beside the hosts."""
        deadline = self.now() + seconds
        good = 0
        while True:
            if safe:
                self.safe_point()
            state = await self.look(*hosts, parts=parts)
            reason = why(state)
            good = 0 if reason else good + 1
            if good >= times:
                return state
            if stop is not None and (end := stop(state)):
                raise Late(end)
            if reason:
                self.waiting(reason)
                if self.now() >= deadline:
                    raise Late(f"{reason} This did not change for {seconds:.0f} s.")
            await self.sleep(every)
