"""The Kubernetes API, as far as pawl changes something in it.

Eviction goes by the Eviction API alone; a 429 is the budget speaking and means "wait".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from pawl.core.model import Taint

if TYPE_CHECKING:
    from pawl.ports.watch import Change


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod as a drain sees it. `owner` is "Kind/name" of its controller, "" for a bare pod.

    `released` is the owner that pawl took it from so that its successor starts first, "" if it was
    not; `template` the hash of its template, where its ReplicaSet knows it by one."""

    namespace: str
    name: str
    uid: str
    node: str
    owner: str = ""
    mirror: bool = False
    ready: bool = False
    terminating: bool = False
    finished: bool = False
    grace_seconds: float = 30.0
    priority: int = 0
    released: str = ""
    template: str = ""
    victim: bool = False
    """It is the one that its ReplicaSet ends first when there is one too many."""
    finalizers: tuple[str, ...] = ()
    cpu: int = 0
    """Thousandths of a core that it asks for, as the scheduler counts them."""
    memory: int = 0
    """Bytes that it asks for."""

    @property
    def controller(self) -> str:
        """Its owner, also while it is released from it."""
        return self.released or self.owner

    @property
    def stays(self) -> bool:
        """It belongs to its node, or has ended: no drain moves it."""
        return self.mirror or self.finished or self.owner.startswith("DaemonSet/")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How many pods a Deployment, ReplicaSet or StatefulSet has Ready, and how many it wants. One
    that is gone wants none. `pending` names a pod of it that has no node, and why."""

    ready: int
    wanted: int
    pending: str = ""

    @property
    def full(self) -> bool:
        return self.ready >= self.wanted


class Evicted(msgspec.Struct, frozen=True, kw_only=True):
    """`ok`: accepted, or already gone. Otherwise `why` is the API's sentence, `retry` whether
    waiting can help (429, webhook or server error) and `budget` the PDB that said no. `busy`: the
    server itself asks for less. `overlapping`: two budgets select the pod, which is never evicted.
    """

    ok: bool
    why: str = ""
    retry: bool = True
    budget: str = ""
    busy: bool = False
    overlapping: bool = False


class Kube(Protocol):
    async def watch(self, tell: Callable[[Change], None]) -> None:
        """Tell of every pod, node, budget and volume attachment, and of each change, until
        cancelled. It goes on by itself after whatever interrupts it, and says so."""
        ...

    async def pods_on(self, node: str) -> tuple[Pod, ...]: ...

    async def cordon(self, node: str, owner: str) -> bool:
        """Cordon and mark whose cordon it is; False (untouched) if somebody else's stands."""
        ...

    async def uncordon(self, node: str, owner: str) -> None:
        """Give back our own cordon; never touches another's."""
        ...

    async def taint(self, node: str, taint: Taint) -> None: ...

    async def untaint(self, node: str, key: str) -> None: ...

    async def evict(self, pod: Pod) -> Evicted:
        """Evict by UID precondition, so a new pod of the same name is never hit."""
        ...

    async def delete(self, pod: Pod) -> None:
        """Past the Eviction API, which refuses a pod of two budgets whatever they allow; by UID.
        Whoever calls this has asked the budgets himself."""
        ...

    async def allowances(self, pod: Pod) -> dict[str, int]:
        """Name -> disruptions allowed now, for each budget that selects the pod."""
        ...

    async def release(self, pod: Pod, owner: str) -> bool:
        """Take the pod out of its ReplicaSet, which makes another at once, and mark whose release
        it is. It goes on serving. False if the pod has gone meanwhile."""
        ...

    async def take_back(self, pod: Pod) -> None:
        """Undo a release: its ReplicaSet has it again, and ends the pod that is too many."""
        ...

    async def released(self) -> tuple[Pod, ...]:
        """All pods that are released and still there, on every node."""
        ...

    async def standing(self, namespace: str, owner: str) -> Standing:
        """Of "Kind/name", counted over its own pods as they are now."""
        ...

    async def loads(self, namespace: str) -> dict[str, float]:
        """Pod -> CPU that it uses, as a share of its limit. Empty where nobody measures
        (metrics.k8s.io is not served); pods without a limit are left out."""
        ...

    async def delete_node(self, node: str) -> None: ...

    async def volumes_attached(self, node: str) -> int:
        """VolumeAttachments that still name the node."""
        ...


class Holders(Protocol):
    """The Leases kube-system/COMPONENT of controller-managers and schedulers."""

    async def holder(self, component: str) -> str | None:
        """The identity of whoever works, "" for nobody; None where there is no Lease to read."""
        ...

    async def free(self, component: str, holder: str) -> bool:
        """Empty the Lease of a holder that has ended, as it would itself with client-go's
        ReleaseOnCancel. False when it is not that holder's any more, or may not be written."""
        ...


class LeaseHeld(msgspec.Struct, frozen=True, kw_only=True):
    holder: str
    epoch: int
    renewed: float
    duration: float


class Lease(Protocol):
    """The cluster's lock: one `coordination.k8s.io` Lease whose transitions count the epochs."""

    async def acquire(self, holder: str, duration: float, at_least: int) -> LeaseHeld:
        """Take it if free, ours or expired; the epoch rises with each change of holder and is
        above `at_least`. Raises `Refused` naming the holder if it is held and fresh."""
        ...

    async def renew(self, held: LeaseHeld) -> LeaseHeld:
        """Raises `Fenced` if somebody else holds it now."""
        ...

    async def release(self, held: LeaseHeld) -> None: ...
