"""The marks that pawl leaves in a cluster, so that everybody can see whose they are.

Each is given back when the work is done, failed or was aborted. A mark of somebody else is never
touched.
"""

from __future__ import annotations

import re

from pawl.core.model import Node, Taint
from pawl.core.version import Version

OWNER_PREFIX = "pawl:"
"""`Node.cordoned_by` of a cordon that pawl set is this and the run's id."""

CLOSED = Taint(key="pawl/closed", value="upgrade", effect="NoSchedule")
"""On every old node of a pool that is being replaced: no pod shall land there twice."""

LEAVING = Taint(key="ToBeDeletedByClusterAutoscaler", value="pawl", effect="NoSchedule")
"""On a node whose machine is about to go. kube-proxy's health port answers 503 while a node has a
taint of this key (KEP-3836), so load balancers stop sending there before the machine is gone; the
value tells it from the autoscaler's own, which is a time."""

RELEASED = "pawl.dev/released"
"""Label on a pod that was taken out of its ReplicaSet so that its successor is Ready before it
goes; its value is the pod's template hash, which gives it back."""
RELEASED_BY = "pawl.dev/released-by"
RELEASED_FROM = "pawl.dev/released-from"
"""Annotations beside it: whose release it is, and the ReplicaSet's "Kind/name"."""

LEEWAY = "pawl.dev/leeway"
"""Label on what is loosened for the time of a move: a Deployment or StatefulSet with one replica
more ("scale") or in a restart that pawl has begun ("restart"), a budget that lets sick pods go
("always-allow"), and the pod that is to go when the replica is taken back ("victim")."""
LEEWAY_BY = "pawl.dev/leeway-by"
LEEWAY_WAS = "pawl.dev/leeway-was"
"""Labels beside it: the run whose it is, and what stood there before."""
VICTIM = "victim"

_GENERATION = re.compile(r"-v\d{3,}$")


def ours(node: Node) -> bool:
    """Whether the node is cordoned, by pawl."""
    return node.unschedulable and node.cordoned_by.startswith(OWNER_PREFIX)


def closed(node: Node) -> bool:
    return any(t.key == CLOSED.key for t in node.taints)


def leaving(node: Node) -> bool:
    """Whether pawl has told load balancers that the node goes."""
    return any(t.key == LEAVING.key and t.value == LEAVING.value for t in node.taints)


def marked(node: Node) -> bool:
    """Whether any taint of pawl stands on the node."""
    return closed(node) or leaving(node)


def successor(name: str, version: str) -> str:
    """The name of the machine that takes `name`'s place at `version`: worker-1 gets
    worker-1-v1370, and that gets worker-1-v1380. The same at every re-plan, so that a crash never
    leads to a second machine for the same work."""
    v = Version.parse(version)
    return f"{_GENERATION.sub('', name)}-v{v.major}{v.minor}{v.patch}"


def base(name: str) -> str:
    """The name without the generation that pawl gave it."""
    return _GENERATION.sub("", name)


def made_by_pawl(name: str) -> bool:
    """Whether a machine's name carries a generation, as only pawl writes it."""
    return _GENERATION.search(name) is not None
