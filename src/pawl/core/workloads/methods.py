"""How each workload moves: the gentlest way that is legal, and what it costs.

    surge          a new pod is Ready before the old one goes, pod by pod: the pod is released from
                   its ReplicaSet, which makes another at once, while the old one goes on serving
                   behind its Service
    surge-restart  the Deployment's own rolling update, where pods cannot be released one by one;
                   it deletes pods itself, so no budget is asked
    evict          the Eviction API; StatefulSets from the highest ordinal down, one at a time
    operator       as its operator wants it: members first, the primary last
    wait           until it has completed
    decide         nothing, before a person has decided
    stay           it belongs to its node

Surging is refused where two pods cannot be at once: `Recreate`, `maxSurge: 0`, a volume that one
node alone may mount, a quota that is used up, or no second place (anti-affinity, host ports,
spread).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pawl.core.findings import Severity
from pawl.core.workloads.budgets import Budgets, Reach
from pawl.core.workloads.classify import Class, class_of, operator_of
from pawl.core.workloads.facts import (
    Autoscaler,
    Budget,
    Claim,
    Controller,
    Hook,
    Part,
    Pod,
    Policy,
    Quota,
    Service,
    Volume,
)
from pawl.core.workloads.obstacles import Obstacle, Resolution
from pawl.core.workloads.quantity import share, size

Method = Literal["surge", "surge-restart", "evict", "operator", "wait", "decide", "stay"]
METHODS: tuple[Method, ...] = (
    "surge", "surge-restart", "evict", "operator", "wait", "decide", "stay",
)  # fmt: skip
HASH = "pod-template-hash"
ROLLOUT_HASH = "rollouts-pod-template-hash"
SURGE_SHARE = "25%"
"""maxSurge and maxUnavailable of a Deployment that names none (apps/v1 defaults)."""
LARGE_SCRATCH = 1 << 30
"""Bytes of an emptyDir from which its loss is a person's decision."""
JOB_TRACKING = "batch.kubernetes.io/job-tracking"
"""The Job controller's own finalizer, which it takes away itself."""
SINGLE_NODE = ("ReadWriteOnce", "ReadWriteOncePod")


class Decision(Part, frozen=True, kw_only=True):
    """`at_once`: how many of its pods may be on the way together. `notes` say what cannot be
    avoided and why a gentler way is not legal."""

    workload: str
    kind: Class
    method: Method
    why: str
    at_once: int = 1
    notes: tuple[str, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


class Surroundings(Part, frozen=True, kw_only=True):
    """Everything around a workload that its method depends on."""

    budgets: Budgets
    budget_objects: Mapping[str, Budget]
    claims: Mapping[str, Claim]
    volumes: Mapping[str, Volume]
    autoscalers: Mapping[str, Autoscaler]
    services: Mapping[str, Sequence[Service]]
    """By namespace."""
    policies: Mapping[str, Sequence[Policy]]
    quotas: Mapping[str, Sequence[Quota]]
    hooks: Sequence[Hook]
    behind: Mapping[str, Sequence[str]]
    """A Service's key to the workloads behind it."""
    patience: float
    """Seconds that a drain waits for one pod."""


def decide(
    c: Controller,
    moving: Sequence[Pod],
    every: Sequence[Pod],
    around: Surroundings,
    no_place: str = "",
    together: bool = True,
) -> Decision:
    """`moving` are the pods that must leave their nodes, `every` all of the workload's pods.
    `no_place`: why a second pod finds no place beside the first (from the simulation).
    `together`: all of its pods move in one wave, so that a rolling update of the whole is right."""
    kind = class_of(c)
    if kind in ("DaemonSet", "static"):
        return _staying(c, kind, moving)
    if kind == "bare":
        return _bare(c, moving, around)
    obstacles = [*_of_pods(c, moving, around)]
    if kind in ("Job", "CronJob"):
        return _job(c, kind, moving, around, obstacles)
    notes: list[str] = []
    denied = no_surge(c, kind, moving, around) or no_place
    method: Method
    if kind == "operator":
        method, why = (
            "operator",
            f"{operator_of(c)} is its operator's: members first, primary last.",
        )
        obstacles += _operated(c, moving, around)
    elif denied:
        method, why = "evict", denied
        if c.kind == "StatefulSet":
            why = "A StatefulSet's pods have names: one leaves before it can come again."
    elif not (unfit := _cannot_release(c, moving, around)):
        method, why = "surge", "Each new pod is Ready before its old one goes."
    elif c.kind == "Deployment" and not c.paused and together and len(moving) == len(every):
        method, why = "surge-restart", f"Its own rolling update: {unfit}."
    else:
        method, why = "evict", f"Its pods cannot be released one by one: {unfit}."
    surging = method in ("surge", "surge-restart")
    one_more = method == "evict" and not no_place and not quota_full(c, around)
    resolutions: list[Resolution] = []
    for r in around.budgets.of(moving):
        found = _budget(c, r, method, every, around, one_more)
        if found is not None:
            obstacles.append(found)
            if found.resolution and found.resolution not in resolutions:
                resolutions.append(found.resolution)
    obstacles += _overlaps(moving, around, surging)
    obstacles += _webhook(c, surging, around)
    at_once = _at_once(c, surging, moving, around, resolutions)
    if method == "evict":
        notes.append(_dip(every, at_once))
        obstacles.append(_missing(c, every, why))
    elif method == "surge-restart" and (missing := missing_in_restart(c)):
        notes.append(f"Its own maxUnavailable lets {missing} of {c.replicas} pods be missing.")
    if surging and not c.shape.readiness and not c.shape.gates:
        obstacles.append(
            Obstacle(
                code="W119",
                subject=c.key,
                workload=c.key,
                message="has no readiness probe: a new pod counts as Ready as soon as it runs.",
                remedy="Add a readiness probe, or a minReadySeconds as long as it needs.",
                severity=Severity.INFO,
            )
        )
    return Decision(
        workload=c.key,
        kind=kind,
        method=method,
        why=why,
        at_once=at_once,
        notes=tuple(notes),
        resolutions=tuple(resolutions),
        obstacles=tuple(obstacles),
    )


# -- surging ---------------------------------------------------------------------------------


def no_surge(c: Controller, kind: Class, pods: Sequence[Pod], around: Surroundings) -> str:
    """Why two pods in place of one are not legal, "" where they are."""
    if kind not in ("Deployment", "Rollout"):
        return f"A {c.kind} makes no second pod beside the first."
    if c.strategy == "Recreate":
        return "Its strategy is Recreate: the old pod goes before the new one comes."
    if c.max_surge and share(c.max_surge, c.replicas, up=True) == 0:
        return f"It allows no surge (maxSurge: {c.max_surge})."
    for claim in _claims(c, pods, around):
        modes = set(claim.modes)
        if modes and modes <= set(SINGLE_NODE):
            return (
                f"Its claim {claim.name} is {' '.join(claim.modes)}: a second node cannot mount it "
                "before the first has let go."
            )
    return quota_full(c, around)


def quota_full(c: Controller, around: Surroundings) -> str:
    """Why its namespace's quotas do not take one pod more."""
    for quota in around.quotas.get(c.namespace, ()):
        for left, need, what in (
            (quota.pods, 1, "pods"),
            (quota.cpu, c.shape.cpu, "CPU"),
            (quota.memory, c.shape.memory, "memory"),
        ):
            if left is not None and left < need:
                return f"ResourceQuota {quota.name} leaves no {what} for a second pod."
    return ""


def _cannot_release(c: Controller, moving: Sequence[Pod], around: Surroundings) -> str:
    """Why a pod cannot be released by taking its template hash away, or not evicted after."""
    label = ROLLOUT_HASH if c.kind == "Rollout" else HASH
    if any(label not in p.labels for p in moving):
        return f"they carry no {label}"
    for s in around.services.get(c.namespace, ()):
        by_hash = any(k == label for k, _ in s.selector)
        if by_hash and all(c.pod_labels.get(k, v) == v for k, v in s.selector if k != label):
            return f"Service {s.name} selects by {label}"
    for key, b in around.budget_objects.items():
        if b.namespace == c.namespace and b.selector and b.selector.names(label):
            return f"PodDisruptionBudget {key} selects by {label}"
    for p in around.policies.get(c.namespace, ()):
        if p.subject.names(label):
            return f"NetworkPolicy {p.name} selects by {label}"
    for r in around.budgets.of(moving):
        if r.best == 0 and not surplus_helps(r):
            return f"PodDisruptionBudget {r.budget} allows nothing however many pods there are"
    return ""


def surplus_helps(r: Reach) -> bool:
    """Whether one healthy pod too many makes the budget allow one disruption."""
    return r.cause == "all" and r.desired <= r.possible


def missing_in_restart(c: Controller) -> int:
    return share(c.max_unavailable or SURGE_SHARE, c.replicas, up=False)


def _at_once(
    c: Controller,
    surging: bool,
    moving: Sequence[Pod],
    around: Surroundings,
    resolutions: Sequence[Resolution],
) -> int:
    if surging:
        return max(1, share(c.max_surge or SURGE_SHARE, c.replicas, up=True))
    if c.kind not in ("Deployment", "Rollout", "ReplicaSet", "ReplicationController"):
        return 1
    own = share(c.max_unavailable or SURGE_SHARE, c.replicas, up=False)
    allowed = [r.best for r in around.budgets.of(moving) if r.best > 0]
    most = min([own, *allowed]) if "scale" not in resolutions else 1
    return max(1, most)


def _missing(c: Controller, every: Sequence[Pod], why: str) -> Obstacle:
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


def _dip(every: Sequence[Pod], at_once: int) -> str:
    if len(every) <= 1:
        return "It is down from the end of its pod to the readiness of the next."
    return f"{min(at_once, len(every))} of {len(every)} pods are missing at a time."


# -- budgets ---------------------------------------------------------------------------------


def _budget(
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
    if method == "surge-restart" or (method == "surge" and surplus_helps(r)):
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
        surplus_helps(r)
        and r.counts_pods
        and one_more
        and c.kind in ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")
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


def _overlaps(
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


# -- what pods themselves bring ----------------------------------------------------------------


def _claims(c: Controller, pods: Iterable[Pod], around: Surroundings) -> list[Claim]:
    names = dict.fromkeys([*c.claims, *(name for p in pods for name in p.claims)])
    found = (around.claims.get(f"{c.namespace}/{n}") for n in names)
    return [f for f in found if f is not None]


def _of_pods(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Iterable[Obstacle]:
    s = c.shape if not moving else moving[0].shape
    kept = next((p for p in moving if p.kept), None)
    if kept is not None:
        yield Obstacle(
            code="W111",
            subject=c.key,
            workload=c.key,
            message=f"pod {kept.key} carries {kept.kept}: it asks not to be evicted.",
            remedy="Move it at a time that suits its owner, or take the annotation away.",
        )
    held = [p for p in moving if p.terminating and set(p.finalizers) - {JOB_TRACKING}]
    if held:
        yield Obstacle(
            code="W110",
            subject=f"pod {held[0].key}",
            workload=c.key,
            forever=True,
            message=f"was deleted and stays: finalizer {', '.join(held[0].finalizers)}.",
            remedy="See to the controller that must take the finalizer away.",
        )
    later = [p for p in moving if not p.terminating and set(p.finalizers) - {JOB_TRACKING}]
    if later:
        yield Obstacle(
            code="W110",
            subject=f"pod {later[0].key}",
            workload=c.key,
            message=f"will stay after its eviction until finalizer "
            f"{', '.join(later[0].finalizers)} is taken away.",
            remedy="Check that its controller runs.",
            severity=Severity.WARNING,
        )
    if s.grace > around.patience:
        yield Obstacle(
            code="W112",
            subject=c.key,
            workload=c.key,
            message=f"may take {s.grace:.0f} s to end (terminationGracePeriodSeconds), a drain "
            f"waits {around.patience:.0f} s.",
            remedy="Raise policy.timeouts.eviction above it; pawl never cuts a grace period short.",
        )
    missing = [
        n
        for n in dict.fromkeys([*c.claims, *(n for p in moving for n in p.claims)])
        if f"{c.namespace}/{n}" not in around.claims
    ]
    if missing and moving:
        yield Obstacle(
            code="W107",
            subject=c.key,
            workload=c.key,
            forever=True,
            message=f"needs the claim {missing[0]}, which is not there: no new pod can start.",
            remedy="Make the claim, or take the volume out of the template.",
        )
    for claim in _claims(c, moving, around):
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
            break
    if s.scratch and c.kind not in ("Job", "CronJob"):
        large = s.scratch_limit >= LARGE_SCRATCH
        if large or c.kind == "StatefulSet":
            limit = f" of up to {size(s.scratch_limit)}" if s.scratch_limit else ""
            yield Obstacle(
                code="W106",
                subject=c.key,
                workload=c.key,
                message=f"keeps data in an emptyDir{limit}, which is lost when its pod goes.",
                remedy="Check that it can be made again, or give it a volume.",
                severity=Severity.BLOCKER if large else Severity.WARNING,
            )
    if s.host_paths and class_of(c) not in ("DaemonSet", "static"):
        yield Obstacle(
            code="W106",
            subject=c.key,
            workload=c.key,
            message=f"reads {', '.join(s.host_paths)} of its node, which a new node may not have.",
            remedy="Check that the new node has it, or that it may be empty.",
            severity=Severity.WARNING,
        )
    if s.scheduler != "default-scheduler":
        yield Obstacle(
            code="W120",
            subject=c.key,
            workload=c.key,
            message=f"is placed by {s.scheduler}; the simulation knows the default scheduler only.",
            remedy="Check by hand that it will place it.",
            severity=Severity.WARNING,
        )


def _staying(c: Controller, kind: Class, moving: Sequence[Pod]) -> Decision:
    why = (
        "Each node has its own; the new nodes get theirs when they join."
        if kind == "DaemonSet"
        else "A file on its node; it goes with the machine."
    )
    return Decision(workload=c.key, kind=kind, method="stay", why=why)


def _bare(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Decision:
    obstacles = [*_of_pods(c, moving, around), *_overlaps(moving, around)]
    for r in around.budgets.of(moving):
        if (found := _budget(c, r, "decide", moving, around)) is not None:
            obstacles.append(found)
    obstacles.append(
        Obstacle(
            code="W105",
            subject=f"pod {c.namespace}/{c.name}",
            workload=c.key,
            forever=True,
            message="has no controller: nobody makes it again elsewhere, and a drain refuses it.",
            remedy="Delete it, run it from a controller, or approve its end with the plan.",
        )
    )
    return Decision(
        workload=c.key,
        kind="bare",
        method="decide",
        why="Nobody would make it again.",
        obstacles=tuple(obstacles),
    )


def _job(
    c: Controller,
    kind: Class,
    moving: Sequence[Pod],
    around: Surroundings,
    obstacles: list[Obstacle],
) -> Decision:
    for r in around.budgets.of(moving):
        if r.best == 0:
            obstacles.append(
                Obstacle(
                    code="W101",
                    subject=f"PodDisruptionBudget {r.budget}",
                    workload=c.key,
                    forever=True,
                    message=f"never allows an eviction of {c.key}: {r.why}",
                    remedy="",
                    resolution="wait",
                    severity=Severity.WARNING,
                )
            )
    if moving and not c.ignores_disruption:
        fatal = c.backoff_limit == 0
        obstacles.append(
            Obstacle(
                code="W108",
                subject=c.key,
                workload=c.key,
                message="counts an eviction as its own failure"
                + (", and may not fail once (backoffLimit: 0)." if fatal else "."),
                remedy="Wait for it; or add a podFailurePolicy rule that ignores DisruptionTarget.",
                severity=Severity.WARNING,
                resolution="wait",
            )
        )
    if moving and c.deadline is None and not c.suspended:
        obstacles.append(
            Obstacle(
                code="W118",
                subject=c.key,
                workload=c.key,
                message="has no activeDeadlineSeconds: nobody can say how long it is waited for.",
                remedy="Wait, or give it a deadline; its node stays closed until it is done.",
                severity=Severity.WARNING,
            )
        )
    return Decision(
        workload=c.key,
        kind=kind,
        method="wait" if moving else "stay",
        why="It is left to complete; its node takes nothing new meanwhile."
        if moving
        else "Nothing of it runs now.",
        obstacles=tuple(obstacles),
        resolutions=("wait",) if moving else (),
    )


def _operated(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Iterable[Obstacle]:
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


def _webhook(c: Controller, surging: bool, around: Surroundings) -> Iterable[Obstacle]:
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
