"""Faults of pawl's own side: its configuration, artefacts, journal, clock, twins. On real machines.

Each ends safe, with the sentence that explains it, and the same cluster is used by the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from faulty import NEW, OLD, Cluster, eventually, going_on, stopped, swaps, until_swapped
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
    cluster.etcd_all(OLD)  # whatever ran before: what is in use must not be taken away
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
    first = etcd_cluster.on_the_way(1)
    run = PawlRun(first, hold=["before snapshot"])
    run.until_held()
    twin = PawlRun(first, "--no-probe")
    assert twin.finish() == 2
    assert "is running for this cluster on this machine" in twin.why()
    elsewhere = etcd_cluster.elsewhere()
    elsewhere.plan(*WAY_THERE)
    before = started(etcd_cluster)
    assert "is at work on this cluster (its lease runs" in elsewhere.run(ok=(2,))
    run.kill()
    assert run.done("snapshot", "stop", "switch", "start") == []
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

    other = cluster.elsewhere()
    other.plan(*WAY_THERE)
    eventually("the Lease expires", lambda: "is at work" not in other.run(ok=(0, 2)))
    assert set(cluster.etcd_versions().values()) == {NEW}
    time.sleep(max(0.0, slept + 60 - time.monotonic()))

    before, done = started(cluster), len(run.done("stop", "switch", "start"))
    epochs = {m: cluster.ssh(m, "cat /var/lib/pawl/epoch") for m in MEMBERS}
    run.process.send_signal(signal.SIGCONT)
    run.go()
    assert run.finish() == 2, run.said()
    # It is told by whom it asks first: the host, or the Lease.
    fenced = r"a newer operator owns this cluster, this one must stop|this operator must stop"
    assert re.search(fenced, run.why()), (held, run.why())
    assert len(run.done("stop", "switch", "start")) == done
    assert started(cluster) == before
    assert {m: cluster.ssh(m, "cat /var/lib/pawl/epoch") for m in MEMBERS} == epochs


@contextlib.contextmanager
def disk(kind: str, directory: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file system of its own at `directory`: (where it is, how to mend it after the fault)."""
    image = directory.with_suffix(".image")
    directory.mkdir()

    def mount() -> None:
        if kind == "full":
            command = ["mount", "-t", "tmpfs", "-o", "size=1M,mode=700", "tmpfs"]
        else:
            command = ["mount", "-o", "loop,errors=remount-ro", str(image)]
        subprocess.run([*command, str(directory)], check=True)

    def unmount() -> None:
        subprocess.run(["umount", str(directory)], check=True)

    def mend() -> None:
        if kind == "full":
            (directory / "filler").unlink()
        else:
            unmount()
            subprocess.run(["e2fsck", "-fyp", str(image)], check=False, capture_output=True)
            mount()

    if kind == "read-only":
        with image.open("wb") as blank:
            blank.truncate(24 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    mount()
    try:
        yield directory, mend
    finally:
        unmount()


def fail(kind: str, directory: Path) -> None:
    """Make the disk fail as disks do."""
    if kind == "full":
        with contextlib.suppress(OSError), (directory / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        return
    # An error in its metadata makes ext4 read-only under everybody who writes.
    argv = ["findmnt", "-no", "SOURCE", str(directory)]
    device = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("test")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("full", "cannot be written: the disk is full. Free some space and run again."),
        ("read-only", "cannot be written: its disk has an error, or was made read-only because"),
    ],
    ids=["full", "read-only"],
)
def test_the_disk_of_the_journal_is(
    etcd_cluster: Cluster, tmp_path: Path, kind: str, sentence: str
) -> None:
    """While a member is stopped: pawl does nothing more, and goes on from there once mended."""
    cluster = etcd_cluster
    cluster.old_members(1)
    with disk(kind, tmp_path / "disk") as (where, mend):
        pawl = cluster.on_the_way(1, pawl=cluster.operator(state=where / "state"))
        host = swaps(pawl)[0]
        run = PawlRun(pawl, hold=[f"after stop {host}/"])
        run.until_held()
        fail(kind, where)
        run.go()
        assert run.finish() == 4, run.said()
        assert sentence in run.why(), run.why()
        assert "The cluster is not harmed" in run.why()
        assert run.done("switch") == []
        assert cluster.active(host, "etcd") == "inactive"
        assert cluster.etcd_versions(down={host}), "quorum"
        again = PawlRun(pawl, "--no-probe")
        assert again.finish() == 4, again.said()
        assert "The cluster is not harmed" in again.why() or "lock file" in again.why()
        mend()
        run = going_on(pawl)
        until_swapped(run, host)
        assert stopped(run, host) == [], "it was found stopped"
    assert cluster.etcd_versions()[host] == NEW


def test_the_journal_is_deleted(etcd_cluster: Cluster, tmp_path: Path) -> None:
    """While a member is stopped: a new plan from a new journal finishes that member first."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1, pawl=cluster.operator(state=tmp_path / "state"))
    host = swaps(pawl)[0]
    run = PawlRun(pawl, hold=[f"after stop {host}/"])
    run.until_held()
    for file in (tmp_path / "state").glob("journal.db*"):
        file.unlink()
    run.go()
    assert run.finish() == 4, run.said()
    assert "was deleted or replaced while in use: start pawl again" in run.why()
    assert "The cluster is not harmed" in run.why()
    assert cluster.active(host, "etcd") == "inactive"
    pawl.digest = ""
    assert "nothing to run: no run is unfinished and no new plan is approved" in pawl.run(ok=(4,))
    pawl.plan(*WAY_THERE)
    assert swaps(pawl)[0] == host
    run = going_on(pawl)
    until_swapped(run, host)
    assert stopped(run, host) == [], "it was found stopped"
    assert cluster.etcd_versions()[host] == NEW


def test_a_host_that_tells_a_clock_an_hour_off_is_refused(etcd_cluster: Cluster) -> None:
    """The machines share this kernel's clock, so the host's `date` is made to tell another."""
    cluster = etcd_cluster
    fake = "/usr/local/sbin/date"
    script = "#!/bin/sh\nexec /usr/bin/date -d '+3600 seconds' \"$@\"\n"
    cluster.write("etcd-2", fake, script, "755")
    try:
        refused = cluster.operator().once(lambda d: d.returncode == 2, "plan", *WAY_THERE)
        told = re.search(
            r"PAWL-H005 host etcd-2: is \+(\d+\.\d) s off \(limit 1\.0 s\)\.", refused.stderr
        )
        assert told, refused.stderr
        # Exact to half of what the answer took.
        assert float(told[1]) == pytest.approx(3600, abs=30)
        assert "Set up time synchronisation" in refused.stderr
    finally:
        cluster.ssh("etcd-2", f"rm {fake}")


def test_pawls_own_clock_jumps_forth_and_back_in_the_middle_of_a_swap(
    etcd_cluster: Cluster,
) -> None:
    """The machines' clocks stay; it is the operator's that is set."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1)
    host = swaps(pawl)[0]
    run = PawlRun(pawl, hold=[f"before stop {host}/", f"after switch {host}/"])
    run.until_held()
    run.go("clock 3600")
    run.go()
    run.until_held()
    run.go("clock -7200")
    run.go()
    until_swapped(run, host)
    stamps = [e["at"] for e in run.seen if "at" in e]
    assert max(stamps) - min(stamps) > 7000, "the clock was set"
    assert cluster.etcd_versions()[host] == NEW
