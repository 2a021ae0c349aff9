"""Gates during a run: look, judge, put on record, and pause when something got worse.

The watch runs beside the steps, as the guard does. It never acts on the cluster: a fail is written
to the journal as a pause, which every part of pawl obeys at its next safe point, whoever wrote it.

  fail           seen in two looks that follow each other: pause, and name the way back
  inconclusive   holds the next batch of nodes, and the end of a soak, until it can be told; after
                 `policy.gates.patience` a person must tell
  errors         the source cannot be read: looked at again 10 s later; after five times, pause.
                 A monitoring that is down is no reason to roll anything back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.to_thread
import msgspec

from pawl.core import rollback
from pawl.core.actions import AddNode, RetireNode, SwapNode
from pawl.core.config import GatesConfig
from pawl.core.errors import PawlError
from pawl.core.events import Evidence, GatesJudged, GatesWatched, Paused
from pawl.core.model import ClusterState
from pawl.core.plan import Plan
from pawl.core.planner_nodes import kubelet_version
from pawl.core.progress import GATES, RunView
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Judgement, Reading, sum_up
from pawl.core.verify.series import Sides
from pawl.core.version import Version
from pawl.engine.measuring import Measured, Measurer, Situation
from pawl.engine.record import Record
from pawl.ports.clock import Clock

RETRY = 10.0
RETRIES = 5
"""A source that cannot be read is asked again 10 s later, five times (Argo Rollouts retries at 10 s
and gives up after 4)."""
LATELY = 300.0
"""Seconds after its step in which alerts about a machine are still expected."""

Judge = Callable[[Sequence[Sides]], Awaitable[tuple[Reading, ...]]]


async def judge_aside(sides: Sequence[Sides]) -> tuple[Reading, ...]:
    """In a thread: thousands of comparisons take seconds, and the Lease must be renewed."""
    return await anyio.to_thread.run_sync(judge, sides)


class Gating(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs to watch gates: who measures, and whether a fail may stop the run (`held` is
    the reason why not, "" when it may)."""

    measurer: Measurer
    held: str = ""
    judge: Judge = judge_aside


class Watch:
    """One run's gates. `state` gives the last reading of the cluster."""

    def __init__(
        self,
        gating: Gating,
        plan: Plan,
        record: Record,
        clock: Clock,
        policy: GatesConfig,
        state: Callable[[], ClusterState],
        running: Callable[[], frozenset[str]],
    ) -> None:
        self.latest: Judgement | None = None
        self._gating = gating
        self._plan = plan
        self._record = record
        self._clock = clock
        self._policy = policy
        self._state = state
        self._running = running
        self._suspects: frozenset[str] = frozenset()
        self._kept: frozenset[str] = frozenset()
        """Failures of which the journal has the measurements."""
        self._lost = 0
        self._looked = float("-inf")
        """When the last look that is on record began, by the clock that nobody can set."""

    @property
    def blocking(self) -> bool:
        return not self._gating.held

    async def keep(self) -> None:
        """Until cancelled."""
        self._record.append(
            GatesWatched(blocking=self.blocking, why=self._gating.held, **self._record.stamp())
        )
        while True:
            judgement = await self.look()
            await self._clock.sleep(RETRY if judgement.errors else self._policy.every)

    async def look(self) -> Judgement:
        """One look, on record."""
        began = anyio.current_time()
        situation = self._situation(self._record.view())
        measured = await self._measured(situation)
        try:
            readings = await self._gating.judge(measured.sides)
        except Exception as error:  # a mistake in the judge must not end an upgrade half way
            readings = ()
            told = f"the judge failed, which is a mistake in pawl: {error!r}"
            measured = msgspec.structs.replace(measured, errors=(*measured.errors, told))
        view = self._record.view()  # a person may have paused, or resumed, while it was judged
        accepted = frozenset(view.gates.accepted) if view.gates else frozenset()
        judgement = sum_up(
            [*readings, *measured.rules],
            at=self._clock.now(),
            since=situation.since,
            errors=measured.errors,
            accepted=accepted,
        )
        self._lost = self._lost + 1 if measured.errors else 0
        failed = frozenset(r.key for r in judgement.failed) - accepted
        again = failed & self._suspects
        self._suspects = failed
        if failed and not again and judgement.verdict == "fail":
            # once is a suspicion: it holds the next step, and the next look decides
            judgement = msgspec.structs.replace(
                judgement, verdict="inconclusive", why=f"{judgement.why} It is looked at again."
            )
        self._tell(judgement, view, again, situation.now)
        self._looked = began
        return judgement

    def hold(self, since: float) -> str:
        """Why what was watched until `since`, a time of `anyio.current_time()`, must not end yet;
        "" when it may: a look that began later found nothing."""
        gates = self._record.view().gates
        if not self.blocking or gates is None:
            return ""
        if self._looked < since:
            return "the gates have not been judged since its end."
        return "" if gates.open else f"the gates cannot tell yet: {gates.why}"

    async def _measured(self, situation: Situation) -> Measured:
        try:
            return await self._gating.measurer.measure(situation)
        except PawlError as error:
            return Measured(sides=(), rules=(), errors=(str(error),))
        except Exception as error:  # nor must one in the measuring
            told = f"the measuring failed, which is a mistake in pawl: {error!r}"
            return Measured(sides=(), rules=(), errors=(told,))

    def _tell(
        self, judgement: Judgement, view: RunView, again: frozenset[str], looked_at: float
    ) -> None:
        self.latest = judgement
        self._record.append(
            GatesJudged(
                verdict=judgement.verdict,
                why=judgement.why,
                looked_at=looked_at,
                failed=tuple(sorted(again)),
                **self._record.stamp(),
            )
        )
        if again - self._kept:  # once: where they only watch, it may fail for hours
            self._evidence(judgement)
        self._kept |= again
        if not self.blocking or view.paused:
            return
        waived = view.gates is not None and view.gates.waived
        if again:
            first = next(r for r in judgement.failed if r.key in again)
            self._pause(f"A gate failed: {first.why} {self._way_back()}".strip())
        elif self._lost >= RETRIES and not waived:
            self._pause(
                f"The gates could not be read {self._lost} times in a row: {judgement.errors[0]}. "
                "Nothing is said against the cluster; mend the monitoring."
            )

    def _pause(self, why: str) -> None:
        self._record.append(Paused(why=why, by=GATES, **self._record.stamp()))

    def _evidence(self, judgement: Judgement) -> None:
        data = msgspec.json.encode(judgement, order="sorted").decode()
        self._record.append(Evidence(name="gates", data=data, **self._record.stamp()))

    def finish(self) -> None:
        """Keep the last judgement for the report."""
        if self.latest is not None:
            self._evidence(self.latest)

    def _way_back(self) -> str:
        offers = rollback.offers(self._plan, self._state())
        if not offers:
            return "No way back is open, or nothing has to go back: see `pawl rollback`."
        first = next((o for o in offers if o.name == "nodes-old"), offers[0])
        return f"The way back is open: {first.how} See it with `pawl rollback`, take it with --yes."

    # -- what is compared --------------------------------------------------------------------------

    def _situation(self, view: RunView) -> Situation:
        state, now = self._state(), self._clock.now()
        new, old = split_of_plan(self._plan, state)
        begun = view.started_at if view.started_at is not None else now
        first = first_new_node(self._plan, view)
        since = first if new and first is not None else begun
        lately = {
            name
            for step in self._plan.steps
            if (ended := view.step(step.id).ended_at) is not None and now - ended < LATELY
            for name in named(step.action)
        }
        return Situation(
            new=new,
            old=old,
            since=since,
            begun=min(begun, since),
            now=now,
            excused=with_addresses(state, lately | self._running()),
            turned=turned(self._plan, view),
        )


def split_by_version(state: ClusterState) -> tuple[frozenset[str], frozenset[str]]:
    """(nodes with the newest kubelet, all others); no new ones where all are alike."""
    versions = {n.name: kubelet_version(n, state) for n in state.nodes}
    known = {v for v in versions.values() if v is not None}
    everything = frozenset(versions)
    if len(known) < 2:
        return frozenset(), everything
    new = frozenset(name for name, v in versions.items() if v == max(known))
    return new, everything - new


def split_of_plan(plan: Plan, state: ClusterState) -> tuple[frozenset[str], frozenset[str]]:
    """(nodes at the plan's version, all others and those that it has retired)."""
    nodes = {n.name for n in state.nodes}
    if not plan.target.kubernetes:
        return frozenset(), frozenset(nodes)
    target = Version.parse(plan.target.kubernetes)
    new = frozenset(n.name for n in state.nodes if kubelet_version(n, state) == target)
    retired = {s.action.node for s in plan.steps if isinstance(s.action, RetireNode)}
    return new, frozenset(nodes | retired) - new


def first_new_node(plan: Plan, view: RunView) -> float | None:
    """When the run's first new node was there; None where there is none yet."""
    ends = [
        view.step(step.id).ended_at
        for step in plan.steps
        if isinstance(step.action, AddNode | SwapNode)
    ]
    return min((e for e in ends if e is not None), default=None)


def turned(plan: Plan, view: RunView) -> dict[str, float]:
    """When each node that was swapped in place became new."""
    return {
        step.action.node: ended
        for step in plan.steps
        if isinstance(step.action, SwapNode) and (ended := view.step(step.id).ended_at) is not None
    }


def named(action: object) -> tuple[str, ...]:
    """The machines and nodes that an action names."""
    names = [getattr(action, key, "") for key in ("host", "machine", "node", "away_from")]
    return tuple(n for n in names if n)


def with_addresses(state: ClusterState, names: frozenset[str] | set[str]) -> frozenset[str]:
    """The names, and what alerts call the same machines: their addresses and node names."""
    found = set(names)
    for host in state.hosts:
        if host.name in names:
            found.add(host.address)
    for node in state.nodes:
        if node.name in names or node.host in names:
            found |= {node.name, node.host}
    return frozenset(n for n in found if n)
