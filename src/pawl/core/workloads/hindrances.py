"""What stands in the way of a workload's moving: budgets, its pods' own ties, operators, webhooks.

Each finding says whether a plain drain would wait for it for ever, and what the plan does about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pawl.core.findings import Severity
from pawl.core.workloads.budgets import Reach
from pawl.core.workloads.classify import class_of
from pawl.core.workloads.facts import Claim, Controller, Pod, Shape
from pawl.core.workloads.obstacles import Obstacle, Resolution
from pawl.core.workloads.quantity import size
from pawl.core.workloads.surroundings import Method, Surroundings

LARGE_SCRATCH = 1 << 30
"""Bytes of an emptyDir from which its loss is a person's decision."""
JOB_TRACKING = "batch.kubernetes.io/job-tracking"
"""The Job controller's own finalizer, which it takes away itself."""


def of_budget(
    c: Controller,
    r: Reach,
    method: Method,
    every: Sequence[Pod],
    around: Surroundings,
    one_more: bool = False,
) -> Obstacle | None:
    """`one_more`: there is room for one replica more, where that is what would help."""
    subject = f"PodDisruptionBudget {r.budget}"
    sick = [p for p in every if not p.ready and not p.terminating and p.phase == "Running"]
    if r.best == 0:
        found = _resolution(c, r, method, every, around, one_more)
        return Obstacle(
            code="W101",
            subject=subject,
            workload=c.key,
            forever=True,
            message=f"never allows an eviction of {c.key}: {r.why}",
            remedy=_remedy(r) if not found else "",
            resolution=found,
            severity=Severity.WARNING if found else Severity.BLOCKER,
        )
    if r.now == 0 and sick and not r.always_allow:
        only = len(sick) == len(every)
        beside = method == "surge" and r.healthy >= r.desired
        way: Resolution = "always-allow" if only else "surge" if beside else ""
        what = f" ({sick[0].waiting})" if sick[0].waiting else ""
        return Obstacle(
            code="W103",
            subject=subject,
            workload=c.key,
            forever=True,
            message=(
                f"allows nothing while {len(sick)} of {len(every)} pods of {c.key} are not Ready"
                f"{what}: {r.healthy} are healthy, {r.desired} are needed."
            ),
            remedy=""
            if way
            else "Mend the pods, or set unhealthyPodEvictionPolicy: AlwaysAllow and let them go.",
            resolution=way,
            severity=Severity.WARNING if way else Severity.BLOCKER,
        )
    return None


def _resolution(
    c: Controller,
    r: Reach,
    method: Method,
    every: Sequence[Pod],
    around: Surroundings,
    one_more: bool,
) -> Resolution:
    """The first of the plan's own ways that works; "" where a person must decide."""
    if method == "surge-restart" or (method == "surge" and r.surplus_helps):
        # The scale that a budget counts by stays what it is while a released pod counts as
        # healthy, so the budget allows exactly the surplus.
        return "surge"
    if method == "operator" and any(p.primary for p in every):
        return "operator"
    scaler = around.autoscalers.get(c.key)
    room = scaler is None or scaler.maximum > max(c.replicas, scaler.minimum)
    many = c.replicas > 1 or (c.strategy != "Recreate" and c.kind != "StatefulSet")
    own_claims = c.claims or c.claim_templates
    if (
        r.surplus_helps
        and r.counts_pods
        and one_more
        and c.kind in ("Deployment", "StatefulSet", "ReplicaSet")
        and not own_claims
        and many
        and room
        and len(r.workloads) == 1
    ):
        return "scale"
    return ""


def _remedy(r: Reach) -> str:
    match r.cause:
        case "no scale" | "no controller":
            first = "Give the budget an integer minAvailable, below the number of its pods"
        case "says nothing":
            first = "Set maxUnavailable: 1, or remove the budget"
        case _:
            first = "Relax the budget once (maxUnavailable: 1) or add a replica"
    return (
        f"{first}; or leave its node closed and go on without it; or consent to the pod's deletion "
        "past the budget."
    )


def of_two_budgets(
    moving: Sequence[Pod], around: Surroundings, surging: bool = False
) -> Iterable[Obstacle]:
    """The Eviction API answers 500 for a pod of two budgets, however healthy all is. After a surge
    the old pod is deleted under pawl's own check of both."""
    for p in moving:
        own = around.budgets.of_pod.get(p.key, ())
        if len(own) > 1:
            yield Obstacle(
                code="W102",
                subject=p.owner,
                workload=p.owner,
                forever=True,
                message=f"pods are selected by {len(own)} disruption budgets "
                f"({', '.join(own)}): the Eviction API refuses them always.",
                remedy=""
                if surging
                else "Leave one budget for them; or consent to their deletion past the budgets.",
                resolution="surge" if surging else "",
                severity=Severity.WARNING if surging else Severity.BLOCKER,
            )
            return


def missing_capacity(c: Controller, every: Sequence[Pod], why: str) -> Obstacle:
    alone = len(every) <= 1
    return Obstacle(
        code="W113",
        subject=c.key,
        workload=c.key,
        message=("is down while its pod moves. " if alone else "has fewer pods while it moves. ")
        + why,
        remedy="Announce it, or let it surge." if alone else "Nothing to do within its budget.",
        severity=Severity.WARNING if alone else Severity.INFO,
    )


def claims_of(c: Controller, pods: Iterable[Pod], around: Surroundings) -> list[Claim]:
    names = dict.fromkeys([*c.claims, *(name for p in pods for name in p.claims)])
    found = (around.claims.get(f"{c.namespace}/{n}") for n in names)
    return [f for f in found if f is not None]


def of_pods(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Iterable[Obstacle]:
    """What ties its pods, or what they hold, to the node."""
    for rule in _OF_PODS:
        yield from rule(c, moving, around)


def _asks_to_stay(c: Controller, moving: Sequence[Pod], _: Surroundings) -> Iterable[Obstacle]:
    kept = next((p for p in moving if p.kept), None)
    if kept is not None:
        yield Obstacle(
            code="W111",
            subject=c.key,
            workload=c.key,
            message=f"pod {kept.key} carries {kept.kept}: it asks not to be evicted.",
            remedy="Move it at a time that suits its owner, or take the annotation away.",
        )


def _finalizers(c: Controller, moving: Sequence[Pod], _: Surroundings) -> Iterable[Obstacle]:
    bound = [p for p in moving if set(p.finalizers) - {JOB_TRACKING}]
    held = next((p for p in bound if p.terminating), None)
    if held is not None:
        yield Obstacle(
            code="W110",
            subject=f"pod {held.key}",
            workload=c.key,
            forever=True,
            message=f"was deleted and stays: finalizer {', '.join(held.finalizers)}.",
            remedy="See to the controller that must take the finalizer away.",
        )
    later = next((p for p in bound if not p.terminating), None)
    if later is not None:
        yield Obstacle(
            code="W110",
            subject=f"pod {later.key}",
            workload=c.key,
            message=f"will stay after its eviction until finalizer "
            f"{', '.join(later.finalizers)} is taken away.",
            remedy="Check that its controller runs.",
            severity=Severity.WARNING,
        )


def _grace(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Iterable[Obstacle]:
    grace = _shape(c, moving).grace
    if grace > around.patience:
        yield Obstacle(
            code="W112",
            subject=c.key,
            workload=c.key,
            message=f"may take {grace:.0f} s to end (terminationGracePeriodSeconds), a drain "
            f"waits {around.patience:.0f} s.",
            remedy="Raise policy.timeouts.eviction above it; pawl never cuts a grace period short.",
        )


def _claims(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Iterable[Obstacle]:
    named = dict.fromkeys([*c.claims, *(n for p in moving for n in p.claims)])
    missing = [n for n in named if f"{c.namespace}/{n}" not in around.claims]
    if missing and moving:
        yield Obstacle(
            code="W107",
            subject=c.key,
            workload=c.key,
            forever=True,
            message=f"needs the claim {missing[0]}, which is not there: no new pod can start.",
            remedy="Make the claim, or take the volume out of the template.",
        )
    for claim in claims_of(c, moving, around):
        volume = around.volumes.get(claim.volume)
        if volume is not None and volume.local:
            yield Obstacle(
                code="W106",
                subject=c.key,
                workload=c.key,
                forever=True,
                message=f"claim {claim.name} is the local volume {volume.name}: its data stays on "
                "the old node, and a new pod cannot start anywhere else.",
                remedy="Move the data (replicate, back up and restore, or a new claim), or keep "
                "the node.",
            )
            return


def _scratch(c: Controller, moving: Sequence[Pod], _: Surroundings) -> Iterable[Obstacle]:
    s = _shape(c, moving)
    large = s.scratch_limit >= LARGE_SCRATCH
    if s.scratch and c.kind not in ("Job", "CronJob") and (large or c.kind == "StatefulSet"):
        limit = f" of up to {size(s.scratch_limit)}" if s.scratch_limit else ""
        yield Obstacle(
            code="W106",
            subject=c.key,
            workload=c.key,
            message=f"keeps data in an emptyDir{limit}, which is lost when its pod goes.",
            remedy="Check that it can be made again, or give it a volume.",
            severity=Severity.BLOCKER if large else Severity.WARNING,
        )


def _host_paths(c: Controller, moving: Sequence[Pod], _: Surroundings) -> Iterable[Obstacle]:
    paths = _shape(c, moving).host_paths
    if paths and class_of(c) not in ("DaemonSet", "static"):
        yield Obstacle(
            code="W106",
            subject=c.key,
            workload=c.key,
            message=f"reads {', '.join(paths)} of its node, which a new node may not have.",
            remedy="Check that the new node has it, or that it may be empty.",
            severity=Severity.WARNING,
        )


def _scheduler(c: Controller, moving: Sequence[Pod], _: Surroundings) -> Iterable[Obstacle]:
    name = _shape(c, moving).scheduler
    if name != "default-scheduler":
        yield Obstacle(
            code="W120",
            subject=c.key,
            workload=c.key,
            message=f"is placed by {name}; the simulation knows the default scheduler only.",
            remedy="Check by hand that it will place it.",
            severity=Severity.WARNING,
        )


_OF_PODS = (_asks_to_stay, _finalizers, _grace, _claims, _scratch, _host_paths, _scheduler)


def _shape(c: Controller, moving: Sequence[Pod]) -> Shape:
    """Of what runs; of its template where nothing of it moves."""
    return moving[0].shape if moving else c.shape


def of_operator(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Iterable[Obstacle]:
    deciding = [h for h in around.hooks if h.evictions and h.service]
    primaries = [p for p in moving if p.primary]
    if primaries:
        yield Obstacle(
            code="W114",
            subject=c.key,
            workload=c.key,
            message=f"{primaries[0].key} is the primary: its operator must switch over to a member "
            "on an open node before it goes.",
            remedy="Nothing to do: members move first, the primary last.",
            severity=Severity.INFO,
            resolution="operator",
        )
    if deciding:
        yield Obstacle(
            code="W115",
            subject=c.key,
            workload=c.key,
            message=f"webhook {deciding[0].name} is asked before each eviction, and may deny it in "
            "order to move the pod itself.",
            remedy="Nothing to do: a denial is waited for, not forced.",
            severity=Severity.WARNING,
            resolution="operator",
        )


def of_webhook(c: Controller, surging: bool, around: Surroundings) -> Iterable[Obstacle]:
    """A fail-closed webhook over pods whose backend is gone refuses the pods that would replace
    its backend: nothing starts again anywhere."""
    if surging or c.replicas > 1:
        return
    for h in around.hooks:
        if h.pods and h.fails_closed and c.key in around.behind.get(h.service, ()):
            yield Obstacle(
                code="W109",
                subject=f"webhook {h.name}",
                workload=c.key,
                forever=True,
                message=f"fails closed over pods and {c.key} is its only backend: once it is "
                "evicted, no pod can be made, not even its own.",
                remedy="Run two replicas on two nodes, let it surge, exclude its own namespace, or "
                "set failurePolicy: Ignore for the upgrade.",
            )
            return
