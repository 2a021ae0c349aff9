"""Where a cluster with a pawl.yaml gets its concrete adapters.

`open_session(path)` reads pawl.yaml and hands out everything that a command may need, behind the
ports. Adapters are imported and connected when they are first used, so that `pawl runs` opens no
SSH connection. Leaving the context closes what was opened.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path

from pawl.adapters.balancer.haproxy import HaproxyBalancer
from pawl.adapters.clock import SystemClock
from pawl.adapters.config import load_config
from pawl.adapters.etcd import EtcdReader
from pawl.adapters.etcd.gateway import Gateway
from pawl.adapters.etcd.port import GatewayEtcd
from pawl.adapters.hosts import Connections, HostReader, Inventory, SshHosts
from pawl.adapters.kube import ApiHolders, ApiKube, ApiLease, KubeClient
from pawl.adapters.kube.apiserver import own_url
from pawl.adapters.kube.leeway import ApiLeeway
from pawl.adapters.observer import LiveObserver
from pawl.adapters.observer.live import api_urls
from pawl.adapters.packs import commands
from pawl.adapters.packs.load import load_pack
from pawl.adapters.prometheus import AlertmanagerSilences, PrometheusMetrics
from pawl.adapters.prometheus.http import Http
from pawl.adapters.prometheus.rulefiles import load_rules
from pawl.adapters.store import FileLock, SqliteJournal
from pawl.adapters.store.proof_file import ProofFile
from pawl.core.changelog.facts import ApiFacts
from pawl.core.config import Config
from pawl.core.errors import ConfigError, PawlError
from pawl.core.inuse.facts import HostUse
from pawl.core.inventory.facts import WorkloadFact
from pawl.core.model import ClusterState
from pawl.core.scan.encoded import Suspect
from pawl.core.scan.facts import ScanFact
from pawl.core.scan.lens import Lens
from pawl.core.verify import replay
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.gates import Gate, effective
from pawl.core.verify.pack import Check, Ended
from pawl.core.verify.rules import Rule
from pawl.core.workloads.facts import Workloads
from pawl.engine.gatekeeping import Gating
from pawl.engine.measuring import Measurer
from pawl.engine.packing import Packer
from pawl.engine.silencing import Silencing
from pawl.ports.artifacts import Artifacts
from pawl.ports.clock import Clock
from pawl.ports.etcd import Etcd
from pawl.ports.inuse import InUse, Oracle
from pawl.ports.inventory import InventorySource
from pawl.ports.journal import Journal
from pawl.ports.kube import Holders, Kube, Lease
from pawl.ports.leeway import Leeway
from pawl.ports.lock import LocalLock
from pawl.ports.machines import Machines
from pawl.ports.metrics import Metrics
from pawl.ports.observer import Observer
from pawl.ports.scan import ScanSource
from pawl.ports.workloads import WorkloadReader

CONFIG_VARIABLE = "PAWL_CONFIG"
DEFAULT_CONFIG = Path("pawl.yaml")
SCAN_SECONDS = 30.0
"""Deadline of one request of a scan: a page of a long list takes its time on a busy API server."""


def find_config(given: Path | None) -> Path:
    """`--config`, else $PAWL_CONFIG, else ./pawl.yaml; ConfigError says what was looked for."""
    if given is not None:
        path = given
    elif variable := os.environ.get(CONFIG_VARIABLE):
        path = Path(variable)
    else:
        path = DEFAULT_CONFIG
    if path.is_dir():
        raise ConfigError(str(path), ["is a directory; give the file in it"])
    if not path.exists():
        raise ConfigError(
            str(path),
            [
                "no such file; give --config FILE or set PAWL_CONFIG, "
                "draft one with `pawl init`, or raise a lab with `pawl lab up` which writes one"
            ],
        )
    return path.resolve()


def _as_many_files_as_allowed() -> None:
    """A connection to each host is kept, and a shell allows 1,024 open files unless asked."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Session:
    """One cluster as one command sees it: its configuration and its ports.

    Relative paths of pawl.yaml were made absolute when it was read.
    """

    def __init__(self, config: Config, path: Path, stack: AsyncExitStack) -> None:
        self.config = config
        self.path = path
        self._stack = stack

    @property
    def state_dir(self) -> Path:
        """Where the journal and the evidence of this cluster lie."""
        return Path(self.config.state)

    @cached_property
    def clock(self) -> Clock:
        return SystemClock()

    @cached_property
    def journal(self) -> Journal:
        journal = SqliteJournal(self.state_dir / "journal.db")
        self._stack.callback(journal.close)
        return journal

    @cached_property
    def lock(self) -> LocalLock:
        return FileLock(self.state_dir / "lock")

    @cached_property
    def machines(self) -> Machines | None:
        match self.config.machines.provider:
            case "none":
                return None
            case "lab":
                from pawl.adapters.artifacts.factory import cache_home
                from pawl.lab.provider import LabMachines

                cache = cache_home() / "lab"
                return LabMachines(self.config.machines.lab, self.artifacts, cache=cache)

    @cached_property
    def artifacts(self) -> Artifacts:
        from pawl.adapters.artifacts.factory import artifact_store

        return artifact_store(self.config.artifacts).resolver

    @cached_property
    def inventory(self) -> Inventory:
        return Inventory(self.config.hosts, self.machines)

    @cached_property
    def _connections(self) -> Connections:
        _as_many_files_as_allowed()
        connections = Connections(self.config.ssh, self.inventory)
        self._stack.push_async_callback(connections.aclose)
        return connections

    @cached_property
    def hosts(self) -> SshHosts:
        return SshHosts(self._connections, self.config.layout, self.config.policy.timeouts)

    @cached_property
    def in_use(self) -> InUse:
        from pawl.adapters.hosts.inuse import UseReader

        # Units, files and processes of a host take it longer than its plain facts do.
        seconds = 3 * self.config.policy.timeouts.read
        return UseReader(self._connections, self.config.layout, seconds)

    @cached_property
    def oracle(self) -> Oracle:
        from pawl.adapters.hosts.oracle import CachedOracle

        return CachedOracle(self.artifacts, self.inventory.all())

    async def uses(self) -> tuple[HostUse, ...]:
        """What all hosts have in use."""
        return tuple(r.use for r in await self.in_use.read(self.inventory.all()))

    async def api_facts(self) -> ApiFacts:
        """What single release notes ask the API for."""
        from pawl.adapters.kube.access import api_facts

        return await api_facts(self._kube_client)

    @cached_property
    def _gateway(self) -> Gateway:
        gateway = Gateway(self.config.etcd, self.config.policy.timeouts.read)
        self._stack.push_async_callback(gateway.aclose)
        return gateway

    @cached_property
    def etcd(self) -> Etcd:
        return GatewayEtcd(
            self._gateway, lambda: self.inventory.with_role("etcd"), self.config.etcd.client_port
        )

    @cached_property
    def _kube_client(self) -> KubeClient:
        return self._client(self.config.policy.timeouts.read)

    @cached_property
    def _patient_client(self) -> KubeClient:
        """For long lists."""
        return self._client(max(SCAN_SECONDS, self.config.policy.timeouts.read))

    def _client(self, seconds: float) -> KubeClient:
        """`seconds`: the deadline of one request."""
        api = self.config.api
        client = KubeClient(
            Path(api.kubeconfig),
            api.endpoint,
            seconds,
            lambda: api_urls(self.config, self.inventory),
        )
        self._stack.push_async_callback(client.aclose)
        return client

    @cached_property
    def workloads(self) -> WorkloadReader:
        from pawl.adapters.kube.workloads import ApiWorkloads

        return ApiWorkloads(self._kube_client, self.clock)

    async def see_workloads(self, *, connections: bool) -> Workloads:
        """All facts of the workloads; `connections` of the hosts that are nodes too, over SSH."""
        from pawl.adapters.hosts.connections_seen import read_connections
        from pawl.adapters.kube.workloads import gather_workloads

        gatherer = await gather_workloads(self._kube_client, self.clock.now())
        if connections:
            known = set(gatherer.node_names)
            await self.inventory.refresh()
            hosts = [(h.name, h.node_name) for h in self.inventory.all()]
            wanted = [h for h in hosts if h[1] in known]
            seconds = 4 * self.config.policy.timeouts.read
            for node, seen in await read_connections(self._connections, wanted, seconds):
                if isinstance(seen, PawlError):
                    gatherer.unread(f"connections on {node}", str(seen))
                else:
                    gatherer.connections(node, seen)
        return gatherer.facts()

    @cached_property
    def kube(self) -> Kube:
        return ApiKube(self._kube_client)

    @cached_property
    def holders(self) -> Holders:
        return ApiHolders(self._kube_client, self.clock)

    @cached_property
    def leeway(self) -> Leeway:
        return ApiLeeway(self._kube_client, self.clock)

    @cached_property
    def lease(self) -> Lease:
        return ApiLease(self._kube_client, self.clock)

    @cached_property
    def balancer(self) -> HaproxyBalancer | None:
        config = self.config.load_balancer
        if config is None:
            return None
        return HaproxyBalancer(
            config,
            self._connections,
            self.hosts,
            lambda: self.inventory.with_role("control-plane"),
            self.config.api.port,
            self.config.policy.timeouts.read,
        )

    @cached_property
    def metrics(self) -> Metrics | None:
        """None where `metrics` is not configured."""
        config = self.config.metrics
        return PrometheusMetrics(self._http("the metrics server", config.url)) if config else None

    def _http(self, who: str, url: str) -> Http:
        config = self.config.metrics
        assert config is not None  # only asked for where it is configured
        http = Http(
            who,
            url,
            timeout=config.timeout,
            ca=config.ca,
            cert=config.cert,
            key=config.key,
            token_file=config.token_file,
            tenant=config.tenant,
        )
        self._stack.push_async_callback(http.aclose)
        return http

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        return effective(CATALOG, self.config.metrics.gates if self.config.metrics else {})

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        config = self.config.metrics
        return load_rules(config.rules, config.expected) if config else ()

    @cached_property
    def measurer(self) -> Measurer | None:
        config, metrics = self.config.metrics, self.metrics
        if config is None or metrics is None:
            return None
        return Measurer(
            metrics, config, self.gates, self.rules, window=self.config.policy.gates.window
        )

    @property
    def gates_digest(self) -> str:
        """What a proof of these gates holds for."""
        config = self.config.metrics
        more = (
            [config.step, config.rate_window, config.warm_up, config.placement] if config else None
        )
        return replay.digest(self.gates, self.rules, more)

    @property
    def proofs(self) -> ProofFile:
        return ProofFile(self.state_dir / "verify" / "history.json")

    @property
    def gating(self) -> Gating | None:
        policy = self.config.policy.gates
        if self.measurer is None or policy.mode == "off":
            return None
        held = ""
        if policy.mode == "watch":
            held = "because policy.gates.mode is watch."
        elif policy.mode == "proven":
            held = replay.unproven(
                self.proofs.load(), self.gates_digest, policy.false_alarms, self.clock.now()
            )
        return Gating(measurer=self.measurer, held=held)

    def packer(self, path: Path) -> Packer:
        """The checks of one pack; experiments in a lab only."""
        path = path.resolve()
        pack = load_pack(path)

        async def command(check: Check) -> Ended:
            return await commands.run(check.command(), path.parent, check.env, check.timeout)

        experiments = None
        if self.config.machines.provider == "lab":
            from pawl.interfaces.labs import open_lab
            from pawl.lab.chaos import Chaos

            experiments = Chaos(open_lab(self.config.machines.lab))
        return Packer(pack=pack, commands=command, experiments=experiments)

    @cached_property
    def packers(self) -> tuple[Packer, ...]:
        return tuple(self.packer(Path(p)) for p in self.config.policy.packs)

    @cached_property
    def silencing(self) -> Silencing | None:
        config = self.config.metrics
        if config is None or not config.alertmanager:
            return None
        silences = AlertmanagerSilences(self._http("Alertmanager", config.alertmanager))
        return Silencing(silences=silences, alerts=config.silenced, tail=config.silence_tail)

    @cached_property
    def observer(self) -> Observer:
        config, seconds = self.config, self.config.policy.timeouts.read
        return LiveObserver(
            config,
            inventory=self.inventory,
            hosts=HostReader(
                self._connections,
                config.layout,
                config.etcd.data_dir,
                seconds,
                clock=self.clock.now,
            ),
            etcd=EtcdReader(self._gateway, config.etcd.client_port),
            kube=self._kube_client,
            balancer=self.balancer,
            clock=self.clock,
        )

    async def observe(self) -> ClusterState:
        return await self.observer.observe()

    def scan_source(
        self, lens: Lens, state: ClusterState, files: Sequence[Path] = (), days: float = 7.0
    ) -> ScanSource:
        """What `pawl scan` reads of this cluster; `state` tells where the audit logs are."""
        from pawl.adapters.etcd.members import client_url
        from pawl.adapters.scan import LiveScan, Server, stored
        from pawl.adapters.scan.audit import of_flags

        config = self.config
        flags = [f for h in state.hosts if (f := h.flags.get("kube-apiserver", ()))]
        store = stored.of_flags(flags[0] if flags else ())
        members = [client_url(h, config.etcd.client_port) for h in self.inventory.with_role("etcd")]

        async def in_etcd(suspects: Sequence[Suspect]) -> tuple[ScanFact, ...]:
            return await stored.read(self._gateway, members, store, suspects)

        control_planes = self.inventory.with_role("control-plane")
        reached = {h.name: h for h in state.hosts if h.reachable}
        client = self._patient_client
        return LiveScan(
            client,
            lens,
            servers=[Server(host=h.name, url=own_url(h, config.api.port)) for h in control_planes],
            connections=self._connections,
            logs=[
                of_flags(h.name, reached[h.name].flags.get("kube-apiserver", ()))
                for h in control_planes
                if h.name in reached
            ],
            files=files,
            audit_days=days,
            stored=in_etcd,
        )

    def inventory_source(
        self,
        state: ClusterState | None = None,
        files: Sequence[Path] = (),
        days: float = 7.0,
        *,
        clients: bool = True,
    ) -> InventorySource:
        """What `pawl inventory` reads; `state` tells where audit logs and programs are, None: they
        are not looked at. Without `clients` the API servers' counts of calls are not either."""
        from pawl.adapters.inventory import LiveInventory, callers, metrics, processes

        config = self.config
        client = self._patient_client
        control_planes = self.inventory.with_role("control-plane")
        reached = {h.name: h for h in state.hosts if h.reachable} if state else {}
        logs = [
            (h.name, reached[h.name].flags.get("kube-apiserver", ()))
            for h in control_planes
            if h.name in reached
        ]
        nodes = {h.node_name: h.name for h in self.inventory.all() if h.name in reached}
        servers = [(h.name, own_url(h, config.api.port)) for h in control_planes]
        connections = self._connections if state else None

        async def called() -> callers.Answer:
            return await callers.read(logs, connections, files, days)

        async def programs(found: Sequence[WorkloadFact]) -> processes.Answer:
            return await processes.read(self._connections, nodes, found)

        async def counted() -> metrics.Answer:
            return await metrics.read(client, servers)

        return LiveInventory(
            client,
            servers=[url for _, url in servers],
            callers=called if logs or files else None,
            binaries=programs if nodes else None,
            metrics=counted if clients else None,
        )


@asynccontextmanager
async def open_session(given: Path | None) -> AsyncIterator[Session]:
    """Load the configuration (all its mistakes at once) and yield the session."""
    path = find_config(given)
    async with AsyncExitStack() as stack:
        yield Session(load_config(path), path, stack)
