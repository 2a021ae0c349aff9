"""What the engine works with: every port of one cluster, and nothing that knows an adapter.

`pawl.interfaces.wiring.Session` is one; the simulator hands out another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pawl.core.config import Config
from pawl.engine.gatekeeping import Gating
from pawl.engine.silencing import Silencing
from pawl.ports.artifacts import Artifacts
from pawl.ports.balancer import Balancer
from pawl.ports.clock import Clock
from pawl.ports.etcd import Etcd
from pawl.ports.hosts import Hosts
from pawl.ports.journal import Journal
from pawl.ports.kube import Holders, Kube, Lease
from pawl.ports.leeway import Leeway
from pawl.ports.machines import Machines
from pawl.ports.observer import Observer
from pawl.ports.workloads import WorkloadReader


class Tools(Protocol):
    @property
    def config(self) -> Config: ...
    @property
    def path(self) -> Path:
        """The configuration file; relative paths in it start at its directory."""
        ...

    @property
    def clock(self) -> Clock: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def observer(self) -> Observer: ...
    @property
    def hosts(self) -> Hosts: ...
    @property
    def etcd(self) -> Etcd: ...
    @property
    def kube(self) -> Kube: ...
    @property
    def holders(self) -> Holders: ...
    @property
    def leeway(self) -> Leeway: ...
    @property
    def workloads(self) -> WorkloadReader: ...
    @property
    def lease(self) -> Lease: ...
    @property
    def balancer(self) -> Balancer | None: ...
    @property
    def machines(self) -> Machines | None: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def gating(self) -> Gating | None:
        """None where no metrics are configured, or gates are off."""
        ...

    @property
    def silencing(self) -> Silencing | None:
        """None where no Alertmanager is configured."""
        ...
