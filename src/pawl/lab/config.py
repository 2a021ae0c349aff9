"""The lab's pawl.yaml: the cluster as pawl is told of it, like any user's."""

from __future__ import annotations

import msgspec
import yaml

from pawl.core import config as c
from pawl.lab.roles.load_balancer import NODE_PORTS
from pawl.lab.spec import LabSpec, MachineSpec
from pawl.lab.store import LabDir, write

# The lab's soak times are short: its point is the order and the gates, not the patience.
_SOAK = c.SoakConfig(etcd=10, control_plane=10, node=5)


def build(lab: LabSpec, directory: LabDir, machines: list[MachineSpec]) -> c.Config:
    """The configuration with absolute paths, so that a copy of it works anywhere."""

    def roles(m: MachineSpec) -> tuple[c.Role, ...]:
        return ("control-plane", "etcd") if m.stacked else (m.role,)

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
        policy=c.PolicyConfig(soak=_SOAK, timeouts=c.TimeoutConfig(read=15, lb_drain=4)),
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
