"""What is seen while pods move: changes as they happen, never polled.

A watch begins with a full list of each kind and goes on with single changes. Where it cannot go on
from where it stopped (410 Gone), the list comes again and replaces all that was known of the kind.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pawl.ports.kube import Pod

What = Literal["pods", "nodes", "budgets", "volumes"]


class NodeNow(msgspec.Struct, frozen=True, kw_only=True):
    """A node as far as it matters to who moves pods. `closed`: it carries pawl's taint. `cpu` (in
    thousandths of a core), `memory` (bytes) and `pods`: what it has for pods, 0 if it does not say.
    """

    name: str
    ready: bool = True
    unschedulable: bool = False
    cordoned_by: str = ""
    closed: bool = False
    cpu: int = 0
    memory: int = 0
    pods: int = 0


class BudgetNow(msgspec.Struct, frozen=True, kw_only=True):
    """A PodDisruptionBudget's own count of what it allows at this moment."""

    namespace: str
    name: str
    allowed: int


class VolumeNow(msgspec.Struct, frozen=True, kw_only=True):
    """A VolumeAttachment that names a node."""

    name: str
    node: str


Item = Pod | NodeNow | BudgetNow | VolumeNow


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """All of a kind as they are now; forget what was known before."""

    what: What
    items: tuple[Item, ...]


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Made or changed."""

    what: What
    item: Item


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """Its last state."""

    what: What
    item: Item


class Blind(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is seen of the kind at the moment; the watch goes on by itself."""

    what: What
    why: str


Change = Listed | Put | Gone | Blind
