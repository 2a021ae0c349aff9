"""`pawl lab`: a real cluster of VM-like machines on this machine."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import App, Parameter

from pawl.core.errors import ConfigError
from pawl.interfaces.cli.options import Format, Output
from pawl.interfaces.cli.tabular import emit
from pawl.interfaces.labs import open_lab
from pawl.lab import load as traffic
from pawl.lab.addressing import capacity
from pawl.lab.spec import LabRole, LabSpec, Topology
from pawl.lab.store import default_root, labs
from pawl.lab.versions import resolve

Name = Annotated[str, Parameter(name="--name", help="Which lab.")]
Machine = Annotated[str, Parameter(help="Its name.")]

DEFAULT = "lab"
K8S_DEFAULT = ("kubernetes", "1.36")
ETCD_DEFAULT = ("etcd", "3.5")

app = App(
    name="lab",
    help=(
        "A real cluster on this machine: systemd hosts with real etcd, Kubernetes, containerd and "
        "HAProxy, each with its own SSH server, address and disks. Needs root."
    ),
)
machine = App(name="machine", help="Single machines of a lab.")
app.command(machine)


def _print(rows: list[dict[str, Any]], output: Format) -> None:
    emit(rows, tuple(rows[0]) if rows else (), output)


@app.command
def up(
    *,
    name: Name = DEFAULT,
    kubernetes: Annotated[str, Parameter(help="Minor or exact version.")] = K8S_DEFAULT[1],
    etcd: Annotated[str, Parameter(help="Minor or exact version.")] = ETCD_DEFAULT[1],
    topology: Annotated[Topology, Parameter(help="etcd on own machines, or stacked.")] = "external",
    control_planes: Annotated[int, Parameter(help="How many machines.")] = 3,
    etcd_members: Annotated[int, Parameter(help="External topology only.")] = 3,
    workers: Annotated[int, Parameter(help="How many machines.")] = 3,
    encryption: Annotated[bool, Parameter(help="Encrypt Secrets at rest.", negative=())] = False,
    monitoring: Annotated[
        bool, Parameter(help="A Prometheus on a machine of its own.", negative=())
    ] = False,
    scrape: Annotated[float, Parameter(help="Seconds between two of its readings.")] = 5.0,
) -> None:
    """Raise a lab; after an interruption, or with a broken machine, mend it.

    A lab that exists keeps what it was made with.

    For example:

        pawl lab up
        pawl lab up --name small --control-planes 1 --etcd-members 1 --workers 1
        pawl lab up --monitoring --scrape 2
        pawl lab up --name stacked --topology stacked --kubernetes 1.37 --etcd 3.6
    """
    problems = [
        f"--{option} {given}: must be from {least} to {capacity(role)}"
        for option, given, least, role in (
            ("control-planes", control_planes, 1, "control-plane"),
            ("etcd-members", etcd_members, 1, "etcd"),
            ("workers", workers, 0, "worker"),
        )
        if not least <= given <= capacity(role)
    ]
    if not 1 <= scrape <= 60:
        problems.append(f"--scrape {scrape:g}: must be from 1 to 60 seconds")
    if problems:
        raise ConfigError("pawl lab up", problems)
    wanted = LabSpec(
        name=name,
        index=0,
        versions={
            "kubernetes": resolve("kubernetes", kubernetes),
            "etcd": resolve("etcd", etcd),
        },
        topology=topology,
        control_planes=control_planes,
        etcd_members=etcd_members,
        workers=workers,
        encryption=encryption,
        scrape=scrape if monitoring else 0.0,
    )
    lab = open_lab(name)
    if name in labs(default_root()):
        for line in kept(lab.spec, wanted):
            print(line, file=sys.stderr)
    lab.up(wanted)


SETTINGS = ("topology", "control_planes", "etcd_members", "workers", "encryption", "scrape")


def kept(there: LabSpec, wanted: LabSpec) -> list[str]:
    """What was asked for of a lab that exists and is made otherwise, a sentence each. What stands
    at its default was not asked for."""
    plain = LabSpec(
        name="", index=0, versions={p: resolve(p, v) for p, v in (K8S_DEFAULT, ETCD_DEFAULT)}
    )
    found = [
        (name.replace("_", "-"), getattr(wanted, name), getattr(there, name), getattr(plain, name))
        for name in SETTINGS
    ]
    found += [(p, wanted.versions[p], there.versions[p], plain.versions[p]) for p in plain.versions]
    return [
        f"lab {wanted.name} exists and keeps what it was made with: {name} {is_}, and not {asked}"
        for name, asked, is_, default in found
        if asked not in (is_, default)
    ]


@app.command
def down(*, name: Name = DEFAULT) -> None:
    """Take a lab down: no process, namespace, mount or file of it stays.

    For example:

        pawl lab down --name small
    """
    there = name in labs(default_root())
    open_lab(name).down()  # also what a lab without a record has left behind
    if not there:
        print(f"there was no lab {name!r} (labs: {_known()})", file=sys.stderr)


def _known() -> str:
    return ", ".join(labs(default_root())) or "none"


@app.command(name="list")
def list_(*, output: Output = "table") -> None:
    """All labs of this machine.

    For example:

        pawl lab list -o json
    """
    rows = []
    for name in labs(default_root()):
        spec = open_lab(name).spec
        rows.append(
            {
                "name": name,
                "topology": spec.topology,
                "versions": spec.versions,
                "hosts": str(spec.network.hosts),
            }
        )
    if not rows:
        print("no labs; `pawl lab up` makes one", file=sys.stderr)
    if rows or output != "table":
        _print(rows, output)


@app.command
def status(*, name: Name = DEFAULT, output: Output = "table") -> int:
    """Every machine: does it run, does it serve. Exit code 1 if one does not.

    Versions are those of the machine's image; what really runs is told by `pawl status`.

    For example:

        pawl lab status --name small -o json
    """
    found = open_lab(name).status()
    _print([msgspec.to_builtins(m) for m in found], output)
    return 0 if all(m.serving for m in found) else 1


@app.command
def config(*, name: Name = DEFAULT) -> None:
    """Print the path of the lab's pawl.yaml.

    For example:

        pawl status --config "$(pawl lab config)"
    """
    lab = open_lab(name)
    lab.dir.read()
    print(lab.dir.config)


@app.command
def kubeconfig(*, name: Name = DEFAULT) -> None:
    """Print the path of the administrator's kubeconfig, which goes through the load balancer.

    For example:

        kubectl --kubeconfig "$(pawl lab kubeconfig)" get nodes
    """
    lab = open_lab(name)
    lab.dir.read()
    print(lab.dir.kubeconfig)


@app.command
def ssh(
    host: Annotated[str, Parameter(help="Name of the machine.")],
    /,
    *command: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="What to run there; a shell without it.")
    ],
    name: Name = DEFAULT,
) -> None:
    """Log in to a machine, or run a command there.

    For example:

        pawl lab ssh etcd-1
        pawl lab ssh --name small worker-1 -- journalctl -u kubelet -n 20
    """
    lab = open_lab(name)
    address = lab.machine(host).address()
    words = ["ssh", "-i", str(lab.dir.ssh / "id_ed25519")]
    words += ["-o", f"UserKnownHostsFile={lab.dir.ssh / 'known_hosts'}", "-o", "LogLevel=ERROR"]
    words += ["-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", f"root@{address}"]
    os.execvp("ssh", [*words, "--", *command] if command else words)


@app.command
def load(
    *,
    name: Name = DEFAULT,
    rate: Annotated[int, Parameter(help="Requests a second and workload, at most 200.")] = 20,
    seconds: Annotated[float, Parameter(help="How long.")] = 10.0,
    output: Output = "table",
) -> int:
    """Send bounded traffic to the workloads. Exit code 1 if a request failed.

    For example:

        pawl lab load --rate 50 --seconds 30
    """
    if not 1 <= rate <= traffic.MAX_RATE or seconds <= 0:
        raise ConfigError(
            "pawl lab load",
            [
                f"--rate {rate} --seconds {seconds:g}: from 1 to {traffic.MAX_RATE} requests a "
                "second (the lab shares this machine with them), for more than 0 seconds"
            ],
        )
    found = anyio.run(lambda: traffic.send(open_lab(name).spec, rate=rate, seconds=seconds))
    _print([msgspec.to_builtins(t) for t in found], output)
    return 1 if any(t.failed for t in found) else 0


def _image(
    kubernetes: str | None, etcd: str | None, flag: tuple[str, ...] | None
) -> tuple[dict[str, str], dict[str, tuple[str, ...]] | None]:
    versions = {
        product: resolve(product, asked)
        for product, asked in (("kubernetes", kubernetes), ("etcd", etcd))
        if asked
    }
    if flag is None:
        return versions, None
    flags: dict[str, tuple[str, ...]] = {}
    for entry in flag:
        component, found, text = entry.partition(":")
        if not found or not text.startswith("--") or " " in text:
            raise ConfigError("--flag", [f"{entry!r} is not COMPONENT:--flag=value"])
        flags[component] = (*flags.get(component, ()), text)
    return versions, flags


Kubernetes = Annotated[str | None, Parameter(name="--kubernetes", help="Version of its image.")]
Etcd = Annotated[str | None, Parameter(name="--etcd", help="Version of its image.")]
Flag = Annotated[
    tuple[str, ...] | None,
    Parameter(name="--flag", help="COMPONENT:--flag=value, as cloud-init sets it.", negative=()),
]


@machine.command
def add(
    machine_name: Machine,
    /,
    *,
    role: Annotated[LabRole, Parameter(help="What it shall be.")],
    pool: Annotated[str, Parameter(help="Of its node.")] = "default",
    name: Name = DEFAULT,
    kubernetes: Kubernetes = None,
    etcd: Etcd = None,
    flag: Flag = None,
) -> None:
    """Add a machine. It comes up by itself; an API server must still enter the load balancer.

    For example:

        pawl lab machine add worker-4 --role worker --kubernetes 1.37
    """
    versions, flags = _image(kubernetes, etcd, flag)
    open_lab(name).add(machine_name, role, pool=pool, versions=versions, flags=flags)


@machine.command
def replace(
    machine_name: Machine,
    /,
    *,
    name: Name = DEFAULT,
    kubernetes: Kubernetes = None,
    etcd: Etcd = None,
    flag: Flag = None,
    blank_disk: Annotated[
        bool, Parameter(help="Lose the data disk too: a fault to test.", negative=())
    ] = False,
) -> None:
    """Throw a machine away and make it anew: same name, address and data disk.

    For example:

        pawl lab machine replace etcd-2 --etcd 3.6
        pawl lab machine replace cp-1 --kubernetes 1.37 \\
            --flag kube-apiserver:--emulated-version=1.36
    """
    versions, flags = _image(kubernetes, etcd, flag)
    open_lab(name).replace(machine_name, versions=versions, flags=flags, blank_disk=blank_disk)


@machine.command
def remove(machine_name: Machine, /, *, name: Name = DEFAULT) -> None:
    """Remove a machine with its disks and its address.

    For example:

        pawl lab machine remove worker-4
    """
    lab = open_lab(name)
    lab.machine(machine_name)
    lab.remove(machine_name)


@machine.command(name="power-off")
def power_off(
    machine_name: Machine,
    /,
    *,
    name: Name = DEFAULT,
    gracefully: Annotated[
        bool, Parameter(help="Press the power button instead of pulling the plug.", negative=())
    ] = False,
) -> None:
    """Pull a machine's plug.

    For example:

        pawl lab machine power-off cp-2
    """
    open_lab(name).power_off(machine_name, gracefully=gracefully)


@machine.command(name="power-on")
def power_on(machine_name: Machine, /, *, name: Name = DEFAULT) -> None:
    """Start a machine that is off; returns when its SSH server answers.

    For example:

        pawl lab machine power-on cp-2
    """
    open_lab(name).power_on(machine_name)


@machine.command
def reboot(machine_name: Machine, /, *, name: Name = DEFAULT) -> None:
    """Power cut and start; for an orderly reboot use `pawl lab ssh NAME reboot`.

    For example:

        pawl lab machine reboot worker-1
    """
    open_lab(name).reboot(machine_name)
