"""What a disruption budget can ever allow, worked out before anybody has to wait for it.

The arithmetic is the disruption controller's own (kubernetes, pkg/controller/disruption,
`getExpectedPodCount`): an integer `minAvailable` counts pods; a percentage and `maxUnavailable`
count the scale of the pods' controllers, percentages rounded up. So

- `maxUnavailable: 0`, `minAvailable: 100%` and `minAvailable` of as many as there are never allow;
- pods without a controller count for nothing where a scale is asked: the scale is 0, and the
  controller allows nothing when it expects nothing;
- pods whose controller has no scale (a Job, a DaemonSet) make the controller give up: it allows
  nothing at all, not even for the budget's other pods.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

from pawl.core.workloads.facts import Budget, Controller, Part, Pod
from pawl.core.workloads.gather import BARE, STATIC
from pawl.core.workloads.quantity import share

NO_SCALE = ("Job", "CronJob", "DaemonSet", STATIC)
Cause = Literal["", "all", "no controller", "no scale", "says nothing"]


class Reach(Part, frozen=True, kw_only=True):
    """How far a budget can go. `best`: the most disruptions it allows at once when every pod is
    healthy, 0 = never any. `now` counts with the pods as they are. `workloads` are its pods'
    owners. `why` is a sentence, empty when `best` > 0."""

    budget: str
    best: int
    now: int
    expected: int
    possible: int
    """Healthy pods when all is well."""
    desired: int
    healthy: int
    pods: int
    workloads: tuple[str, ...]
    cause: Cause = ""
    why: str = ""
    always_allow: bool = False
    counts_pods: bool = False
    """`minAvailable` is an integer, so that one more pod gives one more disruption."""

    @property
    def surplus_helps(self) -> bool:
        """Whether one healthy pod too many makes the budget allow one disruption."""
        return self.cause == "all" and self.desired <= self.possible


def asked(budget: Budget) -> str:
    if budget.max_unavailable:
        return f"maxUnavailable: {budget.max_unavailable}"
    if budget.min_available:
        return f"minAvailable: {budget.min_available}"
    return "neither minAvailable nor maxUnavailable"


def reach(budget: Budget, pods: Iterable[Pod], controllers: Mapping[str, Controller]) -> Reach:
    """`pods` are those that the budget selects."""
    live = [p for p in pods if not p.finished and not p.terminating]
    owners = sorted({p.owner for p in live})
    healthy = sum(p.ready for p in live)
    scaled = [controllers[o] for o in owners if o in controllers and controllers[o].kind != BARE]
    bare = sum(p.owner not in controllers or controllers[p.owner].kind == BARE for p in live)
    expected, desired, cause, why = 0, 0, "", ""
    counts_pods = bool(
        budget.min_available
        and not budget.max_unavailable
        and not budget.min_available.endswith("%")
    )
    possible = len(live)
    if counts_pods:
        expected, desired = len(live), int(budget.min_available)
    elif budget.max_unavailable or budget.min_available:
        scaleless = [c for c in scaled if c.kind in NO_SCALE]
        if scaleless:
            cause = "no scale"
            why = (
                f"it selects pods of {scaleless[0].key}, and a {scaleless[0].kind} has no scale to "
                f"take {asked(budget)} of: the disruption controller gives up and allows nothing."
            )
        expected = sum(c.replicas for c in scaled)
        possible = expected + bare
        if budget.max_unavailable:
            desired = max(0, expected - share(budget.max_unavailable, expected, up=True))
        else:
            desired = share(budget.min_available, expected, up=True)
        if not cause and live and expected == 0:
            cause = "no controller"
            why = (
                f"its {len(live)} pods have no controller, so {asked(budget)} is taken of a scale "
                "of 0, and nothing is allowed; only an integer minAvailable counts bare pods."
            )
    elif live:
        cause = "says nothing"
        why = "it asks for neither minAvailable nor maxUnavailable, and then allows nothing."
    best = 0 if cause or expected <= 0 else max(0, possible - desired)
    if live and best == 0 and not cause:
        cause = "all"
        why = f"it asks for {desired} of {possible} pods to be healthy ({asked(budget)})."
    if live and budget.sync_failed and not cause:
        best, cause = 0, "no scale"
        why = f"the disruption controller cannot work it out: {budget.sync_failed}."
    return Reach(
        budget=budget.key,
        best=best,
        now=0 if cause else max(0, healthy - desired),
        expected=expected,
        possible=possible,
        desired=desired,
        healthy=healthy,
        pods=len(live),
        workloads=tuple(owners),
        cause=cause,  # type: ignore[arg-type]
        why=why,
        always_allow=budget.always_allow,
        counts_pods=counts_pods,
    )


class Budgets(Part, frozen=True, kw_only=True):
    """Every budget's reach, and which budgets select which pod."""

    reach: dict[str, Reach]
    of_pod: dict[str, tuple[str, ...]]
    """Pod's key to budgets' keys; pods without a budget are left out."""

    def of(self, pods: Iterable[Pod]) -> tuple[Reach, ...]:
        keys = {b for p in pods for b in self.of_pod.get(p.key, ())}
        return tuple(self.reach[k] for k in sorted(keys))


def study(
    budgets: Iterable[Budget], pods: Iterable[Pod], controllers: Mapping[str, Controller]
) -> Budgets:
    by_namespace: dict[str, list[Pod]] = defaultdict(list)
    for p in pods:
        by_namespace[p.namespace].append(p)
    found: dict[str, Reach] = {}
    of_pod: dict[str, list[str]] = defaultdict(list)
    for b in budgets:
        chosen: list[Pod] = []
        if b.selector is not None:
            verdicts: dict[int, bool] = {}  # pods of one template share their labels
            for p in by_namespace[b.namespace]:
                label = id(p.labels)
                if label not in verdicts:
                    verdicts[label] = b.selector.matches(p.labels)
                if verdicts[label]:
                    chosen.append(p)
        found[b.key] = reach(b, chosen, controllers)
        for p in chosen:
            of_pod[p.key].append(b.key)
    return Budgets(reach=found, of_pod={k: tuple(v) for k, v in of_pod.items()})
