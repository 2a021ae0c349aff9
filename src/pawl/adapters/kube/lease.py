"""The cluster's lock: Lease kube-system/pawl, whose transitions are the operators' epochs.

Every write carries the resource version that was read, so of two who try at once one is refused
and looks again. `leaseTransitions` never falls, and rises with each change of holder.
"""

from __future__ import annotations

import math
from typing import Any

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import LeaseObject, micro_time
from pawl.core.errors import Fenced, Refused, Temporary
from pawl.ports.clock import Clock
from pawl.ports.kube import LeaseHeld

NAMESPACE, NAME = "kube-system", "pawl"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
ATTEMPTS = 5


class ApiLease:
    """`Lease` over the API."""

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def acquire(self, holder: str, duration: float, at_least: int) -> LeaseHeld:
        for _ in range(ATTEMPTS):
            read = await self._read()
            transitions = (read.spec.transitions or 0) if read else 0
            held_by = (read.spec.holder or "") if read else ""
            now = self._clock.now()
            if read and held_by and held_by != holder:
                left = read.spec.renewed_at + (read.spec.duration or 0) - now
                if left > 0:
                    raise Refused(
                        [
                            f"{held_by} is at work on this cluster (its lease runs {left:.0f} s "
                            "more); let it end, or pause it with `pawl pause`"
                        ]
                    )
            kept = held_by == holder and transitions > at_least
            epoch = transitions if kept else max(transitions, at_least) + 1
            if await self._write(read, holder, epoch, duration, now):
                return LeaseHeld(holder=holder, epoch=epoch, renewed=now, duration=duration)
        raise Temporary("others keep writing the lease kube-system/pawl", delay=1.0)

    async def renew(self, held: LeaseHeld) -> LeaseHeld:
        for _ in range(ATTEMPTS):
            read = await self._read()
            self._must_be_ours(read, held)
            now = self._clock.now()
            if await self._write(read, held.holder, held.epoch, held.duration, now):
                return LeaseHeld(
                    holder=held.holder, epoch=held.epoch, renewed=now, duration=held.duration
                )
        raise Temporary("others keep writing the lease kube-system/pawl", delay=1.0)

    async def release(self, held: LeaseHeld) -> None:
        """Empty the holder, keep the count. A lease that is not ours any more is left alone."""
        for _ in range(ATTEMPTS):
            read = await self._read()
            try:
                self._must_be_ours(read, held)
            except Fenced:
                return
            if await self._write(read, "", held.epoch, 1.0, self._clock.now()):
                return

    @staticmethod
    def _must_be_ours(read: LeaseObject | None, held: LeaseHeld) -> None:
        spec = read.spec if read else None
        if spec is None or spec.holder != held.holder or spec.transitions != held.epoch:
            who = (spec.holder if spec else "") or "nobody"
            raise Fenced(
                f"the lease kube-system/pawl is held by {who} now, "
                f"not by {held.holder} with epoch {held.epoch}; this operator must stop"
            )

    async def _read(self) -> LeaseObject | None:
        try:
            return await self._client.get(f"{LEASES}/{NAME}", LeaseObject)
        except KubeRefused as error:
            if error.code == 404:
                return None
            raise

    async def _write(
        self, read: LeaseObject | None, holder: str, epoch: int, duration: float, now: float
    ) -> bool:
        """False when somebody else wrote first."""
        metadata: dict[str, Any] = {"name": NAME, "namespace": NAMESPACE}
        if read:
            metadata["resourceVersion"] = read.metadata.resource_version
        stamp = micro_time(now)
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": max(1, math.ceil(duration)),
                "renewTime": stamp,
                "acquireTime": (read.spec.acquired if read else None) or stamp,
                "leaseTransitions": epoch,
            },
        }
        try:
            if read:
                await self._client.send("PUT", f"{LEASES}/{NAME}", body, LeaseObject)
            else:
                await self._client.send("POST", LEASES, body, LeaseObject)
        except KubeRefused as error:
            if error.code == 409:
                return False
            raise
        return True
