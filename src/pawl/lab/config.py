"""The lab's pawl.yaml: the cluster as pawl is told of it, like any user's."""

from __future__ import annotations

from typing import cast

import msgspec
import yaml

from pawl.core import config as c
from pawl.lab import monitoring
from pawl.lab.roles.load_balancer import NODE_PORTS
from pawl.lab.spec import OF_THE_CLUSTER, LabSpec, MachineSpec
from pawl.lab.store import LabDir, write

# The lab's soak times are short: its point is the order and the gates, not the patience.
_SOAK = c.SoakConfig(etcd=10, control_plane=10, node=5, last=5)

# Gates that hold a run would ask for a soak in which new pods can be measured: here they watch.
_GATES = c.GatesConfig(mode="watch", every=10)


def _metrics(lab: LabSpec, directory: LabDir) -> c.MetricsConfig:
    """The lab's Prometheus. Its programs are small and warm at once, so pods are judged sooner than
    a user's would be."""
    return c.MetricsConfig(
        url=monitoring.url(lab),
        alertmanager=monitoring.url(lab, monitoring.ALERTMANAGER),
        ca=str(directory.pki / "ca.crt"),
        cert=str(directory.pki / "pawl-metrics-client.crt"),
        key=str(directory.pki / "pawl-metrics-client.key"),
        step=max(1.0, lab.scrape),
        # cAdvisor looks each 10 s, so a rate needs at least three times that to have two samples.
        rate_window=max(30.0, 4 * lab.scrape),
        warm_up=30,
    )


def build(lab: LabSpec, directory: LabDir, machines: list[MachineSpec]) -> c.Config:
    """The configuration with absolute paths, so that a copy of it works anywhere."""

    def roles(m: MachineSpec) -> tuple[c.Role, ...]:
        return ("control-plane", "etcd") if m.stacked else (cast(c.Role, m.role),)

    pki = directory.pki
    return c.Config(
        cluster=lab.name,
        hosts=tuple(
            c.HostConfig(
                name=m.name,
                address=str(lab.network.address(m.role, m.slot)),
                roles=roles(m),
                pool=m.pool,
            )
            for m in machines
            if m.role in OF_THE_CLUSTER
        ),
        ssh=c.SshConfig(
            key=str(directory.ssh / "id_ed25519"), known_hosts=str(directory.ssh / "known_hosts")
        ),
        etcd=c.EtcdConfig(
            ca=str(pki / "etcd-ca.crt"),
            cert=str(pki / "pawl-etcd-client.crt"),
            key=str(pki / "pawl-etcd-client.key"),
        ),
        api=c.ApiConfig(
            endpoint=f"https://{lab.network.load_balancer}:6443",
            kubeconfig=str(directory.kubeconfig),
        ),
        load_balancer=c.LoadBalancerConfig(host="lb"),
        machines=c.MachinesConfig(provider="lab", lab=lab.name),
        backup=c.BackupConfig(directory=str(directory.path / "backups")),
        # A dozen machines share a few cores here, so a busy moment must not look like a dead host.
        policy=c.PolicyConfig(
            soak=_SOAK,
            timeouts=c.TimeoutConfig(read=15, lb_drain=4, member_healthy=180, converge=120),
            gates=_GATES if lab.scrape else c.GatesConfig(),
        ),
        metrics=_metrics(lab, directory) if lab.scrape else None,
        probes=c.ProbesConfig(
            services=tuple(
                c.ServiceProbe(name=name, urls=(f"http://{lab.network.load_balancer}:{port}/",))
                for name, port in NODE_PORTS.items()
            )
        ),
        state=str(directory.path / "state"),
    )


def save(lab: LabSpec, directory: LabDir, machines: list[MachineSpec]) -> None:
    """Write pawl.yaml; one that a person changed keeps everything but its list of hosts."""
    data = msgspec.to_builtins(build(lab, directory, machines))
    try:
        kept = yaml.safe_load(directory.config.read_text())
    except (OSError, yaml.YAMLError):
        kept = None
    if isinstance(kept, dict) and kept.get("cluster") == lab.name:
        data = {**kept, "hosts": data["hosts"]}
    head = f"# Written by `pawl lab` for the lab {lab.name!r}.\n"
    write(directory.config, head + yaml.safe_dump(data, sort_keys=False), 0o600)
