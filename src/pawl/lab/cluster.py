"""A whole lab: raised, mended, asked, taken down.

`up` is a list of stages that each look before they act, so repeating it after an interruption
continues where it stopped. `down` trusts no record: control groups tell the processes, names of
namespaces and the alias of the bridge tell the network.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from pawl.core.errors import Refused
from pawl.lab import (
    archive,
    cgroups,
    cloudinit,
    config,
    host,
    image,
    monitoring,
    network,
    workloads,
)
from pawl.lab.addressing import MAX_LABS, capacity
from pawl.lab.machine import LabMachine, forget, new_identity
from pawl.lab.pki import Pki, ssh_key
from pawl.lab.probe import NotReady, Prober, wait
from pawl.lab.progress import Progress, Say
from pawl.lab.spec import LabRole, LabSpec, MachineSpec, check_name
from pawl.lab.store import LabDir, default_root, flock, labs, write
from pawl.ports.artifacts import Artifact

T = TypeVar("T")
Fetch = Callable[[str, str], Artifact]
"""(product, version) -> verified programs; what the artefact resolver offers."""


class MachineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `pawl lab status`."""

    name: str
    role: str
    address: str
    running: bool
    serving: bool
    versions: dict[str, str]
    identity: str
    pool: str


class Lab:
    """The lab called `name`. Methods block; run them in a thread where that matters."""

    def __init__(
        self,
        name: str,
        *,
        fetch: Fetch,
        cache: Path,
        root: Path | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self.name = check_name("lab", name)
        self.dir = LabDir(root or default_root(), name)
        self.pki = Pki(self.dir.pki)
        self._fetch, self._cache, self._say = fetch, cache, say
        self._layers: dict[tuple[tuple[str, str], ...], Path] = {}
        self._layers_lock = threading.Lock()

    # -- reading

    @property
    def spec(self) -> LabSpec:
        return self.dir.read()

    def machine(self, name: str) -> LabMachine:
        directory = self.dir.machine(name)
        if not directory.spec_file.exists():
            self.dir.read()  # or Refused: there is no such lab at all
            known = ", ".join(m.name for m in self.dir.machines()) or "none"
            raise Refused([f"lab {self.name} has no machine {name!r} (machines: {known})"])
        return LabMachine(self.spec, directory)

    def status(self) -> list[MachineStatus]:
        """Every machine, asked at once."""
        lab, prober = self.spec, Prober(self.spec, self.pki)

        def one(m: MachineSpec) -> MachineStatus:
            running = self.machine(m.name).running()
            return MachineStatus(
                name=m.name,
                role=m.role,
                address=str(lab.network.address(m.role, m.slot)),
                running=running,
                serving=running and prober.serves(m),
                versions=m.components,
                identity=m.identity,
                pool=m.pool,
            )

        try:
            return _at_once(one, self.dir.machines())
        finally:
            prober.close()

    # -- raising

    def up(self, wanted: LabSpec | None = None) -> LabSpec:
        """Raise the lab, or mend it: what `wanted` says for a new one, lab.json for an old one."""
        known = self.dir.read() if self.dir.exists() else wanted
        host.check(monitoring=known is not None and known.scrape > 0)
        host.raise_limits()
        with self.dir.locked(alone=True):
            lab = self._choose(wanted)
            self.dir.make_disks()
            progress = Progress(self._say)
            progress.enter("image", f"lab {lab.name}, Kubernetes {lab.versions['kubernetes']}")
            self._identities(lab)
            self._layer(lab.versions)
            network.ensure_bridge(lab.name, lab.network)
            machines = self._settle(lab)
            progress.enter("boot", f"{len(machines)} machines")
            _at_once(lambda m: self._boot(self.machine(m.name)), machines)
            _at_once(lambda m: self.machine(m.name).wait_ssh(), machines)
            self._await_ready(lab, machines, progress)
            write(self.dir.path / "raised", "")
            progress.note(f"lab {lab.name} is up; its configuration is {self.dir.config}")
        return lab

    def _choose(self, wanted: LabSpec | None) -> LabSpec:
        if self.dir.exists():
            return self.dir.read()
        if wanted is None:
            return self.dir.read()  # refuses, naming the labs that exist
        with flock(self.dir.root / ".lock"):
            taken = {LabDir(self.dir.root, n).read().index for n in labs(self.dir.root)}
            taken |= set(network.used_indexes())
            free = [i for i in range(MAX_LABS) if i not in taken]
            if not free:
                raise Refused([f"all {MAX_LABS} address slices are taken; `pawl lab down` one"])
            lab = msgspec.structs.replace(wanted, index=free[0], token=secrets.token_hex(8))
            self.dir.save(lab)
            network.ensure_bridge(lab.name, lab.network)
        return lab

    def _identities(self, lab: LabSpec) -> None:
        """Everything that clients of the lab need, before the first machine boots."""
        admin = self.pki.pair("admin", "ca", "pawl-lab-admin", organization="system:masters")
        self.pki.pair("pawl-etcd-client", "etcd-ca", "pawl")
        self.pki.pair("pawl-metrics-client", "ca", "pawl")
        server = f"https://{lab.network.load_balancer}:6443"
        text = cloudinit.kubeconfig(server, self.pki.ca("ca"), admin, "pawl-lab-admin")
        write(self.dir.kubeconfig, text, 0o600)
        ssh_key(self.dir.ssh / "id_ed25519", "pawl-lab")

    def _settle(self, lab: LabSpec) -> list[MachineSpec]:
        """The machines that there are to be: all wanted ones until the lab was up once."""
        if not (self.dir.path / "raised").exists():
            for spec in lab.wanted():
                directory = self.dir.machine(spec.name)
                if not directory.spec_file.exists():
                    directory.save(msgspec.structs.replace(spec, identity=new_identity()))
                    if spec.has_etcd:
                        LabMachine(lab, directory).attach_new_disk()
        machines = self.dir.machines()
        self._publish(lab, machines)
        return machines

    def _publish(self, lab: LabSpec, machines: list[MachineSpec]) -> None:
        """known_hosts, pawl.yaml and what Prometheus reads follow the list of machines."""
        lines = []
        for m in machines:
            key = ssh_key(self.dir.ssh / "hosts" / m.name, m.name).decode().rsplit(" ", 1)[0]
            lines.append(f"{lab.network.address(m.role, m.slot)},{m.name} {key}\n")
        write(self.dir.ssh / "known_hosts", "".join(lines))
        monitoring.publish(lab, self.dir, machines)
        config.save(lab, self.dir, machines)

    def _layer(self, versions: Mapping[str, str]) -> Path:
        """The image with `versions`. Verified once in this process, not once a machine."""
        key = tuple(sorted(versions.items()))
        with self._layers_lock:
            if key not in self._layers:
                self._cache.mkdir(parents=True, exist_ok=True)
                artifacts = {product: self._fetch(product, version) for product, version in key}
                self._layers[key] = image.build(
                    self._cache, versions, artifacts, archive.ensure(self._cache)
                )
            return self._layers[key]

    def _boot(self, machine: LabMachine) -> None:
        """Write the machine's first-boot configuration if that was not completed, and start it."""
        if machine.running():
            return
        spec = machine.dir.read()
        layer = self._layer(spec.versions)
        written = machine.dir.path / "written"
        if not written.exists() or written.read_text() != spec.identity:
            machine.kill()
            machine.dir.wipe()
            seed = cloudinit.Seed(
                lab=machine.lab,
                machine=spec,
                machines=tuple(self.dir.machines()),
                pki=self.pki,
                ssh=self.dir.ssh,
            )
            machine.write(cloudinit.render(seed))
            write(written, spec.identity)
        machine.boot(layer)

    def _await_ready(self, lab: LabSpec, machines: list[MachineSpec], progress: Progress) -> None:
        prober = Prober(lab, self.pki)
        try:
            etcd = [m for m in machines if m.has_etcd]
            progress.enter("etcd", f"{len(etcd)} members")
            for m in etcd:
                wait(f"a healthy etcd on {m.name}", lambda m=m: prober.etcd_serves(m))  # type: ignore[misc]
                self._bootstrapped(m)
            servers = [prober.address(m) for m in machines if m.role == "control-plane"]
            progress.enter("api servers", f"{len(servers)} behind one load balancer")
            for address in servers:
                wait(f"a ready API server at {address}", lambda a=address: prober.api_ready(a))  # type: ignore[misc]
            balancer = str(lab.network.load_balancer)
            wait("the API through the load balancer", lambda: prober.api_ready(balancer))
            self._apply(prober, balancer, workloads.access())
            if lab.scrape:
                self._apply(prober, balancer, monitoring.access())
            workers = [m for m in machines if m.role == "worker"]
            progress.enter("nodes", f"{len(workers)} workers")
            if workers:
                self._await_workers(prober, workers, progress)
            if lab.scrape:
                progress.enter("monitoring", monitoring.url(lab))
                self._await_measured(prober)
        finally:
            prober.close()

    def _await_workers(
        self, prober: Prober, workers: list[MachineSpec], progress: Progress
    ) -> None:
        balancer = str(prober.lab.network.load_balancer)
        self._await_account(prober, balancer)
        items = workloads.applications()
        self._apply(prober, balancer, items)
        for m in workers:
            wait(f"node {m.name}", lambda m=m: _node_ready(prober, balancer, m.name))  # type: ignore[misc]
            wait(f"kube-proxy on {m.name}", lambda m=m: prober.serves(m))  # type: ignore[misc]
        progress.enter("workloads", "web, redis and its backend")
        for item in items:
            if item["kind"] in ("Deployment", "StatefulSet"):
                path = workloads.place(item)
                wait(
                    f"{item['metadata']['name']} with all its replicas",
                    lambda p=path: workloads.rolled_out(  # type: ignore[misc]
                        prober.request(balancer, "GET", p)
                    ),
                )

    @staticmethod
    def _await_measured(prober: Prober) -> None:
        """Until Prometheus has read each of its targets: its certificate and rights suffice."""

        def all_read() -> bool:
            if missing := prober.unmeasured():
                raise NotReady("; ".join(missing))
            return True

        wait("a Prometheus that reads everything", all_read, interval=0.5)

    def _bootstrapped(self, spec: MachineSpec) -> None:
        """From now on this member joins an existing cluster, never bootstraps one."""
        if spec.etcd_state == "existing":
            return
        machine = self.machine(spec.name)
        machine.dir.save(msgspec.structs.replace(spec, etcd_state="existing"))
        leader = machine.leader()
        if leader is not None:
            flags = Path(f"/proc/{leader}/root/etc/etcd/etcd.env")
            text = flags.read_text().replace("cluster-state=new", "cluster-state=existing")
            write(flags, text)

    def _apply(self, prober: Prober, address: str, items: Iterable[workloads.Object]) -> None:
        for item in items:
            path = workloads.place(item) + "?fieldManager=pawl-lab&force=true"
            wait(
                f"{item['kind']} {item['metadata']['name']}",
                lambda p=path, i=item: bool(prober.request(address, "PATCH", p, i)),  # type: ignore[misc]
            )

    @staticmethod
    def _await_account(prober: Prober, address: str) -> None:
        path = f"/api/v1/namespaces/{workloads.NAMESPACE}/serviceaccounts/default"
        wait(
            "the controller-manager's first service account",
            lambda: bool(prober.request(address, "GET", path)),
        )

    # -- single machines

    def add(
        self,
        name: str,
        role: LabRole,
        *,
        pool: str = "default",
        versions: Mapping[str, str] | None = None,
        flags: Mapping[str, tuple[str, ...]] | None = None,
        epoch: int = 0,
    ) -> LabMachine:
        """Make a machine; returns when its SSH server answers. One that exists is returned."""
        check_name("machine", name)
        if role == "monitoring":
            raise Refused(["monitoring comes with a lab: `pawl lab up --monitoring` of a new one"])
        with self.dir.locked(alone=False):
            lab = self.spec
            directory = self.dir.machine(name)
            with flock(self.dir.path / ".slots"):
                if not directory.spec_file.exists():
                    taken = {m.slot for m in self.dir.machines() if m.role == role}
                    free = [s for s in range(capacity(role)) if s not in taken]
                    if not free:
                        raise Refused([f"lab {self.name} has no address left for role {role}"])
                    spec = MachineSpec(
                        name=name,
                        role=role,
                        slot=free[0],
                        pool=pool,
                        versions={**lab.versions, **(versions or {})},
                        flags=dict(flags or {}),
                        epoch=epoch,
                        identity=new_identity(),
                        stacked=lab.topology == "stacked" and role == "control-plane",
                    )
                    directory.save(spec)
                    if spec.has_etcd:
                        LabMachine(lab, directory).attach_new_disk()
                    self._publish(lab, self.dir.machines())
            machine = LabMachine(lab, directory)
            with flock(directory.path / ".lock"):
                self._boot(machine)
            machine.wait_ssh()
        return machine

    def replace(
        self,
        name: str,
        *,
        versions: Mapping[str, str] | None = None,
        flags: Mapping[str, tuple[str, ...]] | None = None,
        epoch: int = 0,
        blank_disk: bool = False,
    ) -> LabMachine:
        """Throw the machine away and make it anew: same name, address and data disks.

        With `blank_disk` the data disk is lost too, as when a volume was not attached again: such
        an etcd refuses to start.
        """
        with self.dir.locked(alone=False):
            machine = self.machine(name)
            with flock(machine.dir.path / ".lock"):
                old = machine.dir.read()
                new = msgspec.structs.replace(
                    old,
                    versions={**old.versions, **(versions or {})},
                    flags=dict(old.flags if flags is None else flags),
                    epoch=max(old.epoch, epoch),
                    identity=new_identity(),
                )
                # The image is made first: a missing artefact must not cost the machine.
                self._layer(new.versions)
                machine.shutdown()
                machine.dir.save(new)
                if blank_disk:
                    shutil.rmtree(machine.dir.disks, ignore_errors=True)
                self._boot(machine)
            machine.wait_ssh()
        return machine

    def remove(self, name: str) -> None:
        """Remove a machine with its disks and address. One that is not there is no error."""
        with self.dir.locked(alone=False):
            directory = self.dir.machine(name)
            if directory.spec_file.exists():
                with flock(directory.path / ".lock"):
                    LabMachine(self.spec, directory).shutdown()
                    network.remove_interface(self.name, name)
                    directory.spec_file.unlink()
            shutil.rmtree(directory.disks, ignore_errors=True)
            shutil.rmtree(directory.path, ignore_errors=True)
            self._publish(self.spec, self.dir.machines())

    def power_off(self, name: str, *, gracefully: bool = False) -> None:
        """Pull the plug, or press the power button."""
        with self.dir.locked(alone=False):
            machine = self.machine(name)
            with flock(machine.dir.path / ".lock"):
                if gracefully:
                    machine.shutdown()
                else:
                    machine.kill()

    def power_on(self, name: str) -> None:
        with self.dir.locked(alone=False):
            machine = self.machine(name)
            with flock(machine.dir.path / ".lock"):
                self._boot(machine)
            machine.wait_ssh()

    def reboot(self, name: str) -> None:
        """Power cut and power on: what `reboot -f` of a VM does."""
        self.power_off(name)
        self.power_on(name)

    # -- taking down

    def down(self) -> None:
        """End everything of this lab, whatever is left of it, and remove its files."""
        with self.dir.locked(alone=True):
            cgroups.kill(self.name)
            cgroups.remove(self.name)
            for name in network.netns_of(self.name):
                machine = name.rsplit(".", 1)[1]
                network.remove_interface(self.name, machine)
                forget(self.name, machine)
            network.remove_bridges(self.name)
            self.dir.remove()


def _node_ready(prober: Prober, address: str, name: str) -> bool:
    node = prober.request(address, "GET", f"/api/v1/nodes/{name}")
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _at_once(action: Callable[[MachineSpec], T], machines: list[MachineSpec]) -> list[T]:
    """The action on all machines concurrently; the first error is raised after all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(machines))) as pool:
        return list(pool.map(action, machines))
