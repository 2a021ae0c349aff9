"""What keeps a pod off a node whoever else is there: labels and taints."""

from __future__ import annotations

from collections.abc import Sequence

from pawl.core.workloads.facts import Node, Shape, Toleration

DAEMON_TOLERATIONS = tuple(
    Toleration(key=f"node.kubernetes.io/{k}", operator="Exists", effect=e)
    for k, e in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    )
)
"""What the DaemonSet controller adds to its pods."""


def admits(
    node: Node, shape: Shape, more: Sequence[Toleration] = (), *, taints: bool = True
) -> str:
    """Why the node's labels or taints keep such a pod out, "" where they do not."""
    for key, value in shape.node_selector:
        if node.labels.get(key) != value:
            return f"lack {key}={value}"
    if shape.node_terms and not any(t.matches(node) for t in shape.node_terms):
        return "do not match its node affinity"
    if taints:
        for taint in node.taints:
            if taint.effect == "PreferNoSchedule":
                continue
            if not any(t.tolerates(taint) for t in (*shape.tolerations, *more)):
                return f"have the taint {taint.key}"
    return ""
