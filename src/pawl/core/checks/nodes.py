"""Risks of nodes: not Ready, cordoned by others, without room to drain to."""

from __future__ import annotations

from collections.abc import Iterator

from pawl.core import interrupted
from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding
from pawl.core.verify.gates import due_after

_PRESSURE = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@check(N001="a node is not Ready", N003="a node was left by an interrupted step")
def ready(facts: Facts) -> Iterator[Finding]:
    for n in facts.state.nodes:
        if interrupted.node(n):
            yield finding(
                "N003",
                f"node {n.name}",
                "is in the middle of an upgrade (cordoned by pawl, or new and not Ready).",
                "Nothing to do: the plan finishes it first.",
                warn=True,
            )
        elif not n.ready:
            yield finding(
                "N001",
                f"node {n.name}",
                "is not Ready.",
                "Bring it back or remove it first: a drain needs the room.",
                warn=not facts.touches_nodes,
            )


@check(N002="a node is cordoned by somebody else")
def cordoned(facts: Facts) -> Iterator[Finding]:
    for n in facts.state.nodes:
        if n.unschedulable and not interrupted.node(n):
            yield finding(
                "N002",
                f"node {n.name}",
                f"is cordoned{f' by {n.cordoned_by}' if n.cordoned_by else ''}, not by pawl.",
                "pawl upgrades it and leaves the cordon as it is.",
                warn=True,
            )


@check(N004="a node is under pressure")
def pressure(facts: Facts) -> Iterator[Finding]:
    for n in facts.state.nodes:
        bad = [c for c in n.conditions if c in _PRESSURE]
        if bad:
            yield finding(
                "N004",
                f"node {n.name}",
                f"reports {', '.join(bad)}.",
                "Relieve it before pods are moved onto it.",
                warn=True,
            )


@check(N005="a node's version is not known")
def versions(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_nodes:
        return
    for n in facts.state.nodes:
        if not n.kubelet and not interrupted.node(n):
            yield finding(
                "N005",
                f"node {n.name}",
                "does not tell its kubelet's version.",
                "Check that its kubelet reports to the API server.",
            )


@check(N006="nodes cannot be replaced")
def replaceable(facts: Facts) -> Iterator[Finding]:
    if (
        facts.touches_nodes
        and facts.target.node_strategy == "replace"
        and facts.config.machines.provider == "none"
    ):
        yield finding(
            "N006",
            "nodes",
            "shall be replaced, but pawl.yaml names no machine provider.",
            "Set machines.provider, or use --strategy nodes=in-place.",
        )


@check(N007="drained pods have nowhere to go")
def room(facts: Facts) -> Iterator[Finding]:
    """In place, the pods of the node that is away need another schedulable node."""
    if not facts.touches_nodes or facts.target.node_strategy != "in-place":
        return
    open_nodes = [n for n in facts.state.nodes if n.ready and not n.unschedulable]
    if len(facts.state.nodes) > 0 and len(open_nodes) < 2:
        yield finding(
            "N007",
            "nodes",
            f"{len(open_nodes)} node takes pods: those of a drained node have nowhere to go.",
            "Announce the outage, add a node, or use --strategy nodes=replace.",
            warn=True,
        )


@check(N008="a soak is over before the pods of new nodes are measured")
def judged(facts: Facts) -> Iterator[Finding]:
    """The soak would end before anything was known of the pods that it is there for. Without a last
    one (0) that is meant."""
    metrics, policy = facts.config.metrics, facts.config.policy
    if metrics is None or policy.gates.mode in ("off", "watch") or not facts.touches_nodes:
        return
    needs = due_after(metrics)
    soaks = {"node": ("the canary", policy.soak.node), "last": ("the last nodes", policy.soak.last)}
    for name, (where, seconds) in soaks.items():
        if seconds < needs and (seconds or name == "node"):
            yield finding(
                "N008",
                f"policy.soak.{name}",
                f"lasts {seconds:g} s, and pods on {where} are measured {needs:g} s after their "
                f"start: warm-up {metrics.warm_up:g} s, rates over {metrics.rate_window:g} s, "
                f"a look each {metrics.step:g} s.",
                f"Set policy.soak.{name} to {needs:g} or more, or lower metrics.warm_up.",
                warn=True,
            )
