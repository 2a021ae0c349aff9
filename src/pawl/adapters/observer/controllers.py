"""Controller-manager, scheduler and cloud-controller-manager, one of each per host that has it.

Their version is that of the binary their process was started from: what `current` names would run
next, not what runs. Which of them leads is told by the Lease of its name, whose holder identity
begins with the host's name (client-go's leader election: "<hostname>_<uuid>").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pawl.core.holders import host_of
from pawl.core.model import Controller, Host

COMPONENTS = ("kube-controller-manager", "kube-scheduler", "cloud-controller-manager")


def leaders_in(controllers: Sequence[Controller]) -> dict[str, str]:
    """Component -> host of its leader, as an earlier reading found them."""
    return {c.component: c.host for c in controllers if c.leader}


def controllers_of(hosts: Sequence[Host], leases: Mapping[str, str]) -> tuple[Controller, ...]:
    found: list[Controller] = []
    for component in COMPONENTS:
        leader = host_of(leases.get(component, ""))
        for host in hosts:
            unit = host.unit(f"{component}.service")
            if "control-plane" not in host.roles or not (unit or component in host.current):
                continue
            found.append(
                Controller(
                    component=component,
                    host=host.name,
                    version=host.running.get(component),
                    healthy=unit is not None and unit.active == "active",
                    leader=leader == host.name,
                )
            )
    return tuple(found)
