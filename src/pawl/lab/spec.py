"""What a lab and its machines are, as plain data kept in JSON files.

A lab has no daemon and no database: `lab.json` says what was asked for, one `spec.json` per machine
says what that machine is, and everything else (running, ready) is read from the kernel and from
the programs themselves. That is what lets an interrupted command be mended by repeating it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from pawl.core.errors import Refused
from pawl.lab.addressing import Network, capacity
from pawl.lab.versions import MONITORING

LabRole = Literal["etcd", "control-plane", "worker", "load-balancer", "monitoring"]
OF_THE_CLUSTER: tuple[LabRole, ...] = ("etcd", "control-plane", "worker", "load-balancer")
"""Roles of machines that pawl is told of; what watches the cluster is none of its hosts."""
Topology = Literal["external", "stacked"]

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")


def check_name(kind: str, name: str) -> str:
    """Names become host names, namespaces and directories: RFC 1123 labels of up to 32 letters."""
    if not _NAME.match(name):
        raise Refused(
            [
                f"{kind} name {name!r} must be 1 to 32 lower-case letters, digits or inner "
                "hyphens, because it becomes a host name and a network namespace"
            ]
        )
    return name


class MachineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One machine: its place in the lab (kept over a replace) and its image (may change).

    `identity` is new for each machine that is made, like a cloud's instance id. `flags` are the
    extra flags of components that its cloud-init sets, `epoch` the operator epoch that it writes.
    """

    name: str
    role: LabRole
    slot: int
    pool: str = "default"
    versions: dict[str, str]
    flags: dict[str, tuple[str, ...]] = {}
    epoch: int = 0
    identity: str = ""
    etcd_state: Literal["new", "existing"] = "existing"
    stacked: bool = False

    @property
    def has_etcd(self) -> bool:
        return self.role == "etcd" or (self.role == "control-plane" and self.stacked)

    @property
    def components(self) -> dict[str, str]:
        """Component and version for everything that runs on it by pawl's layout."""
        kubernetes = {
            "control-plane": ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
            "worker": ("kubelet", "kube-proxy"),
        }.get(self.role, ())
        if self.role == "monitoring":
            return dict(self.versions)
        found = dict.fromkeys(kubernetes, self.versions["kubernetes"])
        if self.has_etcd:
            found["etcd"] = self.versions["etcd"]
        return found


class LabSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What `pawl lab up` was asked for. Versions are exact."""

    name: str
    index: int
    versions: dict[str, str]
    topology: Topology = "external"
    control_planes: int = 3
    etcd_members: int = 3
    workers: int = 3
    encryption: bool = False
    scrape: float = 0.0
    """Seconds between two readings of the lab's Prometheus; 0 for a lab without one."""
    token: str = ""
    """Random, fixed for the lab's life: etcd's initial cluster token."""

    @property
    def network(self) -> Network:
        return Network(self.index)

    def wanted(self) -> list[MachineSpec]:
        """The machines of a fresh lab, in boot order."""
        stacked = self.topology == "stacked"

        def make(
            role: LabRole,
            stem: str,
            count: int,
            state: str = "existing",
            versions: Mapping[str, str] = self.versions,
        ) -> list[MachineSpec]:
            return [
                MachineSpec(
                    name=stem if capacity(role) == 1 else f"{stem}-{n + 1}",
                    role=role,
                    slot=n,
                    versions=dict(versions),
                    etcd_state="new" if state == "new" else "existing",
                    stacked=stacked and role == "control-plane",
                )
                for n in range(count)
            ]

        return [
            *make("etcd", "etcd", 0 if stacked else self.etcd_members, "new"),
            *make("control-plane", "cp", self.control_planes, "new"),
            *make("load-balancer", "lb", 1),
            *make("monitoring", "monitor", int(self.scrape > 0), versions=MONITORING),
            *make("worker", "worker", self.workers),
        ]
