"""Addresses of a lab: everything inside 198.18.0.0/15.

RFC 2544 reserves that range for benchmarks, so it is never somebody's network. Each lab takes one
index of 64 and with it three slices that no other lab has: a /24 for hosts, a /24 for Services
and a /22 for pods, cut into 32 node ranges of 29 pods. Addresses follow from the role and number
of a machine alone, so every machine can be given all static pod routes when its interface is made,
as a cloud's route table would: adding a worker changes no other machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

MAX_LABS = 64
MAX_WORKERS = 32

# role -> (first host number, how many); .1 is the host itself.
_HOSTS = {
    "load-balancer": (10, 1),
    "monitoring": (11, 1),
    "etcd": (21, 20),
    "control-plane": (51, 20),
    "worker": (101, MAX_WORKERS),
}


def capacity(role: str) -> int:
    """How many machines of `role` a lab can hold at once."""
    return _HOSTS[role][1]


@dataclass(frozen=True, slots=True)
class Network:
    """The three slices of lab number `index`."""

    index: int

    @property
    def hosts(self) -> IPv4Network:
        return IPv4Network(f"198.18.{self.index}.0/24")

    @property
    def services(self) -> IPv4Network:
        return IPv4Network(f"198.18.{MAX_LABS + self.index}.0/24")

    @property
    def pods(self) -> IPv4Network:
        return IPv4Network(f"198.19.{4 * self.index}.0/22")

    @property
    def gateway(self) -> IPv4Address:
        """The host's own address on the lab's bridge."""
        return self.hosts[1]

    @property
    def load_balancer(self) -> IPv4Address:
        return self.hosts[_HOSTS["load-balancer"][0]]

    @property
    def monitoring(self) -> IPv4Address:
        return self.hosts[_HOSTS["monitoring"][0]]

    @property
    def api_service(self) -> IPv4Address:
        """The `kubernetes` Service takes the first address of the Service range."""
        return self.services[1]

    def address(self, role: str, slot: int) -> IPv4Address:
        """Address of machine `slot` (from 0) of `role`."""
        first, count = _HOSTS[role]
        if not 0 <= slot < count:
            raise ValueError(f"a lab holds {count} machines of role {role}, not number {slot + 1}")
        return self.hosts[first + slot]

    def node_pods(self, slot: int) -> IPv4Network:
        """Pod range of worker `slot`."""
        return list(self.pods.subnets(new_prefix=27))[slot]

    @property
    def bridge(self) -> str:
        return f"pawl{self.index}"

    def interface(self, role: str, slot: int) -> str:
        """Name of the host's end of a machine's cable (15 characters at most)."""
        return f"pawl{self.index}-{int(self.address(role, slot)) & 0xFF}"
