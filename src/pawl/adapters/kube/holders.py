"""The Leases by which controller-managers and schedulers choose who works: read, and freed."""

from __future__ import annotations

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.lease import LEASES
from pawl.adapters.kube.objects import LeaseObject, micro_time
from pawl.ports.clock import Clock

NOT_OURS = (403, 404, 409)
"""Not allowed to write it, gone, or somebody else wrote first: it expires by itself."""


class ApiHolders:
    """`Holders` over the API."""

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def holder(self, component: str) -> str | None:
        read = await self._read(component)
        return (read.spec.holder or "") if read else None

    async def free(self, component: str, holder: str) -> bool:
        read = await self._read(component)
        if read is None or read.spec.holder != holder:
            return False
        now = micro_time(self._clock.now())
        body = {
            "metadata": {"resourceVersion": read.metadata.resource_version},
            "spec": {  # as client-go's LeaderElector writes it when it releases
                "holderIdentity": "",
                "leaseDurationSeconds": 1,
                "renewTime": now,
                "acquireTime": now,
            },
        }
        try:
            await self._client.send("PATCH", f"{LEASES}/{component}", body, LeaseObject, patch=True)
        except KubeRefused as error:
            if error.code in NOT_OURS:
                return False
            raise
        return True

    async def _read(self, component: str) -> LeaseObject | None:
        try:
            return await self._client.get(f"{LEASES}/{component}", LeaseObject)
        except KubeRefused as error:
            if error.code in (403, 404):
                return None
            raise
