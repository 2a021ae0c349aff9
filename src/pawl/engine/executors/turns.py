"""Whose turn it is when a node is emptied: providers before consumers, and who may surge.

The facts are read once for each node, and the same pure plan as `pawl workloads` prints decides.
Without all of the facts nothing is released: what selects by a label that a release takes away must
be known. Then pods leave by eviction alone, in no order, as from any drain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pawl.core.errors import PawlError
from pawl.core.pace import Pace
from pawl.core.workloads.moves import MovePlan
from pawl.core.workloads.obstacles import Resolution
from pawl.core.workloads.planner import plan
from pawl.core.workloads.scenario import Scenario
from pawl.core.workloads.schedule import Job
from pawl.core.workloads.surroundings import Method
from pawl.engine.context import Context
from pawl.ports.kube import Pod

LAST = 1 << 30
"""The tier of pods that the facts did not show."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """`workload` is its key; `at_once` pods of it may be on the way together. `needs`: what a pod
    of it takes a slot of while it is on its way, with the limit. `seconds`: predicted for one pod.
    `budgets` select its pods, by name."""

    workload: str
    tier: int
    method: Method
    at_once: int
    seconds: float = 0.0
    providers: tuple[str, ...] = ()
    needs: tuple[tuple[str, int], ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    budgets: tuple[str, ...] = ()

    @property
    def object(self) -> str:
        """ "shop/Deployment/web" -> "Deployment/web"."""
        return self.workload.partition("/")[2]


class Turns:
    """The turn of each workload with pods on one node. `jobs`: their moves, at best; `clients`:
    pods that connect to each provider."""

    def __init__(
        self,
        turns: dict[str, Turn],
        jobs: Sequence[Job] = (),
        clients: Mapping[str, int] | None = None,
    ) -> None:
        self._turns = turns
        self.jobs, self.clients = jobs, clients or {}

    def of(self, pod: Pod) -> Turn:
        key = workload_of(pod)
        return self._turns.get(key) or Turn(workload=key, tier=LAST, method="evict", at_once=LAST)


def workload_of(pod: Pod) -> str:
    """The key of the pod's workload: a Deployment in place of its ReplicaSet."""
    kind, _, name = (pod.controller or f"Pod/{pod.name}").partition("/")
    if kind == "ReplicaSet" and pod.template and name.endswith(f"-{pod.template}"):
        kind, name = "Deployment", name.removesuffix(f"-{pod.template}")
    return f"{pod.namespace}/{kind}/{name}"


async def turns(ctx: Context, node: str) -> Turns:
    try:
        facts = await ctx.workloads()
    except PawlError as error:
        ctx.waiting(f"the order of the pods on {node} is not known: {error}")
        return Turns({})
    if not facts.complete:
        ctx.waiting(
            f"the pods on {node} leave in no order and without a surge: "
            f"{facts.unread[0].source} was not read ({facts.unread[0].why})"
        )
        return Turns({})
    ctx.moving.cap(facts)
    scenario = Scenario(old=(node,), new=())
    made = plan(facts, scenario, pace=ctx.plan.pace, patience=ctx.timeouts.eviction)
    jobs = [j for wave in made.at_best for j in wave]
    return Turns(_turns(made, ctx.moving.pace), jobs, made.clients)


def _turns(made: MovePlan, pace: Pace) -> dict[str, Turn]:
    return {
        w.key: Turn(
            workload=w.key,
            tier=w.tier,
            method=w.method,
            at_once=w.at_once,
            seconds=w.seconds,
            providers=w.providers,
            needs=(
                *((f"clients of {p}", pace.clients(made.clients[p])) for p in w.providers),
                *((f"image pulls from {r}", pace.pulls) for r in w.registries),
            ),
            resolutions=w.resolutions,
            budgets=tuple(b.partition("/")[2] for b in w.budgets),
        )
        for w in made.workloads
    }
