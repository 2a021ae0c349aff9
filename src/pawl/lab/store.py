"""Where labs are kept on disk, and the locks between commands.

    /var/lib/pawl/labs/            PAWL_LAB_ROOT
    ├── .lock                      held for the moment in which an index or slot is chosen
    └── NAME/                      0700
        ├── lab.json  .lock        what was asked for; the lab's lock
        ├── pawl.yaml              pawl's configuration of this cluster
        ├── pki/  ssh/             CAs, certificates, keys, known_hosts
        ├── disks/MACHINE/etcd     data disks: outlive their machine (disks is a link into memory)
        └── machines/MACHINE/      spec.json, runtime.json, console.log, and upper/ work/ scratch/,
                                   which are thrown away with the machine

Locks are flock(2): the kernel frees them when their holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pawl.core.errors import Refused
from pawl.lab.spec import LabSpec, MachineSpec


def default_root() -> Path:
    return Path(os.environ.get("PAWL_LAB_ROOT", "/var/lib/pawl/labs"))


def write(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Replace a file atomically, never readable by more than `mode` allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data.encode() if isinstance(data, str) else data)
    os.chmod(temporary, mode)
    os.replace(temporary, path)


MEMORY = Path("/dev/shm")
MEMORY_FREE = 2 << 30
"""Bytes that must be free there for a lab's data disks; etcd's hold some 100 MB each."""


class MachineDir:
    """Files of one machine."""

    def __init__(self, lab: Path, name: str) -> None:
        self.path = lab / "machines" / name
        self.name = name
        self.spec_file = self.path / "spec.json"
        self.runtime_file = self.path / "runtime.json"
        self.console = self.path / "console.log"
        self.upper = self.path / "upper"
        self.work = self.path / "work"
        self.scratch = self.path / "scratch"
        self.mount = self.path / "mount"
        self.disks = lab / "disks" / name

    def read(self) -> MachineSpec:
        return msgspec.json.decode(self.spec_file.read_bytes(), type=MachineSpec)

    def save(self, spec: MachineSpec) -> None:
        write(self.spec_file, msgspec.json.format(msgspec.json.encode(spec)))

    def wipe(self) -> None:
        """Throw the machine away; its data disks stay."""
        for part in (self.upper, self.work, self.scratch):
            shutil.rmtree(part, ignore_errors=True)
        self.runtime_file.unlink(missing_ok=True)


class LabDir:
    """Files of one lab."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.path = root / name
        self.spec_file = self.path / "lab.json"
        self.config = self.path / "pawl.yaml"
        self.pki = self.path / "pki"
        self.ssh = self.path / "ssh"
        self.kubeconfig = self.path / "admin.kubeconfig"
        self.targets = self.path / "targets"

    @property
    def disks(self) -> Path:
        return self.path / "disks"

    def make_disks(self) -> None:
        """The place of all data disks: in this host's memory if it has room, else on its disk.

        etcd wants a disk of its own. Ten machines share one here, and each sync of a member waits
        for what all the others write: 100 ms and more, where a member's own disk takes 1 ms.
        Raises `Refused` for a lab whose disks a reboot of this host has emptied.
        """
        if self.disks.is_symlink() and not self.disks.exists():
            raise Refused(
                [
                    f"the data disks of lab {self.name!r} lay in memory and went with a reboot of "
                    f"this host: `pawl lab down --name {self.name}`, then raise it anew"
                ]
            )
        if self.disks.exists():
            return
        if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_FREE:
            self.disks.mkdir(mode=0o700)
            return
        place = self._memory()
        self._forget_memory()
        place.mkdir(mode=0o700)
        self.disks.symlink_to(place)

    def remove(self) -> None:
        """All files of the lab, those in memory too."""
        self._forget_memory()
        shutil.rmtree(self.path)

    def _memory(self) -> Path:
        """One place for each lab, whatever root it is kept under."""
        root = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:8]
        return MEMORY / f"pawl-lab-{self.name}-{root}"

    def _forget_memory(self) -> None:
        """Everyone may write to /dev/shm, so what is not root's own directory is not touched."""
        place = self._memory()
        try:
            found = place.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Refused([f"{place} is in the way and is somebody else's: look at it, remove it"])
        shutil.rmtree(place)

    def exists(self) -> bool:
        return self.spec_file.exists()

    def read(self) -> LabSpec:
        try:
            return msgspec.json.decode(self.spec_file.read_bytes(), type=LabSpec)
        except FileNotFoundError:
            known = ", ".join(labs(self.root)) or "none"
            raise Refused(
                [f"there is no lab {self.name!r} (labs: {known}); `pawl lab up` makes one"]
            ) from None

    def save(self, spec: LabSpec) -> None:
        write(self.spec_file, msgspec.json.format(msgspec.json.encode(spec)))

    def machine(self, name: str) -> MachineDir:
        return MachineDir(self.path, name)

    def machines(self) -> list[MachineSpec]:
        """All machines that the lab has, in boot order of their roles. One that is removed while
        they are read is none."""
        order = ("etcd", "control-plane", "load-balancer", "monitoring", "worker")
        found = []
        for path in self.path.glob("machines/*/spec.json"):
            with contextlib.suppress(FileNotFoundError):
                found.append(MachineDir(self.path, path.parent.name).read())
        return sorted(found, key=lambda m: (order.index(m.role), m.slot))

    @contextlib.contextmanager
    def locked(self, *, alone: bool) -> Iterator[None]:
        """Hold the lab: `alone` for up and down, shared for work on single machines.

        Raises `Refused` at once when another command holds it, and for work in a lab that does not
        exist, of which nothing is left behind.
        """
        if not alone:
            self.read()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with flock(self.path / ".lock", alone=alone, wait=False) as got:
            if not got:
                raise Refused(
                    [f"another pawl lab command works on lab {self.name!r}; wait until it ends"]
                )
            yield


def labs(root: Path) -> list[str]:
    return sorted(p.parent.name for p in root.glob("*/lab.json"))


@contextlib.contextmanager
def flock(path: Path, *, alone: bool = True, wait: bool = True) -> Iterator[bool]:
    """Hold an flock on `path`; yields whether it was got (always, with `wait`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        how = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
