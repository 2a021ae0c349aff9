"""A cluster without a pawl.yaml: what its API alone shows, by a kubeconfig."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pawl.adapters.clock import SystemClock
from pawl.adapters.kube import KubeClient, KubeReader
from pawl.adapters.kube.objects import VersionInfo
from pawl.core.config import ApiConfig, Config, EtcdConfig, SshConfig
from pawl.core.inuse.facts import HostUse
from pawl.core.model import ApiServer, ClusterState
from pawl.core.scan.lens import Lens
from pawl.interfaces.wiring import SCAN_SECONDS
from pawl.ports.clock import Clock
from pawl.ports.inventory import InventorySource
from pawl.ports.scan import ScanSource


class ApiOnly:
    """A cluster as its API alone shows it, for a scan without pawl.yaml: no hosts, and the API
    servers' addresses as they announce them."""

    def __init__(self, client: KubeClient, config: Config) -> None:
        self._client = client
        self.config = config
        self.clock: Clock = SystemClock()

    async def observe(self) -> ClusterState:
        """Raises `Unreachable` when there is no API at all."""
        taken_at = self.clock.now()
        version = await self._client.get("/version", VersionInfo)
        facts = await KubeReader(self._client).read(())
        server = ApiServer(host="", url="", version=version.git_version.removeprefix("v"))
        return ClusterState(
            cluster=self.config.cluster,
            taken_at=taken_at,
            api_servers=(server,),
            nodes=facts.nodes,
            budgets=facts.budgets,
            workloads=facts.workloads,
            webhooks=facts.webhooks,
            unread=facts.unread,
        )

    async def uses(self) -> tuple[HostUse, ...]:
        """There are no hosts without a pawl.yaml."""
        return ()

    def scan_source(
        self, lens: Lens, state: ClusterState, files: Sequence[Path] = (), days: float = 7.0
    ) -> ScanSource:
        from pawl.adapters.scan import LiveScan

        return LiveScan(self._client, lens, files=files, audit_days=days)

    def inventory_source(
        self, state: ClusterState | None = None, files: Sequence[Path] = (), days: float = 7.0
    ) -> InventorySource:
        from pawl.adapters.inventory import LiveInventory, callers

        async def called() -> callers.Answer:
            return await callers.read((), None, files, days)

        return LiveInventory(self._client, callers=called if files else None)


@asynccontextmanager
async def open_kubeconfig(kubeconfig: Path) -> AsyncIterator[ApiOnly]:
    """The cluster of a kubeconfig's current context."""
    client = KubeClient(kubeconfig, "", SCAN_SECONDS)
    config = Config(
        cluster=str(kubeconfig),
        hosts=(),
        ssh=SshConfig(key="", known_hosts=""),
        etcd=EtcdConfig(ca="", cert="", key=""),
        api=ApiConfig(endpoint="", kubeconfig=str(kubeconfig)),
    )
    try:
        yield ApiOnly(client, config)
    finally:
        await client.aclose()
