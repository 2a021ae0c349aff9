"""The lab itself: raised, mended, its machines replaced and broken, taken down without a trace."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from conftest import LabMaker
from pawl.core.errors import Refused
from pawl.lab import cgroups, network
from pawl.lab.cluster import Lab
from pawl.lab.probe import SERVES, NotReady, Prober, wait
from pawl.lab.roles.load_balancer import NODE_PORTS

ETCDCTL = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/pki/ca.crt "
    "--cert=/etc/etcd/pki/member.crt --key=/etc/etcd/pki/member.key"
)


def ssh(lab: Lab, machine: str, *command: str, check: bool = True) -> str:
    """Run a command on a machine, over its own SSH server with its verified host key."""
    argv = ["ssh", "-i", str(lab.dir.ssh / "id_ed25519"), "-o", "BatchMode=yes"]
    argv += ["-o", f"UserKnownHostsFile={lab.dir.ssh / 'known_hosts'}", "-o", "LogLevel=ERROR"]
    argv += ["-o", "StrictHostKeyChecking=yes", f"root@{lab.machine(machine).address()}"]
    argv += ["--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    end = time.monotonic() + SERVES
    while check and done.returncode and time.monotonic() < end:  # it, or its etcd, is busy
        time.sleep(1)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout.strip()


def serves(lab: Lab, machine: str) -> None:
    """Wait until the machine does what its role is for."""
    prober = Prober(lab.spec, lab.pki)
    try:
        spec = lab.machine(machine).dir.read()
        wait(f"{machine} serving", lambda: prober.serves(spec))
    finally:
        prober.close()


def all_serve(lab: Lab) -> None:
    """Until every machine does: right after it was raised or mended, one may miss a beat."""

    def each() -> bool:
        if idle := [m.name for m in lab.status() if not m.serving]:
            raise NotReady(", ".join(idle))
        return True

    wait("every machine to serve", each)


def page(url: str) -> dict[str, str]:
    """What a workload answers, once its balancer has somebody for it."""
    found: list[dict[str, str]] = []

    def answered() -> bool:
        try:
            found.append(httpx.get(url, timeout=30).raise_for_status().json())
        except (httpx.HTTPError, ValueError) as error:
            raise NotReady(str(error)) from error
        return True

    wait(f"an answer at {url}", answered)
    return found[0]


def traces(name: str) -> list[str]:
    """Everything on this machine that still belongs to the lab."""
    found = [f"namespace {n}" for n in network.netns_of(name)]
    found += [f"process {pid}" for pid in cgroups.pids(name)]
    found += [str(g) for h in cgroups.hierarchies() if (g := h / "pawl" / name).exists()]
    found += [str(p) for p in Path("/dev/shm").glob(f"pawl-lab-{name}-*")]
    alias = f"pawl-lab:{name}"
    if alias in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout:
        found.append("a bridge")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"/{name}/" in (process / "mountinfo").read_text():
                found.append(f"a mount in process {process.name}")
        except OSError:
            continue
    return found


def test_every_machine_and_workload_serves(small_lab: Lab) -> None:
    all_serve(small_lab)
    for port in NODE_PORTS.values():
        assert page(f"http://{small_lab.spec.network.load_balancer}:{port}/")["pod"]


def test_a_machine_sees_neither_keys_of_the_lab_nor_the_hosts_home(small_lab: Lab) -> None:
    assert ssh(small_lab, "worker-1", "find", "/root", "-type", "f") == ""
    assert ssh(small_lab, "worker-1", "find", "/var/lib/pawl", "-type", "f") == ""
    modes = ssh(small_lab, "cp-1", "stat", "-c", "%a", "/etc/kubernetes/pki/ca.key")
    assert modes == "600"


def test_replace_gives_a_new_machine_with_the_old_disk_and_address(small_lab: Lab) -> None:
    before = small_lab.machine("etcd-1")
    old_identity, old_address = before.dir.read().identity, before.address()
    member = ssh(small_lab, "etcd-1", *ETCDCTL.split(), "member", "list")
    ssh(small_lab, "etcd-1", *ETCDCTL.split(), "put", "kept", "yes")
    ssh(small_lab, "etcd-1", "touch", "/etc/only-on-the-old-machine")

    small_lab.replace("etcd-1")
    serves(small_lab, "etcd-1")

    after = small_lab.machine("etcd-1")
    assert after.address() == old_address
    assert ssh(small_lab, "etcd-1", "cat", "/etc/machine-id") == after.dir.read().identity
    assert after.dir.read().identity != old_identity
    assert ssh(small_lab, "etcd-1", *ETCDCTL.split(), "member", "list") == member
    assert ssh(small_lab, "etcd-1", *ETCDCTL.split(), "get", "kept") == "kept\nyes"
    assert ssh(small_lab, "etcd-1", "ls", "/etc/only-on-the-old-machine", check=False) == ""


def test_etcd_never_starts_on_a_blank_disk(small_lab: Lab) -> None:
    small_lab.add("etcd-blank", "etcd")
    try:
        small_lab.replace("etcd-blank", blank_disk=True)
        state = ssh(small_lab, "etcd-blank", "systemctl", "show", "etcd", "-p", "AssertResult")
        assert state == "AssertResult=no"
        assert ssh(small_lab, "etcd-blank", "ls", "-A", "/var/lib/etcd") == ""
    finally:
        small_lab.remove("etcd-blank")


def test_an_orderly_reboot_comes_back(small_lab: Lab) -> None:
    identity = small_lab.machine("etcd-1").dir.read().identity
    leader = small_lab.machine("etcd-1").leader()
    ssh(small_lab, "etcd-1", "systemctl", "reboot", check=False)
    machine = small_lab.machine("etcd-1")
    wait("another PID 1", lambda: machine.leader() not in (None, leader))
    machine.wait_ssh()
    serves(small_lab, "etcd-1")
    assert machine.dir.read().identity == identity


def test_a_power_cut_is_seen_and_mended_by_up(small_lab: Lab) -> None:
    small_lab.power_off("worker-1")
    assert not cgroups.pids(small_lab.name, "worker-1")
    off = {m.name for m in small_lab.status() if not m.running}
    assert off == {"worker-1"}
    small_lab.up()
    all_serve(small_lab)


@pytest.mark.parametrize("victim", ["supervisor", "nspawn"])
def test_a_half_dead_machine_is_mended_by_up(small_lab: Lab, victim: str) -> None:
    machine = small_lab.machine("cp-1")
    supervisor, leader = machine.supervisor(), machine.leader()
    assert supervisor is not None
    assert leader is not None
    pid = supervisor
    if victim == "nspawn":
        pid = int(Path(f"/proc/{leader}/stat").read_text().rpartition(") ")[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    wait("the death seen", lambda: not machine.running())
    small_lab.up()
    assert machine.running()
    all_serve(small_lab)


def test_names_of_labs_that_do_not_exist_are_refused(small_lab: Lab) -> None:
    with pytest.raises(Refused, match="has no machine 'nobody'"):
        small_lab.machine("nobody")


def test_an_interrupted_up_is_mended_and_down_leaves_nothing(lab_maker: LabMaker) -> None:
    lab = lab_maker("cut", start=False)
    command = [sys.executable, "-m", "pawl", "lab", "up", "--name", lab.name, "--workers", "0"]
    command += ["--control-planes", "1", "--etcd-members", "1"]
    for moment in ("before the first machine", "while booting"):
        up = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        enough = 0 if moment == "before the first machine" else 3
        while up.poll() is None and len(cgroups.pids(lab.name)) < enough:
            time.sleep(0.02)
        while up.poll() is None and not lab.dir.exists():
            time.sleep(0.02)
        up.kill()
        up.wait()

    def raised() -> bool:
        try:
            lab.up()
        except Refused as refused:  # what the killed one had begun still holds its lock
            raise NotReady(str(refused)) from refused
        return True

    wait("the lab to be raised", raised)
    all_serve(lab)

    # Everything that supervises dies at once: the machines run on as orphans.
    for spec in lab.dir.machines():
        machine = lab.machine(spec.name)
        leader = machine.leader()
        nspawn = int(Path(f"/proc/{leader}/stat").read_text().rpartition(") ")[2].split()[1])
        for pid in (machine.supervisor(), nspawn):
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
    assert traces(lab.name)
    lab.down()

    def nothing() -> bool:
        if left := traces(lab.name):  # the kernel lets go of what is dead in its own time
            raise NotReady(", ".join(left))
        return True

    wait("nothing to be left", nothing, 60)
    assert not lab.dir.path.exists()
    lab.down()  # twice does no harm
