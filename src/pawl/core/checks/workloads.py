"""Risks of what runs on the cluster: budgets, webhooks, and workloads that are unwell already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pawl.core import interrupted, marks
from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding
from pawl.core.foreseen import Foreseen
from pawl.core.loosening import Loosening
from pawl.core.model import DisruptionBudget, Workload
from pawl.core.workloads.obstacles import RESOLUTIONS


def never_allows(budget: DisruptionBudget) -> bool:
    """Whether its specification forbids every eviction, however healthy all pods are.

    Until its controller has computed it, the pods that it selects stand for what it expects.
    """
    expected = budget.expected if budget.observed else len(budget.selected)
    if budget.sync_failed:
        return bool(budget.selected)
    if expected == 0:
        return False
    if budget.max_unavailable in ("0", "0%"):
        return True
    if budget.observed:
        return budget.desired_healthy >= expected
    wanted = budget.min_available
    return wanted == "100%" or (wanted.isdigit() and int(wanted) >= expected)


@check(
    W001="a disruption budget can never allow an eviction", W006="a disruption budget is used up"
)
def budgets(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_nodes:
        return
    for b in facts.state.budgets:
        subject = f"PodDisruptionBudget {b.namespace}/{b.name}"
        if facts.moves is not None and facts.moves.known:
            yield from _foreseen(facts.moves, b, subject)
        elif b.sync_failed and never_allows(b):
            yield finding(
                "W001",
                subject,
                f"cannot be computed ({b.sync_failed}): no eviction is ever allowed.",
                "Let it select pods of one controller with a scale, or use minAvailable as a "
                "number.",
            )
        elif never_allows(b):
            asked = (
                f"{b.desired_healthy} of {b.expected} pods"
                if b.observed
                else f"minAvailable {b.min_available} of {len(b.selected)} pods"
                if b.min_available
                else f"maxUnavailable {b.max_unavailable}"
            )
            yield finding(
                "W001",
                subject,
                f"asks for {asked}: no eviction is ever allowed.",
                "Add a replica, or allow maxUnavailable: 1.",
            )
        elif b.expected and b.allowed <= 0:
            yield _used_up(b, subject)


def _foreseen(moves: Foreseen, b: DisruptionBudget, subject: str) -> Iterator[Finding]:
    """What the plan does about it, where its pods are among those that move."""
    seen = moves.budgets.get(f"{b.namespace}/{b.name}")
    if seen is not None:
        done = f" The plan resolves it: {RESOLUTIONS[seen.resolution]}." if seen.resolution else ""
        yield finding(
            "W001",
            subject,
            seen.message + done,
            seen.remedy or "None needed.",
            warn=bool(seen.resolution),
        )
    elif b.expected and b.allowed <= 0 and not never_allows(b):
        yield _used_up(b, subject)


def _used_up(b: DisruptionBudget, subject: str) -> Finding:
    return finding(
        "W006",
        subject,
        f"allows no eviction now: {b.healthy} pods are healthy, {b.desired_healthy} are needed.",
        "Mend its pods; a drain waits until it allows one.",
        warn=True,
    )


@check(W002="two disruption budgets select one pod")
def overlapping(facts: Facts) -> Iterator[Finding]:
    """The Eviction API answers 500 for such a pod, for ever."""
    if not facts.touches_nodes:
        return
    counted = Counter(pod for b in facts.state.budgets for pod in set(b.selected))
    for pod, times in sorted(counted.items()):
        seen = facts.moves.pods.get(pod) if facts.moves is not None else None
        if facts.moves is not None and facts.moves.known and seen is None:
            continue  # it does not move
        if times > 1:
            resolved = seen is not None and bool(seen.resolution)
            names = sorted(
                f"{b.namespace}/{b.name}" for b in facts.state.budgets if pod in b.selected
            )
            yield finding(
                "W002",
                f"pod {pod}",
                f"is selected by {times} disruption budgets ({', '.join(names)}), so it can never "
                "be evicted."
                + (f" The plan resolves it: {RESOLUTIONS['surge']}." if resolved else ""),
                "None needed." if resolved else "Leave one budget for it.",
                warn=resolved,
            )


def _lost_already(moves: Foreseen | None, w: Workload) -> bool:
    """Whether no pod of it is Ready, and its budget is told so for the time of the move."""
    key = f"{w.namespace}/{w.kind}/{w.name}"
    letting = Loosening(what="always-allow", workload=key)
    return moves is not None and w.ready == 0 and letting in moves.loosens


@check(W003="a workload is degraded already", W005="a workload has a single replica")
def workloads(facts: Facts) -> Iterator[Finding]:

    def down(w: Workload) -> bool:
        moves = facts.moves
        key = f"{w.namespace}/{w.kind}/{w.name}"
        return moves is None or not moves.known or key in moves.down

    moving = any(interrupted.node(n) or marks.closed(n) for n in facts.state.nodes)
    for w in facts.state.workloads:
        subject = f"{w.kind} {w.namespace}/{w.name}"
        if w.ready < w.desired and _lost_already(facts.moves, w):
            yield finding(
                "W003",
                subject,
                f"has none of {w.desired} pods ready: moving it loses nothing.",
                "Mend it, or leave it as it is.",
                warn=True,
            )
        elif w.ready < w.desired:
            yield finding(
                "W003",
                subject,
                f"has {w.ready} of {w.desired} pods ready.",
                "Wait: pawl's own drain moves its pods."
                if moving
                else "Mend it first: what was broken before cannot be told from what broke.",
                warn=moving,
            )
        elif facts.touches_nodes and w.desired == 1 and w.kind != "DaemonSet" and down(w):
            yield finding(
                "W005",
                subject,
                "has a single replica: it is down while its node is drained.",
                "Run two replicas, or announce it.",
                warn=True,
            )


@check(W004="a webhook that fails closed hangs on one node")
def webhooks(facts: Facts) -> Iterator[Finding]:
    """When its backend's node is drained, the API refuses the very pods that would replace it.

    A webhook that matches nothing which moving a pod needs, or that leaves its own namespace out,
    comes back by itself: until then what it matches is refused.
    """
    for w in facts.state.webhooks:
        subject = f"webhook {w.name}"
        if not w.nodes:
            yield finding(
                "W004",
                subject,
                f"fails closed and its backend {w.service} has no ready pod: every request it "
                "matches is refused now.",
                "Bring the backend back, or set failurePolicy: Ignore.",
            )
        elif len(set(w.nodes)) == 1 and facts.touches_nodes:
            deadlock = bool(w.holds) and w.own_namespace
            what = f" and matches {', '.join(w.holds)}" if w.holds else ""
            end = "" if deadlock else ": what it matches is refused while that node is drained"
            yield finding(
                "W004",
                subject,
                f"fails closed{what}, and its backend {w.service} runs on {w.nodes[0]} alone{end}.",
                "Run it on two nodes (replicas and anti-affinity), or set failurePolicy: Ignore "
                "for the upgrade.",
                warn=not deadlock,
            )
