"""Bridges, namespaces and cables: a machine's network interface, which outlives the machine.

The namespace `pawl.LAB.MACHINE` holds the address and all static pod routes, and stays when the
machine is thrown away and made anew: that is what "same network interface" means in the lab. The
dots cannot stand in names of labs or machines, so no lab's namespaces look like another's.
"""

from __future__ import annotations

import json
from pathlib import Path

from pawl.lab.addressing import MAX_LABS, MAX_WORKERS, Network
from pawl.lab.shell import run
from pawl.lab.spec import MachineSpec

NETNS = Path("/run/netns")
_ALIAS = "pawl-lab:"


def netns(lab: str, machine: str) -> str:
    return f"pawl.{lab}.{machine}"


def netns_of(lab: str) -> list[str]:
    """Namespaces that belong to the lab, also those of machines that are forgotten."""
    if not NETNS.is_dir():
        return []
    return sorted(p.name for p in NETNS.iterdir() if p.name.startswith(f"pawl.{lab}."))


def _links() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run(["ip", "-j", "link", "show"]))
    return found


def used_indexes() -> dict[int, str]:
    """Lab indexes whose bridge exists, with the name of the lab that made it."""
    names = {f"pawl{i}": i for i in range(MAX_LABS)}
    return {
        names[str(link["ifname"])]: str(link.get("ifalias", "")).removeprefix(_ALIAS)
        for link in _links()
        if link["ifname"] in names
    }


def ensure_bridge(lab: str, network: Network) -> None:
    """Make the lab's bridge with the host's address on it, or bring it back to that."""
    bridge = network.bridge
    if bridge not in {link["ifname"] for link in _links()}:
        run(["ip", "link", "add", bridge, "type", "bridge"])
    run(["ip", "link", "set", bridge, "up", "alias", _ALIAS + lab])
    run(["ip", "addr", "replace", f"{network.gateway}/24", "dev", bridge])


def remove_bridges(lab: str) -> None:
    for link in _links():
        if link.get("ifalias") == _ALIAS + lab:
            run(["ip", "link", "del", str(link["ifname"])], check=False)


def ensure_interface(lab: str, network: Network, machine: MachineSpec) -> Path:
    """The machine's namespace with its address and routes; returns its path.

    Idempotent: an interrupted attempt lacks the mark that is set last, and is made anew.
    """
    name = netns(lab, machine.name)
    path = NETNS / name
    address = network.address(machine.role, machine.slot)
    if path.exists() and _complete(name, str(address)):
        return path
    remove_interface(lab, machine.name)
    cable = network.interface(machine.role, machine.slot)
    run(["ip", "link", "del", cable], check=False)
    run(["ip", "netns", "add", name])
    run(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name])
    run(["ip", "link", "set", cable, "master", network.bridge, "up"])
    # Settings of the namespace, not of the host: forwarding for pods, and addresses at once.
    run(
        [
            *("nsenter", f"--net={path}", "sysctl", "-qw"),
            *("net.ipv4.ip_forward=1", "net.ipv6.conf.all.disable_ipv6=1"),
        ]
    )
    batch = [
        "link set lo up",
        f"addr add {address}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {network.gateway}",
    ]
    for slot in reversed(range(MAX_WORKERS)):
        via = network.address("worker", slot)
        if via != address:
            batch.append(f"route add {network.node_pods(slot)} via {via}")
    batch.append("link set eth0 alias ready")
    run(["ip", "-n", name, "-batch", "-"], stdin="\n".join(batch) + "\n")
    return path


def _complete(name: str, address: str) -> bool:
    shown = run(["ip", "-n", name, "addr", "show", "dev", "eth0"], check=False)
    return f" {address}/24 " in shown and "alias ready" in shown


def remove_interface(lab: str, machine: str) -> None:
    """Remove the namespace; the kernel removes the cable with it."""
    name = netns(lab, machine)
    if (NETNS / name).exists():
        run(["ip", "netns", "del", name])
