"""First-boot configuration: what cloud-init would write on a machine made from an image.

`render` is given the machine's spec and everything of the lab that it may know, and returns files.
Nothing is computed on the machine, so a machine that is made anew comes up by itself with the
flags, certificates and units of its role.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from pawl.core.config import LayoutConfig
from pawl.lab.pki import Pki, ssh_key
from pawl.lab.spec import LabSpec, MachineSpec


class File(msgspec.Struct, frozen=True):
    """One file of a machine, owned by root."""

    content: bytes
    mode: int = 0o644


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine may know of its lab."""

    lab: LabSpec
    machine: MachineSpec
    machines: tuple[MachineSpec, ...]
    pki: Pki
    ssh: Path

    def address(self, machine: MachineSpec | None = None) -> str:
        m = machine or self.machine
        return str(self.lab.network.address(m.role, m.slot))

    @property
    def api(self) -> str:
        """What clients connect to: the load balancer."""
        return f"https://{self.lab.network.load_balancer}:6443"

    def with_etcd(self) -> list[MachineSpec]:
        return [m for m in self.machines if m.has_etcd]


class Files(dict[str, File]):
    """Absolute path -> file, with the few shapes that the roles share."""

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        self[path] = File(content.encode(), mode)

    def pair(self, stem: str, certificate_and_key: tuple[bytes, bytes]) -> None:
        self[f"{stem}.crt"] = File(certificate_and_key[0])
        self[f"{stem}.key"] = File(certificate_and_key[1], 0o600)

    def flags(self, seed: Seed, component: str, flags: Sequence[str]) -> None:
        """The component's flags file; flags of the machine's image come last, so they win."""
        extra = seed.machine.flags.get(component, ())
        named = {f.split("=", 1)[0] for f in extra}
        line = " ".join([*(f for f in flags if f.split("=", 1)[0] not in named), *extra])
        directory = "/etc/etcd" if component == "etcd" else "/etc/kubernetes"
        self.text(f"{directory}/{component}.env", f"FLAGS={line}\n")

    def enable(self, *units: str) -> None:
        """Units that start at boot; written as links (see `Machine.write`)."""
        for unit in units:
            self[f"/etc/systemd/system/multi-user.target.wants/{unit}"] = File(
                f"/etc/systemd/system/{unit}".encode(), LINK
            )


LINK = -1
"""Mode of a `File` whose content is the target of a symbolic link."""


def render(seed: Seed) -> Files:
    """Everything that makes the image into this machine."""
    from pawl.lab.roles import ROLES  # the roles import the shapes above

    files = Files()
    _host(seed, files)
    ROLES[seed.machine.role](seed, files)
    if seed.machine.stacked:
        ROLES["etcd"](seed, files)
    return files


def _host(seed: Seed, files: Files) -> None:
    name = seed.machine.name
    files.text("/etc/hostname", f"{name}\n")
    files.text("/etc/machine-id", f"{seed.machine.identity}\n", 0o444)
    files.text("/etc/resolv.conf", "")
    if seed.machine.epoch:
        files.text(LayoutConfig().epoch, f"{seed.machine.epoch}\n")
    files.text(
        "/etc/hosts",
        "127.0.0.1 localhost\n" + "".join(f"{seed.address(m)} {m.name}\n" for m in seed.machines),
    )
    host_key = seed.ssh / "hosts" / name
    public = ssh_key(host_key, name)
    files["/etc/ssh/ssh_host_ed25519_key"] = File(host_key.read_bytes(), 0o600)
    files["/etc/ssh/ssh_host_ed25519_key.pub"] = File(public)
    files["/etc/ssh/authorized_keys"] = File(ssh_key(seed.ssh / "id_ed25519", "pawl-lab"), 0o600)
    files.text(
        "/etc/ssh/sshd_config",
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "AuthorizedKeysFile /etc/ssh/authorized_keys\n"
        "AuthenticationMethods publickey\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "UseDNS no\nPrintMotd no\nMaxStartups 200:30:400\nMaxSessions 200\n"
        "Subsystem sftp /usr/lib/openssh/sftp-server\n",
        0o600,
    )
    files.text(
        "/etc/systemd/journald.conf.d/lab.conf",
        "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitIntervalSec=0\n"
        "ForwardToSyslog=no\nForwardToConsole=no\n",
    )
    files.text("/etc/systemd/system.conf.d/lab.conf", "[Manager]\nDefaultTasksMax=infinity\n")
    files.text(
        "/etc/profile.d/pawl.sh",
        "export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 "
        "ETCDCTL_CACERT=/etc/etcd/pki/ca.crt ETCDCTL_CERT=/etc/etcd/pki/member.crt "
        "ETCDCTL_KEY=/etc/etcd/pki/member.key\n"
        if seed.machine.has_etcd
        else "",
    )


def kubeconfig(server: str, ca: bytes, pair: tuple[bytes, bytes], user: str) -> str:
    """A kubeconfig (JSON is YAML) with everything inside."""
    import base64
    import json

    def b64(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {"server": server, "certificate-authority-data": b64(ca)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": b64(pair[0]),
                        "client-key-data": b64(pair[1]),
                    },
                }
            ],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        },
        indent=1,
    )
