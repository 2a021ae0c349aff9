"""Faults of etcd members and their machines while they are rolled. On real machines.

Each test works on the next member that still runs the old release, leaves every member healthy,
and the next one goes on from there; a test that needs more old members brings them back by pawl.
"""

from __future__ import annotations

import re

import pytest
from faulty import IN_VAIN, NEW, OLD, Cluster, Writer, eventually, stopped, swaps, until_swapped
from pawl_process import PawlRun, held

WAY_THERE = ("--only", "etcd", "--etcd", NEW)


def test_the_leader_changes_between_check_and_stop(etcd_cluster: Cluster) -> None:
    """Once while pawl can still see it: it moves leadership away. And once in the very last
    instant, after its last look: etcd hands over on SIGTERM; nothing acknowledged is lost."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(2)
    host = swaps(pawl)[0]
    with Writer(cluster) as writer:
        run = PawlRun(pawl, hold=["after restore-proof", f"before stop {host}/"])
        run.until_held()
        term = cluster.lead(host)
        run.go()
        run.until_held()
        moved = run.done("move-leader")
        assert moved, "a leader is not stopped"
        assert all(m.startswith(f"{host} to ") for m in moved), moved
        assert cluster.has_left(host, term)
        term = cluster.lead(host)
        writer.has_written(10)
        run.go()
        until_swapped(run, host)
        assert cluster.has_left(host, term)
        writer.has_written(10)
    assert writer.lost() == set()
    assert cluster.etcd_versions()[host] == NEW


def test_a_second_member_dies_while_one_is_stopped(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    pawl = cluster.on_the_way(2, pawl=cluster.operator(policy=IN_VAIN))
    host, dead, *_ = swaps(pawl)
    run = PawlRun(pawl, hold=[f"after stop {host}/"])
    run.until_held()
    cluster.lab.power_off(dead)
    run.go()
    try:
        assert run.finish() == 4, run.said()
        assert dead in run.why(), run.why()
        assert ", then: pawl resume." in run.why()
        versions = cluster.etcd_versions(down={dead})
        assert versions[host] == NEW, "the one that was stopped was finished, which saves quorum"
        assert cluster.etcdctl(host, "put", "quorum", "kept") == "OK"
        assert run.done("stop") == stopped(run, host), "nobody else was touched"
    finally:
        cluster.lab.power_on(dead)
    cluster.members()


def held_before_its_move(cluster: Cluster) -> tuple[PawlRun, str, str]:
    """A run that stands still right before it moves the leadership away from its last member:
    (the run, that member, where it goes). A disk that stalls may move it before pawl does, and then
    there is nothing to hold: the members are brought back, and it is tried again."""
    for _ in range(3):
        old = cluster.old_members(1)
        cluster.lead(old[-1])
        pawl = cluster.on_the_way(1)
        if not any("/move-leader/" in step["id"] for step in pawl.steps):
            continue
        run = PawlRun(pawl, hold=["after restore-proof", "before move-leader"])
        run.until_held()
        last = swaps(pawl)[-1]
        cluster.lead(last)
        run.go()
        met = run.meets(held)
        if met is not None and met["target"].startswith(f"{last} to "):
            return run, last, str(met["target"]).rpartition(" ")[2]
        if met is not None:
            run.go()
        assert run.finish() == 0, run.said()
    raise AssertionError("three times the leadership moved by itself")


def test_the_transferee_dies_during_the_move_of_the_leader(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    run, leader, dead = held_before_its_move(cluster)
    _, term = cluster.leadership()
    cluster.lab.power_off(dead)
    run.go()
    try:
        waits = f"/soak waits: host {dead} could not be read"
        run.until(lambda e: e["event"] == "waiting" and waits in e["why"])
        first, *others = run.done("move-leader")
        assert first == f"{leader} to {dead}"
        assert dead not in [m.rpartition(" ")[2] for m in others]
        versions = cluster.etcd_versions(down={dead})
        assert versions[leader] == OLD, "the last member is held back: still a way back"
        assert cluster.has_left(leader, term)
    finally:
        cluster.lab.power_on(dead)
    assert run.finish() == 0, run.said()
    assert set(cluster.etcd_versions().values()) == {NEW}


def test_the_connection_drops_after_the_command_ran(etcd_cluster: Cluster) -> None:
    """sshd is killed on the host right after it has carried out the stop."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1)
    host = swaps(pawl)[0]
    wrapper = "/usr/local/sbin/systemctl"
    script = (
        '#!/bin/sh\n/usr/bin/systemctl "$@"\ncode=$?\n[ "$1" = stop ] || exit $code\n'
        f"rm -f {wrapper}\n"
        "touch /run/dropped\npkill -KILL -f '^sshd: root'\n"
    )
    cluster.write(host, wrapper, script, "755")
    run = PawlRun(pawl, "--no-probe")
    until_swapped(run, host)
    assert cluster.ssh(host, "ls /run/dropped"), "the connection was dropped"
    lost = [e["why"] for e in run.seen if e["event"] == "waiting" and "Looking again" in e["why"]]
    assert any(f"the SSH connection to {host} broke" in why for why in lost), lost
    intended = [e for e in run.seen if e["event"] == "effect-intended" and e["effect"] == "stop"]
    mine = [e for e in intended if e["target"].startswith(f"{host}/")]
    assert len(mine) == 1, "the stop had happened, and was found"
    assert cluster.etcd_versions()[host] == NEW


def test_the_host_reboots_during_the_swap(etcd_cluster: Cluster) -> None:
    """After the new binary was put in place, before it was started."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1)
    host = swaps(pawl)[0]
    run = PawlRun(pawl, hold=[f"after switch {host}/"])
    run.until_held()
    booted = cluster.ssh(host, "cat /proc/1/stat | cut -d' ' -f22")
    cluster.ran(host, "systemctl reboot")
    run.go()
    until_swapped(run, host)
    assert cluster.ssh(host, "cat /proc/1/stat | cut -d' ' -f22") != booted
    assert cluster.etcd_versions()[host] == NEW


@pytest.mark.parametrize(
    ("release", "when_run", "seconds", "sentence"),
    [
        (
            "3.6.15",
            "echo panic >&2; exit 2",
            180,
            r"etcd on {host} crashed ([2-9]|\d\d+) times after its start\.",
        ),
        (
            "3.6.16",
            "exec sleep infinity",
            25,
            r"etcd member {host} does not answer yet\. This did not change for 25 s\.",
        ),
    ],
    ids=["crash-loops", "never-healthy"],
)
def test_the_new_binary_goes_back_to_the_old_one_when_it(
    etcd_cluster: Cluster, release: str, when_run: str, seconds: int, sentence: str
) -> None:
    """The artefact is a script that answers with the right version and takes all flags."""
    cluster = etcd_cluster
    deadline = {"timeouts": {"member_healthy": seconds}}
    pawl = cluster.scripted(release, "etcd", when_run=when_run, policy=deadline)
    cluster.on_the_way(0, pawl=pawl, to=release)
    host = swaps(pawl)[0]
    others = [h for h in cluster.hosts() if h != host]
    before = {h: cluster.since(h, "etcd") for h in others}
    versions = cluster.etcd_versions()
    why = pawl.run(ok=(4,))
    assert f"etcd {release} on {host} did not become healthy: " in why
    assert re.search(sentence.format(host=host), why), why
    assert f"etcd {versions[host]} runs there again, healthy, on the same data" in why
    assert f"Look at `journalctl -u etcd.service` on {host}" in why
    assert cluster.etcd_versions() == versions
    assert {h: cluster.since(h, "etcd") for h in others} == before
    assert cluster.ssh(host, "readlink /opt/pawl/etcd/current") == versions[host]


def test_nospace_stops_the_roll_before_a_member_is_touched(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1, pawl=cluster.operator(policy=IN_VAIN))
    before = {h: cluster.since(h, "etcd") for h in cluster.hosts()}
    run = PawlRun(pawl, hold=["after restore-proof"])
    run.until_held()
    cluster.raise_alarm("etcd-2", "NOSPACE")
    try:
        run.go()
        assert run.finish() == 4, run.said()
        told = "etcd alarm NOSPACE is raised: clear its cause and disarm it first"
        assert told in run.told(), run.said()
        assert run.done("stop") == []
        refused = cluster.operator().once(lambda d: d.returncode == 2, "plan", *WAY_THERE)
        assert refused.stdout == ""
    finally:
        cluster.etcdctl("etcd-2", "alarm", "disarm")
    assert {h: cluster.since(h, "etcd") for h in cluster.hosts()} == before
    eventually("the API writes again", lambda: not cluster.status()["unread"])
