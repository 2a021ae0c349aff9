"""Faults of pawl's own side: its configuration, artefacts, journal, clock, twins. On real machines.

Each ends safe, with the sentence that explains it, and the same cluster is used by the next.
"""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from faulty import NEW, OLD, Cluster, eventually
from pawl_process import Pawl, PawlRun

MEMBERS = ("etcd-1", "etcd-2", "etcd-3")
WAY_THERE = ("--only", "etcd", "--etcd", NEW)


def started(cluster: Cluster) -> dict[str, str]:
    """When each member's process began: the same as long as nobody restarts it."""
    return {m: cluster.since(m, "etcd") for m in MEMBERS}


def test_five_errors_in_the_configuration_are_told_at_once(
    etcd_cluster: Cluster, tmp_path: Path
) -> None:
    before = started(etcd_cluster)
    data = yaml.safe_load(etcd_cluster.lab.dir.config.read_text())
    data["ssh"]["prot"] = 22
    data["ssh"]["key"] = str(tmp_path / "no-such-key")
    data["api"]["endpoint"] = data["api"]["endpoint"].replace("https", "http")
    data["hosts"][1]["address"] = data["hosts"][0]["address"]
    data["policy"]["attempts"] = 0
    path = tmp_path / "pawl.yaml"
    path.write_text(yaml.safe_dump(data))
    for command in (("run",), ("plan", "--etcd", "3.6"), ("status",)):
        argv = Pawl(path).argv(*command)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 4
        for sentence in (
            "ssh.prot: unknown key; did you mean `port`?",
            "no-such-key",
            "is not https; pawl speaks only TLS to the API",
            "have the same address",
            "policy.attempts:",
        ):
            assert sentence in done.stderr, f"{sentence!r} not in\n{done.stderr}"
    assert started(etcd_cluster) == before


def test_a_wrong_checksum_of_one_binary_installs_nothing(
    etcd_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = etcd_cluster
    for member in MEMBERS:
        cluster.ssh(member, f"rm -rf /opt/pawl/etcd/{NEW}")
    local = tmp_path / "etcd" / NEW
    fetch = [sys.executable, "-m", "pawl", "artifact", "fetch", "etcd", NEW, "--into", str(local)]
    subprocess.run(fetch, check=True, capture_output=True)
    sums = "".join(
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in local.iterdir()
    )
    (local / "SHA256SUMS").write_text(sums)
    broken = local / "etcdutl"
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    broken.unlink()
    broken.write_bytes(data)
    broken.chmod(0o755)
    pawl = cluster.operator(artifacts={"local": str(tmp_path), "sources": ["local"]})
    before = started(cluster)
    pawl.plan(*WAY_THERE)
    why = pawl.run(ok=(4,))
    assert "etcdutl has SHA-256" in why
    assert "Nothing was taken from there" in why
    for member in MEMBERS:
        assert NEW not in cluster.ssh(member, "ls -A /opt/pawl/etcd")
    assert started(cluster) == before


def test_of_two_pawls_at_once_one_is_refused_wherever_it_runs(etcd_cluster: Cluster) -> None:
    first = etcd_cluster.operator()
    first.plan(*WAY_THERE)
    run = PawlRun(first, hold=["before stage"])
    run.until_held()
    twin = PawlRun(first, "--no-probe")
    assert twin.finish() == 2
    assert "is running for this cluster on this machine" in twin.why()
    elsewhere = etcd_cluster.operator()
    elsewhere.plan(*WAY_THERE)
    before = started(etcd_cluster)
    assert "is at work on this cluster (its lease runs" in elsewhere.run(ok=(2,))
    run.kill()
    assert run.done() == []
    assert started(etcd_cluster) == before


def test_a_pawl_that_slept_for_a_minute_does_nothing_more(etcd_cluster: Cluster) -> None:
    """SIGSTOP right before it stops a member; another takes over and lands; then SIGCONT."""
    cluster = etcd_cluster
    cluster.etcd_all(OLD)
    sleeper = cluster.operator()
    sleeper.plan(*WAY_THERE)
    run = PawlRun(sleeper, hold=["before stop etcd-"])
    held = run.until_held()
    run.process.send_signal(signal.SIGSTOP)
    slept = time.monotonic()
    assert set(cluster.etcd_versions().values()) == {OLD}, "nothing is stopped yet"

    other = cluster.operator()
    other.plan(*WAY_THERE)
    eventually("the Lease expires", lambda: "is at work" not in other.run(ok=(0, 2)), 90)
    assert set(cluster.etcd_versions().values()) == {NEW}
    time.sleep(max(0.0, slept + 60 - time.monotonic()))

    before, done = started(cluster), len(run.done("stop", "switch", "start"))
    epochs = {m: cluster.ssh(m, "cat /var/lib/pawl/epoch") for m in MEMBERS}
    run.process.send_signal(signal.SIGCONT)
    run.go()
    assert run.finish() == 2, run.said()
    assert "a newer operator owns this cluster, this one must stop" in run.why(), held
    assert len(run.done("stop", "switch", "start")) == done
    assert started(cluster) == before
    assert {m: cluster.ssh(m, "cat /var/lib/pawl/epoch") for m in MEMBERS} == epochs
