"""What a host says of itself, by one remote command per observation."""

from __future__ import annotations

import base64
import posixpath
import time
from collections.abc import Callable, Sequence
from importlib import resources

import msgspec
from cryptography import x509

from pawl.adapters.hosts import flagsfile
from pawl.adapters.hosts.connection import Connections
from pawl.core.config import COMPONENTS, HostConfig, LayoutConfig, Role
from pawl.core.errors import Unreachable
from pawl.core.model import Certificate, Host, UnitState

SCRIPT = resources.files("pawl.adapters.hosts").joinpath("facts.sh").read_text()
_NODE = ("kubelet", "kube-proxy", "kubectl")
_BY_ROLE: dict[Role, tuple[str, ...]] = {
    "etcd": ("etcd",),
    "control-plane": (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "cloud-controller-manager",
        *_NODE,
    ),
    "worker": _NODE,
    "load-balancer": (),
}
DISKS = ("/", "/var/lib/kubelet", "/var/lib/containerd")


def components_of(roles: Sequence[Role]) -> tuple[str, ...]:
    """What may run on a host with these roles: only that is asked for, as each file looked at
    costs the host a few processes."""
    return tuple(dict.fromkeys(c for role in roles for c in _BY_ROLE[role]))


class HostReader:
    """Reads `Host` facts. `clock` gives local seconds since the epoch."""

    def __init__(
        self,
        connections: Connections,
        layout: LayoutConfig,
        etcd_data: str,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connections = connections
        self._layout = layout
        self._disks = (*DISKS, etcd_data)
        self._etcd_data = etcd_data
        self._timeout = timeout
        self._clock = clock

    async def read(self, host: HostConfig, known: Host | None = None) -> Host:
        """Raises `Unreachable`; a host that answers in part says so by absent values.

        With `known`, an earlier reading of the same boot, certificates and free disk space are
        taken from it: they last, and are most of the work.
        """
        brief = known is not None and known.reachable
        ran, before, answered = await self._connections.run_timed(
            host.name,
            [*self._connections.prefix, "/bin/sh", "-s", "--", *self._arguments(host, brief)],
            timeout=self._timeout,
            stdin=SCRIPT,
            clock=self._clock,
        )
        if not ran.out.rstrip().endswith("\nend"):
            raise Unreachable(
                f"{host.name} did not finish telling its facts (code {ran.code}): "
                f"{ran.err.strip()[-300:]}"
            )
        told = parse(host, ran.out, self._layout, before, answered)
        if known is None or not brief:
            return told
        if told.boot_id != known.boot_id:
            return await self.read(host)
        return msgspec.structs.replace(
            told, certificates=known.certificates, disk_free=known.disk_free
        )

    def _arguments(self, host: HostConfig, brief: bool) -> list[str]:
        arguments = [self._layout.root, self._layout.epoch]
        arguments += ["", "no"] if brief else [":".join(self._disks), "yes"]
        arguments.append(self._etcd_data)
        for component in components_of(host.roles):
            arguments += [
                component,
                self._layout.unit_of(component),
                self._layout.flags_file(component),
            ]
        return arguments


def parse(host: HostConfig, out: str, layout: LayoutConfig, before: float, after: float) -> Host:
    """The script's lines as facts. `before` and `after` bracket the remote clock's reading."""
    current: dict[str, str] = {}
    running: dict[str, str] = {}
    staged: dict[str, tuple[str, ...]] = {}
    files: dict[str, list[str]] = {}
    disk_free: dict[str, int] = {}
    units: list[UnitState] = []
    certificates: dict[tuple[str, str], Certificate] = {}
    single: dict[str, str] = {}
    component_of = {layout.unit_of(c): c for c in COMPONENTS}
    for line in out.splitlines():
        key, *values = line.split("\t")
        match key, values:
            case "current", [directory, version]:
                current[posixpath.basename(directory)] = version
            case "staged", [component, version]:
                staged[component] = (*staged.get(component, ()), version)
            case "flags", [component, *text]:
                files.setdefault(component, []).append("\t".join(text))
            case "disk", [path, free] if free.isdigit():
                disk_free[path] = int(free)
            case "unit", [name, active, restarts, since, executable]:
                units.append(
                    UnitState(
                        name=name,
                        active=active,
                        restarts=int(restarts or 0),
                        since=float(since) if since.isdigit() else 0.0,
                    )
                )
                component = component_of.get(name, "")
                if version := running_version(layout, component, executable):
                    running[component] = version
            case "certificate", [path, data]:
                for certificate in certificates_in(path, data):
                    certificates[certificate.where, certificate.subject] = certificate
            case _, [value]:
                single[key] = value
    clock = single.get("clock", "")
    cgroup = single.get("cgroup", "")
    epoch = single.get("epoch", "")
    return Host(
        name=host.name,
        address=host.address,
        roles=host.roles,
        pool=host.pool,
        reachable=True,
        machine_id=single.get("machine-id", ""),
        boot_id=single.get("boot-id", ""),
        epoch=int(epoch) if epoch.isdigit() else 0,
        current=current,
        running=running,
        staged={c: tuple(sorted(v)) for c, v in staged.items()},
        flags={
            component: flagsfile.parse("\n".join(lines), layout.flags_variable)
            for component, lines in files.items()
        },
        units=tuple(units),
        disk_free=disk_free,
        etcd_data=single.get("etcd-data"),
        clock_offset=_offset(clock, before, after),
        cgroup_version=int(cgroup) if cgroup else None,
        kernel=single.get("kernel", ""),
        certificates=tuple(certificates.values()),
    )


def running_version(layout: LayoutConfig, component: str, executable: str) -> str:
    """The version directory that the running process was started from: what runs, not what the
    `current` link says would run next. "" when it runs from elsewhere or does not run."""
    executable = executable.removesuffix(" (deleted)")
    prefix = posixpath.join(layout.root, component) + "/"
    if not component or not executable.startswith(prefix):
        return ""
    version = executable[len(prefix) :].split("/")[0]
    return "" if version == "current" else version


def _offset(clock: str, before: float, after: float) -> float | None:
    """Remote minus local clock in seconds, exact to half of `after - before`.

    An offset smaller than that uncertainty is told as 0: it cannot be told from the network.
    """
    try:
        remote = float(clock)
    except ValueError:
        return None
    if before <= remote <= after:
        return 0.0
    return round(remote - (before + after) / 2, 3)


def certificates_in(path: str, data: str) -> list[Certificate]:
    """The certificates of a PEM bundle in base64; a file that holds none gives none."""
    try:
        parsed = x509.load_pem_x509_certificates(base64.b64decode(data))
    except ValueError:
        return []
    return [
        Certificate(
            where=path,
            subject=c.subject.rfc4514_string(),
            not_after=c.not_valid_after_utc.timestamp(),
        )
        for c in parsed
    ]
