"""What each role adds to a machine, one module a role."""

from __future__ import annotations

from collections.abc import Callable

from pawl.lab.cloudinit import Files, Seed
from pawl.lab.roles import control_plane, etcd, load_balancer, monitoring, worker

ROLES: dict[str, Callable[[Seed, Files], None]] = {
    "etcd": etcd.render,
    "control-plane": control_plane.render,
    "load-balancer": load_balancer.render,
    "monitoring": monitoring.render,
    "worker": worker.render,
}
