"""A simulated machine: disks, versions, links, flags, units, and the fence that it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from pawl.core.errors import Fenced

START_SECONDS = {
    "etcd": 0.2,  # field: restart to healthy 0.07–0.25 s
    "kube-apiserver": 2.5,  # lab: /readyz ok 2.5 s after start
    "kube-controller-manager": 1.0,
    "kube-scheduler": 1.0,
    "kubelet": 1.5,
    "kube-proxy": 0.5,
}
BOOT_SECONDS = 5.0
NEVER = float("inf")


@dataclass
class Unit:
    """A systemd unit and its process. `version` and `flags` are what the process was started with;
    `ready_at` when it serves."""

    active: str = "inactive"
    since: float = 0.0
    restarts: int = 0
    version: str = ""
    flags: tuple[str, ...] = ()
    ready_at: float = NEVER

    @property
    def up(self) -> bool:
        return self.active == "active"


@dataclass
class SimHost:
    name: str
    address: str
    roles: tuple[str, ...]
    pool: str = "default"
    up: bool = True
    machine_id: str = ""
    boot_id: str = ""
    epoch: int = 0
    staged: dict[str, list[str]] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    disk_has_data: bool = True
    disk_free: int = 50_000_000_000

    def fence(self, epoch: int) -> None:
        """What the script on a real host does, atomically with the change that follows."""
        if epoch < self.epoch:
            raise Fenced(
                f"host {self.name} belongs to a newer operator (epoch {self.epoch}, ours is "
                f"{epoch}): this pawl stops. See `pawl runs`."
            )
        self.epoch = epoch

    def install(self, component: str, version: str, flags: tuple[str, ...] = ()) -> None:
        self.staged.setdefault(component, [])
        if version not in self.staged[component]:
            self.staged[component].append(version)
        self.current[component] = version
        self.flags[component] = flags
        self.units.setdefault(component, Unit())
