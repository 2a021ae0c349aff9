"""Emptying a node: workload by workload, and no pod before its successor where that is legal.

Pods leave in the order of their workloads' dependencies: only those of the lowest tier on the node
are touched, and the next tier waits until what left is Ready again elsewhere. A pod that may surge
is released from its ReplicaSet first, which makes another at once; the old one serves until the new
one is Ready. Then it is evicted, as every other pod: by the Eviction API alone, which keeps every
disruption budget. A 429 is the budget speaking: pawl waits for that budget to change, and says
which pod waits for which. Webhook denials and server errors are tried again as well; only a refusal
that no wait can change fails the step. Pods of DaemonSets and mirror pods belong to the node and
stay; Jobs complete. What the plan loosens for a workload is in `loosen`.

Waits watch: a pass reads the cluster, does what is due, and sleeps until something of it changes.
A release is a mark on the pod itself, so that whoever resumes goes on with it and releases nobody
twice.
"""

from __future__ import annotations

import random

from pawl.core.emptied import EVIDENCE, Emptied
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.workloads.stopwatch import Stopwatch
from pawl.core.workloads.throttle import Flight
from pawl.engine.board import LOOK, Ear
from pawl.engine.context import Context
from pawl.engine.executors.evicting import AT_ONCE, evict
from pawl.engine.executors.keeping import keep_closed
from pawl.engine.executors.loosen import Loosened
from pawl.engine.executors.releasing import surges, take_back
from pawl.engine.executors.tiers import COUNTED, Tiers, of_wanted
from pawl.engine.executors.turns import Turn, Turns, turns, workload_of
from pawl.ports.kube import Evicted, Pod, Standing
from pawl.ports.watch import BudgetNow, Change, NodeNow

LOADS_EVERY = 10.0
"""Seconds between two looks at how busy providers are: no setting, because what is read there is
measured each 15 s (metrics-server --metric-resolution)."""


class Stalled(StepFailed):
    """Nothing has moved for as long as a drain may wait; the message says which pod, which budget,
    how many it needs and how many it has."""


def accepted_bare(pod: Pod, ctx: Context) -> bool:
    """Whether the plan named this pod in a finding, so that it was approved with the plan."""
    name = f"{pod.namespace}/{pod.name}"
    return any(name in f.subject or name in f.message for f in ctx.plan.findings)


async def drain(ctx: Context, node: str, *, comes_back: bool) -> int:
    """Move all pods that leave; returns how many went. `StepFailed` names those that did not, and
    what was loosened or released for nothing is given back first. `comes_back`: the node takes pods
    again afterwards, so that a successor without another place may wait for it."""
    ctx.moving.begin()
    own = _Drain(ctx, node, await turns(ctx, node), comes_back)
    try:
        return await own.run()
    except (Temporary, Unreachable):
        raise  # it goes on from where it stands
    except StepFailed:
        await take_back(ctx, node)
        await own.loosened.end()
        raise
    finally:
        own.over()


class _Drain:
    def __init__(self, ctx: Context, node: str, order: Turns, comes_back: bool) -> None:
        self.ctx, self.node, self.order, self.comes_back = ctx, node, order, comes_back
        self.seen: set[str] = set()
        """UIDs of all pods that had to leave."""
        self.next_try: dict[str, float] = {}
        self.wait: dict[str, float] = {}
        self.blocked: dict[str, str] = {}
        """UID -> the budget ("namespace/name") that said no."""
        self.reasons: dict[str, str] = {}
        self.flying: dict[str, tuple[str, str, int]] = {}
        """UID of the pod that goes -> (namespace, owner, Ready pods that must be there again)."""
        self.homeless: dict[str, float] = {}
        self.full_since: dict[str, float] = {}
        """UID of an only pod -> since when its successor is Ready."""
        self.tiers = Tiers(ctx, order, self._aloft)
        self.watch = Stopwatch()
        self.spaces: set[str] = set()
        self.last = (-1, -1)
        self.loads_read = float("-inf")
        self.loosened = Loosened(ctx, node)
        self.ear: Ear | None = None

    async def run(self) -> int:
        ctx = self.ctx
        began = moved = ctx.now()
        with ctx.moving.board.listening(self._concerns) as self.ear:
            while True:
                self.ear.clear()
                ctx.safe_point()
                await keep_closed(ctx, self.node)
                pods = [p for p in await ctx.tools.kube.pods_on(self.node) if not p.stays]
                self.spaces |= {p.namespace for p in pods}
                self.seen |= {p.uid for p in pods}
                self._refuse_bare(pods)
                self._time(pods)
                await self._land({p.uid: p for p in pods})
                if not pods and not self.flying:
                    await self.loosened.end()
                    self._proves(began)
                    return len(self.seen)
                said = await self.tiers.why_not(pods) if pods else ""
                if pods and not said:
                    await self._step(pods)
                at = (len(pods), len(self.flying))
                if at != self.last or self._queued(pods) or self.tiers.settling:
                    self.last, moved = at, ctx.now()  # something moves: that is no stall
                told = self._tell(pods, said)
                patience = ctx.timeouts.eviction
                if not pods:
                    patience = max(patience, ctx.moving.pace.last_ready)
                if ctx.now() - moved >= patience:
                    raise Stalled(self._stalled(pods, patience, told))
                await self.ear.wait(self._until_due(pods, moved + patience))

    def _stalled(self, pods: list[Pod], patience: float, told: str) -> str:
        if pods:
            return (
                f"{self.node} was not empty after {patience:.0f} s: {told}. Make room for them or "
                "relax the budget, then: pawl resume."
            )
        return (
            f"{self.node} is empty, but what left it is not Ready elsewhere after "
            f"{patience:.0f} s: {told}. Look at these pods, then: pawl resume."
        )

    def over(self) -> None:
        """This drain has nothing on its way any more."""
        self.ctx.moving.throttle.drop(self.flying)
        self._makes_room()
        self.loosened.let_go()
        for namespace, owner, _ in self.flying.values():
            self.ctx.moving.invariance.rests(namespace, owner)

    def _time(self, pods: list[Pod]) -> None:
        """Who was asked to end by now, and who has gone."""
        now = self.ctx.now()
        for p in pods:
            if p.terminating:
                workload = self.order.of(p).workload
                self.watch.asked(p.uid, workload, now, succeeded=bool(p.released))
        self.watch.left({p.uid for p in pods}, now)

    def _proves(self, began: float) -> None:
        """What it took, beside the least that it could have taken."""
        moving, order = self.ctx.moving, self.order
        throttle = moving.throttle
        bound = self.watch.bound(order.jobs, moving.pace, order.clients, throttle.cap)
        emptied = Emptied(
            node=self.node,
            moved=len(self.seen),
            seconds=round(self.ctx.now() - began, 2),
            least=round(bound.seconds, 2),
            term=bound.term.what,
            pieces=bound.term.pieces,
            peak=throttle.peak,
            cap=throttle.cap,
            settled=round(self.tiers.settled, 2),
        )
        self.ctx.evidence(EVIDENCE, emptied)

    # -- waiting -----------------------------------------------------------------------------

    def _concerns(self, change: Change) -> bool:
        """Pods of this node or of the namespaces whose pods it moves, their budgets, the node. A
        budget that allows something again is asked at once."""
        item = getattr(change, "item", None)
        match item:
            case Pod():
                return item.node == self.node or item.namespace in self.spaces
            case BudgetNow():
                key = f"{item.namespace}/{item.name}"
                if item.allowed > 0:
                    for uid, budget in self.blocked.items():
                        if budget == key:
                            self.next_try.pop(uid, None)
                return item.namespace in self.spaces
            case NodeNow():
                return item.name == self.node
        return item is None

    def _until_due(self, pods: list[Pod], deadline: float) -> float:
        now = self.ctx.now()
        left = {p.uid for p in pods}
        due = [at for uid, at in self.next_try.items() if uid in left and at > now]
        pace = self.ctx.moving.pace
        known = [since + pace.handover for uid, since in self.full_since.items() if uid in left]
        due += [at for at in known if at > now]
        if self.tiers.settling:
            due.append(self.tiers.settling[1])
        return max(0.02, min([deadline, now + LOOK, *due]) - now)

    def _queued(self, pods: list[Pod]) -> bool:
        """Whether all that this node waits for are the starts of other nodes."""
        flights = self.ctx.moving.throttle.flights
        return bool(pods) and not self.flying and any(k not in self.flying for k in flights)

    def _tell(self, pods: list[Pod], said: str) -> str:
        """What is waited for, which is what a person reads."""
        left = {p.uid for p in pods} | set(self.flying)
        told = [said] if said else [why for u, why in self.reasons.items() if u in left]
        ending = [p for p in pods if p.terminating]
        told += [_ending(p) for p in ending] if not told else []
        more = "; ".join(sorted(set(told))[:3])
        if not pods:
            self.ctx.waiting(f"{self.node} is empty; {more}")
        elif more:
            self.ctx.waiting(f"{len(pods)} pods are left on {self.node}; {more}")
        else:
            self.ctx.waiting(f"{len(pods)} pods are leaving {self.node}.")
        return "; ".join(sorted(set(told))) or _names(pods) + " did not end"

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

    def _aloft(self, namespace: str, owner: str) -> bool:
        flights = self.ctx.moving.throttle.flights
        return any(f[:2] == (namespace, owner) and u in flights for u, f in self.flying.items())

    async def _step(self, pods: list[Pod]) -> None:
        """One pass over the pods whose turn it is."""
        turn = [p for p in pods if not p.terminating and self.order.of(p).tier <= self.tiers.now]
        turn.sort(key=lambda p: (p.priority, p.namespace, p.name))
        due: list[Pod] = []
        for p in turn:
            own = self.order.of(p)
            if p.released:
                self._resume(p, own)
                if await self._succeeded(p) and self._is_due(p):
                    due.append(p)
            elif own.method == "wait":
                self.reasons[p.uid] = f"pod {p.namespace}/{p.name} is left to complete"
            elif surges(p, own.method):
                await self._heed_load(own)
                await self._release(p, own)
            elif self._is_due(p) and await self._may_leave(p, own):
                due.append(p)
        await self._evict(due[:AT_ONCE])

    def _is_due(self, p: Pod) -> bool:
        return self.next_try.get(p.uid, 0.0) <= self.ctx.now()

    async def _may_leave(self, p: Pod, own: Turn) -> bool:
        """Whether it is to be evicted now. Its successor's start has a slot from here on, before
        anything is asked: other drains look for one meanwhile. What the plan loosens for it comes
        first."""
        if p.uid not in self.flying:
            if not self._has_room(p, own):
                return False
            self._flies(p, own, "", 0)
            if p.owner.startswith(COUNTED):
                now = await self.ctx.tools.kube.standing(p.namespace, p.owner)
                self.flying[p.uid] = (p.namespace, p.owner, now.ready)
        why = await self.loosened.why_not_evict(p, own)
        if why:
            self.reasons[p.uid] = why
        return not why

    # -- leaving -----------------------------------------------------------------------------

    async def _evict(self, due: list[Pod]) -> None:
        for pod, answer in await evict(self.ctx, due):
            if answer.ok:
                workload, now = self.order.of(pod).workload, self.ctx.now()
                self.watch.asked(pod.uid, workload, now, succeeded=bool(pod.released))
                for known in (self.reasons, self.blocked, self.wait, self.next_try):
                    known.pop(pod.uid, None)
                continue
            if not pod.released:  # it has not left: nothing starts for it
                self._grounded(pod.uid)
            if answer.overlapping and pod.released:
                await self._past_two_budgets(pod)
            elif not answer.retry:
                raise StepFailed(
                    f"pod {pod.namespace}/{pod.name} on {self.node} cannot be evicted: {answer.why}"
                )
            else:
                self._later(pod, answer)

    async def _past_two_budgets(self, pod: Pod) -> None:
        """The Eviction API never answers for two budgets. Its successor is Ready, so both are asked
        here, and the pod is deleted only while each of them allows it."""
        allowed = await self.ctx.tools.kube.allowances(pod)
        if not allowed or min(allowed.values()) < 1:
            full = min(allowed, key=lambda b: allowed[b], default="")
            said = f"budget {full} of its {len(allowed)} allows nothing now"
            self._later(pod, Evicted(ok=False, why=said))
            return
        async with self.ctx.effect("delete", f"{pod.namespace}/{pod.name}", on_host=False):
            await self.ctx.tools.kube.delete(pod)
        self.reasons.pop(pod.uid, None)

    def _later(self, pod: Pod, answer: Evicted) -> None:
        pace = self.ctx.moving.pace
        wait = self.wait.get(pod.uid, pace.retry)
        wait = min(pace.retry_most, random.uniform(pace.retry, wait * 3))
        self.wait[pod.uid] = wait
        self.next_try[pod.uid] = self.ctx.now() + wait
        self.reasons[pod.uid] = f"pod {pod.namespace}/{pod.name}: {answer.why}"
        if answer.budget:
            self.blocked[pod.uid] = f"{pod.namespace}/{answer.budget}"
        if answer.busy:
            self.ctx.moving.throttle.cut("the API asks for fewer requests", self.ctx.now())

    # -- on the way --------------------------------------------------------------------------

    def _has_room(self, p: Pod, own: Turn) -> bool:
        """Whether one more may be on its way; the reason is told where not."""
        why = self.ctx.moving.throttle.why_not(
            own.workload, own.at_once, dict(own.needs), self._unwell(own)
        )
        if why:
            self.reasons[p.uid] = f"pod {p.namespace}/{p.name} waits: {why}"
        return not why

    def _unwell(self, own: Turn) -> str:
        """A provider that is not well gets no new clients."""
        if not own.providers:
            return ""
        for p in self.ctx.moving.board.pods.values():
            starting = not p.ready and p.owner and not (p.terminating or p.finished)
            if starting and (workload := workload_of(p)) in own.providers:
                return f"{p.namespace}/{p.name} of {workload} is not Ready"
        return ""

    async def _heed_load(self, own: Turn) -> None:
        """A provider that has little left gets its new clients more slowly."""
        now = self.ctx.now()
        if not own.providers or now - self.loads_read < LOADS_EVERY:
            return
        self.loads_read, busy = now, self.ctx.moving.pace.busy
        mine = {
            f"{p.namespace}/{p.name}": workload_of(p)
            for p in self.ctx.moving.board.pods.values()
            if p.owner and workload_of(p) in own.providers
        }
        for namespace in {name.partition("/")[0] for name in mine}:
            for pod, load in (await self.ctx.tools.kube.loads(namespace)).items():
                if load > busy and f"{namespace}/{pod}" in mine:
                    self.ctx.moving.throttle.cut(f"{pod} uses {load:.0%} of its CPU", now)

    def _flies(self, p: Pod, own: Turn, owner: str, ready: int) -> None:
        self.flying[p.uid] = (p.namespace, owner, ready)
        self.ctx.moving.throttle.begin(
            p.uid,
            Flight(
                workload=own.workload,
                since=self.ctx.now(),
                expected=own.seconds,
                needs=tuple(name for name, _ in own.needs),
            ),
        )

    def _grounded(self, uid: str) -> None:
        self.flying.pop(uid, None)
        self.ctx.moving.throttle.drop([uid])
        self._makes_room()

    def _makes_room(self) -> None:
        if self.ear is not None:
            self.ear.wake_others()

    def _lands(self, uid: str) -> None:
        now = self.ctx.now()
        if (flight := self.ctx.moving.throttle.land(uid, now)) is not None:
            self.watch.landed(flight.workload, now - flight.since)
            self._makes_room()

    def _resume(self, p: Pod, own: Turn) -> None:
        """A release of a process that has died is on its way like any other."""
        if p.uid not in self.flying:
            self.ctx.moving.invariance.surges(p.namespace, p.released)
            self._flies(p, own, p.released, LAST_READY)

    async def _release(self, p: Pod, own: Turn) -> None:
        if not self._has_room(p, own):
            return
        name = f"{p.namespace}/{p.name}"
        self._flies(p, own, p.owner, LAST_READY)
        self.ctx.moving.invariance.surges(p.namespace, p.owner)
        async with self.ctx.effect("release", name, on_host=False):
            await self.ctx.tools.kube.release(p, self.ctx.owner)
        self.reasons[p.uid] = f"pod {name} stays until its successor is Ready"

    async def _succeeded(self, p: Pod) -> bool:
        now = await self.ctx.tools.kube.standing(p.namespace, p.released)
        name = f"{p.namespace}/{p.name}"
        if now.full:
            self.homeless.pop(p.uid, None)
            self._lands(p.uid)
            if now.wanted != 1:
                return True
            if self._handed_over(p.uid):
                self.watch.held(self.order.of(p).workload)
                return True
            self.reasons[p.uid] = f"pod {name} stays until its successor is known everywhere"
            return False
        self.full_since.pop(p.uid, None)
        self.reasons[p.uid] = f"pod {name} stays until its successor is Ready: {of_wanted(now)}"
        self._homeless(p.uid, now)
        return False

    def _handed_over(self, uid: str) -> bool:
        since = self.full_since.setdefault(uid, self.ctx.now())
        return self.ctx.now() - since >= self.ctx.moving.pace.handover - 0.001

    def _homeless(self, uid: str, now: Standing) -> None:
        """A successor that the scheduler finds no node for is no reason to go on elsewhere."""
        most = self.ctx.moving.pace.homeless
        if not now.pending or self.comes_back:
            self.homeless.pop(uid, None)
        elif self.ctx.now() - self.homeless.setdefault(uid, self.ctx.now()) > most:
            self.homeless.pop(uid)
            self.ctx.pause(f"Pod {now.pending} For {most:.0f} s now. Make room.", by="pawl")

    async def _land(self, pods: dict[str, Pod]) -> None:
        """Who has arrived: its workload has as many Ready pods as it must have, and a pod that was
        released has gone."""
        for uid, (namespace, owner, ready) in list(self.flying.items()):
            pod = pods.get(uid)
            if pod is not None and not pod.terminating:
                continue
            if not owner:
                self._lands(uid)
                del self.flying[uid]
                continue
            now = await self.ctx.tools.kube.standing(namespace, owner)
            back = self.comes_back and bool(now.pending)
            if now.ready >= min(ready, now.wanted) or back:
                del self.flying[uid]
                self.reasons.pop(uid, None)
                self._lands(uid)
                if not any(f[:2] == (namespace, owner) for f in self.flying.values()):
                    self.ctx.moving.invariance.rests(namespace, owner)
            else:
                self.reasons[uid] = f"{namespace}/{owner} is not whole yet: {of_wanted(now)}"
                self._homeless(uid, now)


LAST_READY = 1 << 30
"""Of a surge all wanted pods must be Ready."""


def _ending(pod: Pod) -> str:
    """What may hold a pod that was asked to end."""
    if pod.finalizers:
        return f"pod {pod.namespace}/{pod.name} is held by its finalizer {pod.finalizers[0]}"
    return f"pod {pod.namespace}/{pod.name} is ending, and has {pod.grace_seconds:.0f} s for it"


def _names(pods: list[Pod]) -> str:
    listed = [f"{p.namespace}/{p.name}" for p in pods]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"pod {', '.join(listed[:3])}{more}"
