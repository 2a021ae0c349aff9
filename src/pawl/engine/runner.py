"""The one tick loop, and the only caller of executors.

    lock file, Lease, epoch on every host
    loop { observe -> decide -> perform -> journal }
    give back

`decide` is pure and sees fresh facts each time; the runner only does what it says. Whatever ends
the process, the next one takes the lock, raises the epoch, reads the cluster and goes on: a step
that was begun is begun again, and finds its work done or half done.

How a step may fail, and what follows:
  Temporary, Unreachable   looked at again here, a few times; then it counts as a failure, which
                           `decide` retries within its budget
  StepFailed               a definite answer: the run stops at once and says how to go on
  Fenced                   somebody else owns the cluster: stop, touch nothing, give back nothing
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import msgspec
from anyio.abc import TaskGroup

from pawl.core import invariants, progress
from pawl.core.actions import ReplaceEtcdMachine, RetireControlPlane, RetireNode, StageBinaries
from pawl.core.config import PolicyConfig
from pawl.core.decide import Done, Halt, Start, Wait, decide, finished
from pawl.core.errors import (
    ArtifactError,
    PawlError,
    Refused,
    StepFailed,
    Temporary,
    Unclassifiable,
    Unreachable,
)
from pawl.core.events import Evidence, Paused, RunEnded, RunStarted, StepDone, StepStarted
from pawl.core.events import StepFailed as StepFailedEvent
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Step
from pawl.core.predict import UPLOADS
from pawl.core.progress import RunView
from pawl.engine import giveback
from pawl.engine.context import Context, Interrupted
from pawl.engine.effects import EffectHook, Effects, NoHook
from pawl.engine.executors import perform
from pawl.engine.gatekeeping import Watch, with_addresses
from pawl.engine.guard import Guard
from pawl.engine.moving import Moving
from pawl.engine.record import Narrator, Record, view_of
from pawl.engine.silencing import Silencer
from pawl.engine.tools import Tools
from pawl.ports.lock import LocalLock, LockNote

LOOK_AGAIN = 6
"""Times that a step is looked at again after a lost answer, before that counts as a failure."""
UNREACHABLE_DELAY = 2.0
TICK = 1.0
"""Seconds between two looks while something is waited for."""
TICK_BUSY = 5.0
"""The same while a step runs, which looks for itself: only its end lets others start."""
FRESH = 1.0
"""Seconds for which a reading serves the start of several steps at once; each looks for itself."""
FULL_EVERY = 30.0
"""Seconds for which a full reading serves; in between only what matters to a start is re-read."""
FULL_WAITING = 5.0
"""The same while nothing runs and the cluster is waited for: what is waited for may be anywhere."""
FULL_AT_LEAST_EVERY = 120.0
"""The same between two steps. A full reading is made while a step runs, where nobody waits for it;
between steps it is only made when that did not happen for so long."""
MACHINE_GOES = (ReplaceEtcdMachine, RetireControlPlane, RetireNode)
"""While one of these runs a full reading waits too: it would ask a machine that is being removed,
and whoever waits for the reading waits until that is known."""


@dataclass
class Stop:
    """Set by a signal: stop at the next safe point, and why."""

    why: str = ""

    def ask(self, why: str) -> None:
        self.why = self.why or why

    def asked(self) -> str:
        return self.why


@dataclass
class _Live:
    """What runs now. `over` is set when a step ends, until the next reading begins: what was read
    before tells nothing of how that step has left its machine."""

    steps: dict[str, Step] = field(default_factory=dict)
    over: anyio.Event = field(default_factory=anyio.Event)
    fatal: BaseException | None = None
    failed: str = ""


class Runner:
    """Runs one plan once: `run()` returns when the plan is done, or when it cannot go on."""

    def __init__(
        self,
        *,
        tools: Tools,
        plan: Plan,
        run: str,
        holder: str,
        known_dead: Callable[[str], bool],
        lock: LocalLock,
        hook: EffectHook | None = None,
        narrator: Narrator | None = None,
        stop: Stop | None = None,
        wait_for_approval: bool = True,
    ) -> None:
        self.plan = plan
        self.run_id = run
        self._tools = tools
        self._lock = lock
        self._stop = stop or Stop()
        self._wait_for_approval = wait_for_approval
        self._guard = Guard(tools.lease, tools.hosts, tools.clock, holder, known_dead)
        self._record = Record(tools.journal, tools.clock, self._guard, run, narrator or Narrator())
        self._effects = Effects(self._guard, self._record, hook or NoHook())
        self._live = _Live()
        self._full_at = self._read_at = float("-inf")
        self._touched: set[str] = set()
        self._state: ClusterState | None = None
        self._watch: Watch | None = None
        self._silencer: Silencer | None = None
        self._moving: Moving | None = None

    async def run(self) -> RunEnded:
        """Raises `Refused` if another pawl holds the cluster, `Fenced` if one took it over."""
        previous = self._lock.acquire()
        try:
            return await self._with_lock(previous)
        finally:
            self._lock.release()

    async def _with_lock(self, previous: LockNote) -> RunEnded:
        state = await self._observe_fully()
        known = view_of(self._tools.journal, self.run_id)
        at_least = max([previous.epoch, known.epoch, *(h.epoch for h in state.hosts)])
        await self._guard.take([h.name for h in state.hosts if h.reachable], at_least, previous)
        self._lock.note(
            LockNote(holder=self._guard.holder, epoch=self._guard.epoch, run=self.run_id)
        )
        self._record.append(
            RunStarted(
                plan=self.plan.digest,
                operator=self._guard.holder,
                resumed=bool(known.run),
                **self._record.stamp(),
            )
        )
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._guard.keep)
                self._watch_over(group)
                self._moving = Moving(
                    self.plan,
                    self._tools.kube,
                    group,
                    busy=self._at_work,
                    behind=lambda: set(self._record.view().quarantined),
                    pause=self._pause,
                    now=anyio.current_time,
                )
                ended = await self._loop(group, state)
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise innermost(errors) from errors
        await self._guard.give_back()
        return ended

    def _watch_over(self, group: TaskGroup) -> None:
        """What runs beside the steps: gates, and silences of the machines that are worked on."""
        tools = self._tools
        if tools.gating is not None:
            gating = tools.gating
            if self.plan.goes_back:
                held = "because nothing may stand in the way of going back."
                gating = msgspec.structs.replace(gating, held=held)
            self._watch = Watch(
                gating,
                self.plan,
                self._record,
                tools.clock,
                self._policy.gates,
                self._last_state,
                lambda: frozenset(h for s in self._live.steps.values() for h in hosts_of(s)),
            )
            group.start_soon(self._watch.keep)
        if tools.silencing is not None:
            self._silencer = Silencer(
                tools.silencing,
                tools.clock,
                f"pawl:{self.run_id}",
                self._worked_on,
                lambda why: self._record.narrator.passing("", why),
            )
            group.start_soon(self._silencer.keep)

    def _pause(self, why: str) -> None:
        """An invariant is broken: nothing more is begun. Said once, until somebody resumes."""
        if not self._record.view().paused:
            self._record.append(Paused(why=why, by="pawl", **self._record.stamp()))

    def _last_state(self) -> ClusterState:
        assert self._state is not None  # the loop begins with a reading
        return self._state

    def _worked_on(self) -> dict[str, frozenset[str]]:
        """The machines of running steps, each with the names that alerts may know it by. Laying
        binaries ready disturbs none."""
        return {
            host: with_addresses(self._last_state(), {host})
            for step in self._live.steps.values()
            if not isinstance(step.action, StageBinaries)
            for host in hosts_of(step)
        }

    async def _loop(self, group: TaskGroup, state: ClusterState) -> RunEnded:
        while True:
            if self._live.fatal is not None:
                raise self._live.fatal
            if self._guard.lost is not None:
                raise self._guard.lost
            if self._live.over.is_set() and not self._stopping():
                state = await self._next_state(state)  # a step has ended since that was begun
                continue
            view = progress.left(self._record.view(), self._live.steps)
            view = self._found_done(view, state)
            if not self._live.steps:
                if self._stop.asked() and not view.aborted:
                    return self._end("interrupted", self._stop.asked())
                if self._live.failed:
                    return self._end("failed", self._live.failed)
            answer = decide(self.plan, view, state, self._tools.clock.now(), self._policy)
            match answer:
                case Done():
                    return self._end("done", answer.why)
                case Halt() if not self._live.steps:
                    if answer.outcome == "aborted":
                        return await self._abort(view, state, answer.why)
                    return self._end(answer.outcome, answer.why)
                case Start() if not self._stopping() and self._apart(answer.step):
                    self._begin(group, answer, view, state)
                    if anyio.current_time() - self._read_at > FRESH:
                        state = await self._next_state(state)
                    continue
                case Wait() if self._only_approval(answer):
                    return self._end("paused", answer.why)
                case Wait() if answer.step not in self._live.steps:
                    self._record.waiting(answer.step, answer.why, trouble=answer.trouble)
            await self._rest(answer)
            if self._live.fatal is not None or self._guard.lost is not None:
                continue
            for_cluster = isinstance(answer, Wait) and answer.until is not None
            state = await self._next_state(state, for_cluster=for_cluster)

    @property
    def _policy(self) -> PolicyConfig:
        return self._tools.config.policy

    def _only_approval(self, answer: Wait) -> bool:
        """Nothing but a person's word is missing, and this run was told not to wait for it."""
        return not self._wait_for_approval and not self._live.steps and answer.until is None

    async def _rest(self, answer: object) -> None:
        """Until a step ends, or it is time to look again."""
        seconds = TICK_BUSY if self._live.steps else TICK
        if isinstance(answer, Wait) and answer.until is not None:
            seconds = min(TICK, max(0.1, answer.until - self._tools.clock.now()))
        with anyio.move_on_after(seconds):
            await self._live.over.wait()

    def _stopping(self) -> str:
        """Why no step shall begin and long ones shall end at a safe point; "" to go on."""
        if self._stop.asked():
            return self._stop.asked()
        if self._live.failed:
            return self._live.failed
        view = self._record.view()
        return view.paused or view.aborted

    def _found_done(self, view: RunView, state: ClusterState) -> RunView:
        """Put on record what stands already: done by a process that died before it could say so,
        or by somebody else. Once told, a step is not taken for undone when a later step of the
        same machine passes through the states in between."""
        found = [
            step_id
            for step_id in finished(self.plan, view, state)
            if not view.step(step_id).done and step_id not in self._live.steps
        ]
        for step in self.plan.steps:
            if step.id in found:
                note = "Its end state stands already."
                self._record.append(StepDone(step=step.id, note=note, **self._record.stamp()))
        return progress.left(self._record.view(), self._live.steps) if found else view

    def _apart(self, step: Step) -> bool:
        """Two steps never work on one machine at once. Binaries are laid ready while nobody works
        on any machine (in a soak, say): an upload takes what a swap needs to be short."""
        live = self._live.steps.values()
        laying = [s for s in live if isinstance(s.action, StageBinaries)]
        busy = {h for s in live if not isinstance(s.action, StageBinaries) for h in hosts_of(s)}
        if isinstance(step.action, StageBinaries):
            return len(laying) < UPLOADS and not busy
        touches = hosts_of(step)
        return not touches or (not laying and not busy.intersection(touches))

    # -- observing ---------------------------------------------------------------------------------

    async def _observe_fully(self, known: ClusterState | None = None) -> ClusterState:
        self._live.over = anyio.Event()
        state = await self._tools.observer.observe(known)
        self._full_at = self._read_at = anyio.current_time()
        self._touched.clear()
        self._state = state
        return state

    async def _next_state(self, state: ClusterState, *, for_cluster: bool = False) -> ClusterState:
        """A full reading now and then; else what the steps touch, which is quicker by far."""
        idle = FULL_WAITING if for_cluster else FULL_AT_LEAST_EVERY
        live = self._live.steps.values()
        goes = any(isinstance(s.action, MACHINE_GOES) for s in live)
        serves = FULL_EVERY if live and not goes else idle
        if anyio.current_time() - self._full_at >= serves or not state.complete:
            return await self._observe_fully(state)
        touched = self._touched | self._at_work()
        self._touched = self._at_work()
        self._live.over = anyio.Event()
        state = await self._tools.observer.refresh(state, *sorted(touched))
        self._read_at = anyio.current_time()
        self._state = state
        return state

    def _at_work(self) -> set[str]:
        return {h for s in self._live.steps.values() for h in hosts_of(s)}

    # -- steps -------------------------------------------------------------------------------------

    def _begin(self, group: TaskGroup, start: Start, view: RunView, state: ClusterState) -> None:
        step = start.step
        self._record.append(
            StepStarted(
                step=step.id,
                attempt=view.step(step.id).attempts + 1,
                why=start.why,
                **self._record.stamp(),
            )
        )
        self._live.steps[step.id] = step
        self._touched |= set(hosts_of(step))
        if self._silencer is not None:
            self._silencer.wake()
        fresh = not view.step(step.id).attempts
        group.start_soon(self._perform, step, state, fresh)

    async def _perform(self, step: Step, state: ClusterState, fresh: bool) -> None:
        try:
            if fresh:
                self._assert_invariants(step, state)
            note = await self._insist(step, state, lambda ctx: perform(step.action, ctx))
            self._record.append(StepDone(step=step.id, note=note, **self._record.stamp()))
        except Interrupted:
            return  # it stays begun: whoever goes on begins it again
        except (Temporary, Unreachable) as error:
            self._failed(step, str(error))
        except (StepFailed, ArtifactError, Refused) as error:
            self._live.failed = self._live.failed or f"{step.id}: {error}"
            self._failed(step, str(error))
        except PawlError as error:
            self._live.fatal = error  # Fenced, or the journal is lost
        except Exception as error:  # it must not break off what other steps have half done
            why = self._mistake(error)
            self._live.failed = self._live.failed or f"{step.id}: {why}"
            self._failed(step, why)
        finally:
            self._touched |= set(hosts_of(step))
            self._live.steps.pop(step.id, None)
            self._live.over.set()

    def _failed(self, step: Step, why: str) -> None:
        try:
            self._record.append(StepFailedEvent(step=step.id, why=why, **self._record.stamp()))
        except PawlError as error:
            self._live.fatal = error

    def _mistake(self, error: Exception) -> str:
        """An error that nobody has foreseen, as a sentence; the journal keeps its traceback."""
        with contextlib.suppress(PawlError):
            told = "".join(traceback.format_exception(error))
            data = msgspec.json.encode(told).decode()
            self._record.append(Evidence(name="mistake", data=data, **self._record.stamp()))
        return f"this is a mistake in pawl: {error!r}. The journal holds its traceback."

    async def _insist(
        self, step: Step, state: ClusterState, act: Callable[[Context], Awaitable[str]]
    ) -> str:
        """A lost answer means "unknown": look again, and find the work done or not."""
        for turn in range(LOOK_AGAIN):
            ctx = self._context(step, state)
            try:
                return await act(ctx)
            except (Temporary, Unreachable) as error:
                if turn == LOOK_AGAIN - 1 or self._guard.lost is not None:
                    raise
                delay = error.delay if isinstance(error, Temporary) else UNREACHABLE_DELAY
                self._record.waiting(step.id, f"{error} Looking again.")
                await self._tools.clock.sleep(delay)
                state = await self._tools.observer.refresh(ctx.state, *hosts_of(step))
        raise AssertionError("unreachable")

    def _assert_invariants(self, step: Step, state: ClusterState) -> None:
        """The second assertion, right before the effect: at its worst moment and at its end the
        step must break nothing that is whole now."""
        before = set(invariants.violations(state))
        for moment in (invariants.during, invariants.after):
            broken = set(invariants.violations(moment(step.action, state))) - before
            others = [s for s in self._live.steps if s != step.id]
            if broken and not others:
                raise Unclassifiable(f"it would break an invariant: {' '.join(sorted(broken))}")

    def _context(self, step: Step, state: ClusterState) -> Context:
        assert self._moving is not None  # made before the first step
        return Context(
            moving=self._moving,
            step=step,
            plan=self.plan,
            tools=self._tools,
            effects=self._effects,
            record=self._record,
            state=state,
            stopping=self._stopping,
            gates=self._watch.hold if self._watch is not None else lambda since: "",
        )

    # -- ends --------------------------------------------------------------------------------------

    def _end(self, outcome: str, why: str) -> RunEnded:
        if self._watch is not None:
            self._watch.finish()
        ended = RunEnded(outcome=outcome, why=why, **self._record.stamp())
        self._record.append(ended)
        return ended

    async def _abort(self, view: RunView, state: ClusterState, why: str) -> RunEnded:
        """Give back what was taken. A step that was cut in half is finished first, because half a
        swap is no state to leave a cluster in."""
        step = Step(id="abort", phase="landed", action=self.plan.steps[-1].action)
        told: list[str] = []

        async def give_back(ctx: Context) -> str:
            return await giveback.everything(ctx, self.plan, view, told)

        try:
            why = f"{why} {await self._insist(step, state, give_back)}"
        except (StepFailed, Unreachable, ArtifactError) as error:
            done = " ".join([why, *told])
            return self._end("failed", f"{done} Not all was given back: {error} Again: pawl abort.")
        return self._end("aborted", why)


def hosts_of(step: Step) -> tuple[str, ...]:
    """The machines and nodes that a step names: what must be read again around it."""
    action = step.action
    names = [getattr(action, name, "") for name in ("host", "machine", "node", "away_from")]
    return tuple(n for n in (*names, *getattr(action, "nodes", ())) if n)


def innermost(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return innermost(first) if isinstance(first, BaseExceptionGroup) else first
