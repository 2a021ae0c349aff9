"""pawl.yaml as types: what the cluster is made of, and how pawl reaches it.

The JSON Schema (`pawl config schema`) and the reference in docs/ are generated from these structs,
so the docstring of each is the documentation of its section. Paths are relative to the file.
Secrets never stand here: only the paths of the files that hold them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from pawl.core.pace import Pace

Role = Literal["etcd", "control-plane", "worker", "load-balancer"]
Seconds = Annotated[float, Meta(ge=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "cloud-controller-manager",
    "kubelet",
    "kube-proxy",
)


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class SshConfig(_Section, frozen=True, kw_only=True):
    """How pawl logs in to the hosts. Host keys are always verified against `known_hosts`."""

    user: str = "root"
    """Who logs in; anybody but root needs `sudo` without a password."""
    port: Port = 22
    """Of sshd, on all hosts."""
    key: str
    """Private key, without a passphrase."""
    known_hosts: str
    """The hosts' keys; read anew for each connection."""


class EtcdConfig(_Section, frozen=True, kw_only=True):
    """Client access to etcd. One endpoint for each member, https only."""

    ca: str
    """CA of the members' certificates."""
    cert: str
    """Client certificate that etcd's CA has signed."""
    key: str
    """Its private key."""
    client_port: Port = 2379
    """Where each member serves its clients."""
    data_dir: str = "/var/lib/etcd"
    """Of the members, on their hosts."""


class ApiConfig(_Section, frozen=True, kw_only=True):
    """`endpoint` is what users connect to (the load balancer); members are read by own address."""

    endpoint: str
    """Where users connect, https."""
    kubeconfig: str
    """An administrator's: pawl reads and changes with it."""
    port: Port = 6443
    """Of each API server at its own address."""


class LoadBalancerConfig(_Section, frozen=True, kw_only=True):
    """The balancer before the API servers. `haproxy` is driven by its runtime socket over SSH."""

    kind: Literal["haproxy"] = "haproxy"
    """What it is."""
    host: str
    """Its name in `hosts`."""
    backend: str = "apiservers"
    """The backend of the API servers."""
    socket: str = "/run/haproxy/admin.sock"
    """Its runtime socket, with the level admin."""
    config: str = "/etc/haproxy/haproxy.cfg"
    """Its file; servers that come and go are written there too."""


class MachinesConfig(_Section, frozen=True, kw_only=True):
    """Who makes and removes machines. `none`: pawl upgrades in place only."""

    provider: Literal["none", "lab"] = "none"
    """`lab`: machines of a lab."""
    lab: str = ""
    """The lab's name."""


class HostConfig(_Section, frozen=True, kw_only=True):
    """One machine. `node` is its Kubernetes node name where it differs from `name`."""

    name: str
    """What pawl calls it."""
    address: str
    """Where sshd and its components answer."""
    roles: tuple[Role, ...]
    """What runs there."""
    pool: str = "default"
    """Nodes of one pool are upgraded together, after a canary."""
    node: str = ""
    """Its node's name, where that is another."""

    @property
    def node_name(self) -> str:
        return self.node or self.name


class LayoutConfig(_Section, frozen=True, kw_only=True):
    """Where binaries, flags and units live on the hosts. `{component}` is replaced."""

    root: str = "/opt/pawl"
    """Binaries lie in ROOT/COMPONENT/VERSION, beside a link `current`."""
    flags: str = "/etc/kubernetes/{component}.env"
    """File that holds a component's flags."""
    etcd_flags: str = "/etc/etcd/etcd.env"
    """The same for etcd."""
    flags_variable: str = "FLAGS"
    """The variable in it that holds them."""
    unit: str = "{component}.service"
    """systemd unit of a component."""
    epoch: str = "/var/lib/pawl/epoch"
    """Where a host keeps the highest operator epoch that it has accepted."""
    proxy_health: Annotated[int, Meta(ge=1, le=65535)] = 10256
    """Port at which kube-proxy answers health checks (its --healthz-bind-address)."""

    def flags_file(self, component: str) -> str:
        return self.etcd_flags if component == "etcd" else self.flags.format(component=component)

    def unit_of(self, component: str) -> str:
        return self.unit.format(component=component)


class ArtifactsConfig(_Section, frozen=True, kw_only=True):
    """Where binaries come from, in order; the first source that has them wins."""

    local: str = ""
    """Directory of the source `local`."""
    sources: tuple[Literal["local", "cache", "download", "build"], ...] = (
        "local",
        "cache",
        "download",
        "build",
    )
    """Leave out what must not be used."""
    go_cache: str = ""
    """For builds: empty (private), `default`, or a directory."""
    max_cache_gb: Annotated[float, Meta(gt=0)] = 6.0
    """Bound of pawl's own cache."""


class BackupConfig(_Section, frozen=True, kw_only=True):
    """Where etcd snapshots go. A plan that touches etcd is refused without a place."""

    directory: str = ""
    """On this machine."""
    keep: Annotated[int, Meta(ge=1)] = 10
    """Snapshots that are kept, the newest."""


class SoakConfig(_Section, frozen=True, kw_only=True):
    """How long pawl watches before it passes a gate, in seconds."""

    etcd: Seconds = 900.0
    """Before the last member, while binary rollback is open (field practice: 15 min)."""
    control_plane: Seconds = 900.0
    """On the new binary with the old emulated version."""
    node: Seconds = 300.0
    """After the canary of a pool. Gates judge pods from `metrics.warm_up` after their start."""
    last: Seconds = 300.0
    """After the last nodes, before the run has landed, where measurements are judged: without it
    these nodes never are. 0: the run lands at once."""


class TimeoutConfig(_Section, frozen=True, kw_only=True):
    """Deadlines in seconds. Passing one means "unknown", never "failed": pawl observes again."""

    read: Seconds = 5.0
    """One reading of one source."""
    stop: Seconds = 120.0
    """An API server without --shutdown-watch-termination-grace-period waits 60 s for watches."""
    member_healthy: Seconds = 60.0
    """Until a swapped etcd member serves."""
    member_caught_up: Seconds = 300.0
    """Until it has what the leader has."""
    apiserver_ready: Seconds = 120.0
    """Until its /readyz is ok at its own address."""
    lb_drain: Seconds = 10.0
    """Until a drained API server gets no new connection."""
    node_ready: Seconds = 300.0
    """Until a node is Ready."""
    daemons: Seconds = 300.0
    """Until the DaemonSet pods of a new machine are Ready, so that pods may move there. A DaemonSet
    that is Ready on no other node is not waited for. 0: they are not asked."""
    proxy: Seconds = 30.0
    """Until kube-proxy of a new machine answers health checks, which is some time after the node is
    Ready (half a second in the lab). Later than that is told, and pods move there. 0: not asked."""
    eviction: Seconds = 900.0
    """How long nothing may move on a node that is emptied."""
    detach: Seconds = 300.0
    """Until no volume is attached to a node whose machine is to go; then the machine is kept, and a
    person looks at the VolumeAttachments."""
    machine: Seconds = 600.0
    """Until a machine that was made anew answers."""
    converge: Seconds = 30.0
    """Until etcd's cluster or storage version has moved."""
    stage: Seconds = 300.0
    """One upload, or one long piece of work on a host."""


class LimitConfig(_Section, frozen=True, kw_only=True):
    """Thresholds of the checks. Sources: docs/safety.md."""

    certificate_days: Annotated[float, Meta(ge=0)] = 30.0
    """Days that each certificate must still be valid."""
    clock_offset: Seconds = 1.0
    """Seconds that a host's clock may be off."""
    disk_free_ratio_of_db: Annotated[float, Meta(ge=1)] = 3.0
    """Free disk of an etcd member, in sizes of its database."""
    disk_free_bytes: Annotated[int, Meta(ge=0)] = 2_000_000_000
    """Free disk of every host."""
    etcd_quota_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.8
    """Share of its quota that an etcd database may use."""
    etcd_lag_entries: Annotated[int, Meta(ge=0)] = 5000
    """Entries that an etcd member may be behind its leader."""
    api_servers_left: Annotated[int, Meta(ge=1)] = 2
    """API servers that must stay in the load balancer while one is out. A cluster with a single
    API server is upgraded with an announced outage instead."""
    max_unavailable: Annotated[int, Meta(ge=1)] = 1
    """Nodes that are worked on at once, in place."""
    surge: Annotated[int, Meta(ge=1)] = 1
    """New nodes at a time, by replacement."""
    quarantine: Annotated[int, Meta(ge=0)] = 0
    """Nodes that may stay behind, closed and old, because they could not be emptied: each is
    reported, and the rest goes on. One more than that pauses the run."""


class GateConfig(_Section, frozen=True, kw_only=True):
    """One gate: numbers over a shipped gate of that name, or a gate of your own, which needs `kind`
    and `query`. What is left out stays as shipped. docs/verify.md says what each number does."""

    enabled: bool = True
    """No: not judged."""
    kind: Literal["compare", "trend", "limit"] | None = None
    """Beside old nodes, its growth, or a number."""
    query: str | None = None
    """PromQL; `$window` stands for the range of its rates."""
    by: Literal["pod", "node", "cluster"] | None = None
    """Whose series it is."""
    worse: Literal["up", "down", "both"] | None = None
    """Which way is bad."""
    ratio: Annotated[float, Meta(gt=0)] | None = None
    """Treatment / control that is still allowed; of a trend, the growth within an hour."""
    ratio_down: Annotated[float, Meta(gt=0)] | None = None
    """The same downwards."""
    change: Annotated[float, Meta(ge=0)] | None = None
    """Differences below this, in the query's unit, are never too much."""
    limit: float | None = None
    """What a `limit` must not pass twice in a row."""
    level: Literal["median", "mean"] | None = None
    """What of a series is compared."""
    spread: Annotated[float, Meta(gt=0)] | None = None
    """How much equal nodes are expected to differ, as a share of the level."""
    unit: Literal["s", "bytes", "ratio", "cores", "1/s", "count"] | None = None
    """How its numbers are printed."""
    required: bool | None = None
    """No data holds the run, even if this was never measured. Yes for a gate of your own."""


class MetricsConfig(_Section, frozen=True, kw_only=True):
    """A Prometheus-compatible server (Prometheus, Thanos, Mimir, VictoriaMetrics), read by the
    gates of `pawl verify` and of a run. Nothing is written there; without this section there are
    no gates."""

    url: str
    """What stands before /api/v1, e.g. https://prometheus.shop.example:9090."""
    ca: str = ""
    """CA of its certificate; the system's where empty."""
    cert: str = ""
    """Client certificate and key, where it asks for one."""
    key: str = ""
    """Its private key."""
    token_file: str = ""
    """File with a bearer token; read anew each time, and sent by https only."""
    tenant: str = ""
    """Sent as X-Scope-OrgID (Mimir, Cortex, Loki gateways)."""
    timeout: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds for one query."""
    step: Annotated[float, Meta(ge=1)] = 15.0
    """Seconds between samples; the scrape interval, or a multiple of it."""
    rate_window: Annotated[float, Meta(ge=1)] = 60.0
    """What `$window` stands for in queries, in seconds: four scrape intervals."""
    warm_up: Annotated[float, Meta(ge=0)] = 120.0
    """Seconds after its start in which a pod is not judged; for a trend, two and a half times that
    (field practice: 2 to 15 minutes)."""
    node_label: str = "node"
    """The label that holds a node's name in series by node."""
    placement: str = (
        "kube_pod_info unless on (namespace, pod) "
        '(kube_pod_status_phase{phase=~"Succeeded|Failed"} == 1)'
    )
    """PromQL whose series carry the labels namespace, pod and node: which pod runs where."""
    gates: dict[str, GateConfig] = field(default_factory=dict)
    """By name, over the shipped gates; see docs/verify.md."""
    gates_file: str = ""
    """The same mapping in a file of its own; what stands in pawl.yaml goes over it."""
    rules: tuple[str, ...] = ()
    """Files with Prometheus alerting rules; their expressions are judged, without their `for`."""
    server_rules: bool = False
    """Judge what the server's own alerting rules say too, from their pending state on."""
    expected: tuple[str, ...] = ("Watchdog", "InfoInhibitor", "KubeVersionMismatch")
    """Alerts that an upgrade may raise; KubeVersionMismatch is true in each one."""
    alertmanager: str = ""
    """URL of an Alertmanager in which the alerts of a machine are silenced while it is worked on;
    with the same CA, certificate and token."""
    silenced: tuple[str, ...] = (
        "KubeNodeNotReady",
        "KubeNodeUnreachable",
        "KubeletDown",
        "TargetDown",
        "NodeDown",
        "etcdMembersDown",
    )
    """Alerts that are silenced, for that machine alone."""
    silence_tail: Seconds = 300.0
    """Seconds in which they stay silenced after the work on it: as far as rules look back."""


class GatesConfig(_Section, frozen=True, kw_only=True):
    """Whether measurements may stop a run. Nothing happens where `metrics` is not set.

    `off`: not read. `watch`: read, told and reported, but nothing is stopped. `block`: a fail
    pauses the run, and so does what cannot be told. `proven`: block, once `pawl verify --history`
    has found these very gates to cry wolf at most `false_alarms` of the time; watch until then.
    """

    mode: Literal["off", "watch", "proven", "block"] = "proven"
    """See above."""
    false_alarms: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """Share of past windows in which the gates may have failed for nothing."""
    every: Annotated[float, Meta(ge=1)] = 30.0
    """Seconds between two looks; a fail counts when the next look says it too."""
    window: Annotated[float, Meta(ge=60)] = 3600.0
    """How far back a look reaches at most."""
    patience: Seconds = 900.0
    """How much longer a soak lasts until the gates can tell; then a person must."""
    on_fail: Literal["pause", "roll-back-nodes"] = "pause"
    """`roll-back-nodes`: nodes that carry the new kubelet go back by themselves after a fail."""


class PolicyConfig(_Section, frozen=True, kw_only=True):
    """How a run behaves: what needs a person, how long it watches and waits, what it allows."""

    approvals: tuple[Literal["plan", "etcd-last-member", "control-plane-finish"], ...] = (
        "plan",
        "etcd-last-member",
        "control-plane-finish",
    )
    """Which must be given with `pawl approve`; in a chain, each point of no return has its own."""
    soak: SoakConfig = field(default_factory=SoakConfig)
    timeouts: TimeoutConfig = field(default_factory=TimeoutConfig)
    limits: LimitConfig = field(default_factory=LimitConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    pace: Pace = field(default_factory=Pace)
    packs: tuple[str, ...] = ()
    """Verification packs that each run makes before, during and after; docs/verify.md."""
    durations: dict[str, Seconds] = field(default_factory=dict)
    """Predicted seconds by kind of step ("swap-api-server"), over pawl's own table."""
    attempts: Annotated[int, Meta(ge=1)] = 3
    """How often a failing step is tried before the run halts."""
    retry_delay: Seconds = 5.0
    """Seconds until it is tried again."""
    patience: Seconds = 600.0
    """How long a run waits for the cluster to be healthy again before it halts."""


class FindingsConfig(_Section, frozen=True, kw_only=True):
    """What `pawl plan` looks at before it plans, beside the live state. Each is on; one that is
    switched off is named in every plan. `waivers`, `corrections` and `addons` are files
    (docs/findings.md, docs/knowledge.md, docs/inventory.md); a file of waivers that is not there
    holds none."""

    scan: bool = True
    """The API's objects, their managers, Helm releases, metrics and audit logs (`pawl scan`)."""
    hosts: bool = True
    """Flags and configuration in use on the hosts."""
    binaries: bool = True
    """The target's binaries that lie on this machine, asked about what is in use."""
    changelog: bool = True
    """Urgent release notes on the way."""
    inventory: bool = True
    """Add-ons and charts, and whether they go along with each hop (`pawl inventory`)."""
    addons: tuple[str, ...] = ()
    """Your own rows for the add-on tables, for `pawl inventory` and `pawl watch` too."""
    waivers: str = ".pawl-waivers.yaml"
    """What somebody accepts, with owner and last day."""
    corrections: str = ""
    """Your corrections to the shipped tables."""


class ServiceProbe(_Section, frozen=True, kw_only=True):
    """A workload that the prober uses as its users do: a new connection for each request.

    Either fixed `urls` (tried in turn), or `node_port`: then the prober plays the cloud's load
    balancer and spreads requests over the nodes that are Ready and take new connections.
    """

    name: str
    """Its lane in the report."""
    urls: tuple[str, ...] = ()
    """Asked in turn."""
    node_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Its port on every node; 0 for none."""
    path: str = "/"
    """What is asked for there."""


class ProbesConfig(_Section, frozen=True, kw_only=True):
    """Traffic of the prober during a run, in requests a second, and what it may last."""

    services: tuple[ServiceProbe, ...] = ()
    """Workloads that are asked."""
    api_per_second: Annotated[float, Meta(ge=0)] = 10.0
    """On new connections, and as many on kept ones."""
    service_per_second: Annotated[float, Meta(ge=0)] = 5.0
    """To each service."""
    etcd_writes_per_second: Annotated[float, Meta(ge=0)] = 150.0
    """Of all writers together."""
    etcd_writers: Annotated[int, Meta(ge=1)] = 6
    """How many write at once."""
    deadline: Seconds = 10.0
    """Seconds after which a request has failed."""
    max_hours: Annotated[float, Meta(gt=0)] = 12.0
    """Then the prober ends by itself."""


class NotifierConfig(_Section, frozen=True, kw_only=True):
    """A way to tell an owner. Its secret never stands here: a file (0600) or an environment
    variable holds the webhook's URL, or the mail server's password.

    `webhook` posts JSON, `slack` a text in Slack's format, `email` speaks SMTP.
    """

    name: str
    """What the ownership file calls it."""
    kind: Literal["webhook", "slack", "email"]
    """See above."""
    url_file: str = ""
    """File that holds the URL."""
    url_env: str = ""
    """Variable that holds it instead."""
    server: str = ""
    """The mail server."""
    port: Port = 587
    """Its port."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """`none` on this machine only."""
    ca: str = ""
    """CA certificates (PEM) of the server, where they are not the system's."""
    user: str = ""
    """Who logs in there."""
    password_file: str = ""
    """File that holds the password."""
    password_env: str = ""
    """Variable that holds it instead."""
    sender: str = ""
    """Whom letters come from."""
    domains: tuple[str, ...] = ()
    """An owner who is an e-mail address in one of these domains is written to without standing in
    the ownership file."""
    timeout: Seconds = 10.0
    """Seconds for one delivery."""


class WatchConfig(_Section, frozen=True, kw_only=True):
    """What `pawl watch` looks for, how often, and how it tells owners."""

    to: str = ""
    """The minor that is planned for; the next one when left out."""
    deadline: str = ""
    """Day of the planned upgrade, such as 2027-01-31."""
    every: Annotated[float, Meta(ge=60)] = 21_600.0
    """Seconds between two rounds."""
    owners: str = ""
    """The ownership file; docs/inventory.md describes it."""
    waivers: str = ""
    """Waivers of what `pawl scan` and `pawl inventory` find; `findings.waivers` when left out."""
    digest_days: Annotated[float, Meta(ge=0)] = 7.0
    """How long after an owner's last letter all that is open is told again; 0 for never."""
    listen: str = "127.0.0.1:9464"
    """Where Prometheus metrics are served; empty for nowhere."""
    notifiers: tuple[NotifierConfig, ...] = ()


class Config(_Section, frozen=True, kw_only=True):
    """The whole of pawl.yaml."""

    cluster: str
    """Its name; a plan is for this cluster alone."""
    hosts: tuple[HostConfig, ...]
    """Every machine that pawl knows."""
    ssh: SshConfig
    etcd: EtcdConfig
    api: ApiConfig
    load_balancer: LoadBalancerConfig | None = None
    machines: MachinesConfig = field(default_factory=MachinesConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    artifacts: ArtifactsConfig = field(default_factory=ArtifactsConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    findings: FindingsConfig = field(default_factory=FindingsConfig)
    probes: ProbesConfig = field(default_factory=ProbesConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    metrics: MetricsConfig | None = None
    state: str = ".pawl"
    """Directory of the journal and evidence (0700)."""

    def host(self, name: str) -> HostConfig:
        for h in self.hosts:
            if h.name == name:
                return h
        raise KeyError(name)

    def with_role(self, role: Role) -> tuple[HostConfig, ...]:
        return tuple(h for h in self.hosts if role in h.roles)
