"""etcd machines made anew on their kept disks: a whole roll, and a disk that is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from faulty import NEW, OLD, Cluster, swaps
from pawl_process import PawlRun

from pawl.core.errors import Fenced
from pawl.interfaces.wiring import open_session


async def claim(config: Path, host: str, epoch: int) -> None:
    """What an operator of that epoch would do first on the host."""
    async with open_session(config) as session:
        await session.hosts.claim(host, epoch)


def another_disk(cluster: Cluster, host: str) -> Path:
    """Attach an empty disk in place of the member's own, which is put aside; returns where."""
    disk = cluster.lab.machine(host).dir.disks / "etcd"
    aside = disk.with_name("etcd-aside")
    disk.rename(aside)
    return aside


def own_disk(cluster: Cluster, host: str, aside: Path) -> None:
    """What a person would do: power off, attach the right disk, power on."""
    cluster.lab.power_off(host)
    disk = aside.with_name("etcd")
    disk.rename(disk.with_name("etcd-blank"))
    aside.rename(disk)
    cluster.lab.power_on(host)
    assert cluster.etcd_versions()[host] == NEW


def test_a_whole_roll_by_replacement_in_which_disks_are_not_attached(
    etcd_cluster: Cluster,
) -> None:
    """The first machine comes back with an empty disk, on which the unit does not start; the
    second with an empty one on which it does. Both have their own again, and the same run lands.
    Every new machine knows its operator before that one has claimed it."""
    cluster = etcd_cluster
    cluster.etcd_all(OLD)
    before = cluster.members()
    machines = {m.name: m.identity for m in cluster.lab.dir.machines()}
    cluster.etcdctl("etcd-1", "put", "kept", "on-its-disk")
    pawl = cluster.operator()
    pawl.plan("--only", "etcd", "--etcd", NEW, "--strategy", "etcd=replace")
    first, second, third = swaps(pawl)

    run = PawlRun(
        pawl, hold=[f"before replace-machine {first} ", f"after replace-machine {first} "]
    )
    run.until_held()
    aside = another_disk(cluster, first)
    run.go()
    run.until_held()
    epoch = int(cluster.ssh(first, "cat /var/lib/pawl/epoch"))
    assert epoch >= 1, "born with the epoch of its operator"
    with pytest.raises(Fenced, match=f"epoch {epoch - 1} is behind {epoch}"):
        asyncio.run(claim(pawl.config, first, epoch - 1))
    run.go()
    assert run.finish() == 4, run.said()
    assert f"etcd member {first} came back with an empty data disk" in run.why(), run.why()
    assert "The other members serve. Attach the disk that it had" in run.why()
    assert cluster.since(first, "etcd") == "0", "found before etcd was ever started there"
    cluster.members(down={first})
    assert len(run.done("replace-machine")) == 1, "the old image was not tried on the same disk"
    assert cluster.etcdctl(second, "put", "quorum", "kept") == "OK"
    own_disk(cluster, first, aside)

    run = PawlRun(pawl, hold=[f"before replace-machine {second} "])
    run.until_held()
    aside = another_disk(cluster, second)
    aside.with_name("etcd").mkdir(mode=0o700)
    (aside.with_name("etcd") / ".disk").touch()
    run.go()
    assert run.finish() == 4, run.said()
    assert f"etcd member {second} came back with a" in run.why(), run.why()
    assert "data disk: etcd is stopped there" in run.why()
    assert cluster.active(second, "etcd") in ("inactive", "failed"), "it may have panicked before"
    cluster.members(down={second})
    own_disk(cluster, second, aside)

    run = PawlRun(pawl, "--no-probe")
    assert run.finish() == 0, run.said()
    assert [t.split()[0] for t in run.done("replace-machine")] == [third]
    after = cluster.members()
    assert {m["version"] for m in after.values()} == {NEW}
    assert {h: m["member_id"] for h, m in after.items()} == {
        h: m["member_id"] for h, m in before.items()
    }
    now = {m.name: m.identity for m in cluster.lab.dir.machines()}
    assert {n for n in now if now[n] != machines[n]} == {first, second, third}
    for host in before:
        assert cluster.etcdctl(host, "get", "kept", "--print-value-only") == "on-its-disk"
