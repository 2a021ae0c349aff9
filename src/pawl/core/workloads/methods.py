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

from collections.abc import Sequence

from pawl.core.findings import Severity
from pawl.core.workloads.classify import Class, class_of, operator_of
from pawl.core.workloads.facts import Controller, Part, Pod
from pawl.core.workloads.hindrances import (
    claims_of,
    missing_capacity,
    of_budget,
    of_operator,
    of_pods,
    of_two_budgets,
    of_webhook,
)
from pawl.core.workloads.obstacles import Obstacle, Resolution
from pawl.core.workloads.quantity import share
from pawl.core.workloads.surroundings import Method, Surroundings

HASH = "pod-template-hash"
ROLLOUT_HASH = "rollouts-pod-template-hash"
SURGE_SHARE = "25%"
"""maxSurge and maxUnavailable of a Deployment that names none (apps/v1 defaults)."""
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
        return _staying(c, kind)
    if kind == "bare":
        return _bare(c, moving, around)
    obstacles = [*of_pods(c, moving, around)]
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
        obstacles += of_operator(c, moving, around)
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
        found = of_budget(c, r, method, every, around, one_more)
        if found is not None:
            obstacles.append(found)
            if found.resolution and found.resolution not in resolutions:
                resolutions.append(found.resolution)
    obstacles += of_two_budgets(moving, around, surging)
    obstacles += of_webhook(c, surging, around)
    at_once = _at_once(c, surging, moving, around, resolutions)
    if method == "evict":
        notes.append(_dip(every, at_once))
        obstacles.append(missing_capacity(c, every, why))
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
    for claim in claims_of(c, pods, around):
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
        if r.best == 0 and not r.surplus_helps:
            return f"PodDisruptionBudget {r.budget} allows nothing however many pods there are"
    return ""


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


def _dip(every: Sequence[Pod], at_once: int) -> str:
    if len(every) <= 1:
        return "It is down from the end of its pod to the readiness of the next."
    return f"{min(at_once, len(every))} of {len(every)} pods are missing at a time."


def _staying(c: Controller, kind: Class) -> Decision:
    why = (
        "Each node has its own; the new nodes get theirs when they join."
        if kind == "DaemonSet"
        else "A file on its node; it goes with the machine."
    )
    return Decision(workload=c.key, kind=kind, method="stay", why=why)


def _bare(c: Controller, moving: Sequence[Pod], around: Surroundings) -> Decision:
    obstacles = [*of_pods(c, moving, around), *of_two_budgets(moving, around)]
    for r in around.budgets.of(moving):
        if (found := of_budget(c, r, "decide", moving, around)) is not None:
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
