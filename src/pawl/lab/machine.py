"""One machine's life: written, booted, found again, ended.

The machine is `systemd-nspawn --boot` on overlay layers, inside its kept network namespace and its
own control group. Its supervisor is detached from whoever started it. Nothing is found by name:
the supervisor by recorded pid and start time, everything else by the control group.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from importlib import resources
from pathlib import Path

import msgspec

from pawl.core.errors import PawlError
from pawl.lab import cgroups, network
from pawl.lab.cloudinit import LINK, Files
from pawl.lab.monitoring import TARGETS
from pawl.lab.spec import LabSpec, MachineSpec
from pawl.lab.store import MachineDir, write

SSH_ANSWERS = 300.0
"""Seconds until a booting machine must answer; 1 s is usual, nine at once took 7 s on an idle
machine."""

SHARES = {"etcd": 4, "control-plane": 4, "load-balancer": 4}
"""CPU beside a worker's one share. A worker that boots, or starts pods, takes nothing from the
control plane of a real cluster, which has CPUs of its own."""

_SCRATCH = {"worker": ("var/lib/containerd", "var/lib/kubelet")}


class BootFailed(PawlError):
    """A machine does not come up."""


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """Who supervises the machine: pid, and start time in clock ticks so no other is mistaken."""

    pid: int
    started: int
    image: str


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def forget(lab: str, machine: str) -> None:
    """Remove what nspawn keeps below /run for a machine, and leaves when it is killed."""
    with contextlib.suppress(OSError):
        Path(f"/run/systemd/nspawn/propagate/{lab}.{machine}").rmdir()


def new_identity() -> str:
    return secrets.token_hex(16)


class LabMachine:
    """Handle of one machine of one lab."""

    def __init__(self, lab: LabSpec, directory: MachineDir) -> None:
        self.lab = lab
        self.dir = directory
        self.name = directory.name

    def runtime(self) -> Runtime | None:
        try:
            return msgspec.json.decode(self.dir.runtime_file.read_bytes(), type=Runtime)
        except (OSError, msgspec.DecodeError):
            return None

    def supervisor(self) -> int | None:
        """Pid of the living supervisor."""
        known = self.runtime()
        if known and start_time(known.pid) == known.started:
            return known.pid
        return None

    def leader(self) -> int | None:
        """Pid, on the host, of the machine's own PID 1."""
        for pid in sorted(cgroups.pids(self.lab.name, self.name)):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("NSpid:"):
                    inner = line.split()[1:]
                    if len(inner) == 2 and inner[1] == "1":
                        return pid
        return None

    def running(self) -> bool:
        """Supervised and with a PID 1: a machine of which half is dead does not count."""
        return self.supervisor() is not None and self.leader() is not None

    def address(self) -> str:
        spec = self.dir.read()
        return str(self.lab.network.address(spec.role, spec.slot))

    def write(self, files: Files) -> None:
        """Put the first-boot configuration into the machine's own layer, before it boots."""
        for path, file in files.items():
            target = self.dir.upper / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.mode == LINK:
                target.unlink(missing_ok=True)
                target.symlink_to(file.content.decode())
            else:
                write(target, file.content, file.mode)

    def _binds(self, spec: MachineSpec) -> list[str]:
        binds = []
        for path in _SCRATCH.get(spec.role, ()):
            source = self.dir.scratch / Path(path).name
            source.mkdir(parents=True, exist_ok=True, mode=0o700)
            binds.append(f"--bind={source}:/{path}")
        if spec.has_etcd:
            disk = self.dir.disks / "etcd"
            disk.mkdir(parents=True, exist_ok=True, mode=0o700)
            binds.append(f"--bind={disk.resolve()}:/var/lib/etcd")
        if spec.role == "worker":
            binds.append("--bind=/dev/kmsg")
        if spec.role == "monitoring":
            targets = self.dir.path.parents[1] / "targets"
            binds.append(f"--bind-ro={targets}:{TARGETS}")
        return binds

    def attach_new_disk(self) -> None:
        """Mark a data disk as this member's, once (see etcd.service)."""
        disk = self.dir.disks / "etcd"
        disk.mkdir(parents=True, exist_ok=True, mode=0o700)
        (disk / ".disk").touch()

    def boot(self, image: Path) -> None:
        """Start the supervisor unless the machine runs. Returns when it has forked."""
        if self.running():
            return
        self.kill()
        spec = self.dir.read()
        netns = network.ensure_interface(self.lab.name, self.lab.network, spec)
        procs = cgroups.create(self.lab.name, self.name, SHARES.get(spec.role, 1))
        nspawn = [
            "systemd-nspawn",
            f"--directory={self.dir.mount}",
            "--boot",
            "--quiet",
            "--keep-unit",
            "--register=no",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=pipe",
            f"--network-namespace-path={netns}",
            f"--machine={self.lab.name}.{self.name}",
            f"--hostname={self.name}",
            "--capability=all",
            "--system-call-filter=add_key keyctl bpf request_key",
            *self._binds(spec),
        ]
        script = Path(str(resources.files("pawl.lab") / "supervise.sh"))
        environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
        if spec.role == "worker":
            environment["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "yes"
        # "slave": what the host unmounts later goes away here too, so no lab pins another's.
        argv = ["unshare", "--mount", "--propagation", "slave", "sh", str(script)]
        argv += [str(image), str(self.dir.path), *map(str, procs), "--", *nspawn]
        with self.dir.console.open("ab") as console:
            supervisor = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd="/",
            )
        started = start_time(supervisor.pid)
        if started is None:
            raise BootFailed(f"{self.name} ended at once: {self.last_words()}")
        known = Runtime(pid=supervisor.pid, started=started, image=image.name)
        write(self.dir.runtime_file, msgspec.json.encode(known))

    def last_words(self) -> str:
        try:
            lines = self.dir.console.read_text(errors="replace").strip().splitlines()
        except OSError:
            return "it wrote nothing"
        return " / ".join(lines[-3:]) or "it wrote nothing"

    def wait_ssh(self, timeout: float = SSH_ANSWERS) -> None:
        """Return when the machine's SSH server greets. Raises `BootFailed`."""
        address, deadline = self.address(), time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.supervisor() is None:
                raise BootFailed(f"{self.name} ended while booting: {self.last_words()}")
            try:
                with socket.create_connection((address, 22), timeout=1) as connection:
                    connection.settimeout(2)
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise BootFailed(
            f"{self.name} ({address}) does not answer on SSH after {timeout:.0f} s: "
            f"{self.last_words()}; see {self.dir.console}"
        )

    def shutdown(self, timeout: float = 60.0) -> None:
        """Ask its systemd to power off, as the power button would; then pull the plug."""
        leader = self.leader()
        if leader is not None:
            # SIGRTMIN+4 starts poweroff.target (systemd(1), "Signals").
            os.kill(leader, signal.SIGRTMIN + 4)
            deadline = time.monotonic() + timeout
            while cgroups.pids(self.lab.name, self.name) and time.monotonic() < deadline:
                time.sleep(0.1)
        self.kill()

    def kill(self) -> None:
        """Pull the plug: SIGKILL of everything in the machine's control group."""
        cgroups.kill(self.lab.name, self.name)
        cgroups.remove(self.lab.name, self.name)
        self.dir.runtime_file.unlink(missing_ok=True)
        forget(self.lab.name, self.name)
