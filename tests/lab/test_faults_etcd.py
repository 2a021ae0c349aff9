"""Faults of etcd members and their machines while they are rolled. On real machines.

Each test works on the next member that still runs the old release, leaves every member healthy,
and the next one goes on from there; a test that needs more old members brings them back by pawl.
"""

from __future__ import annotations

import pytest
from faulty import NEW, OLD, Cluster, Writer, eventually, swaps, until_swapped
from pawl_process import PawlRun

WAY_THERE = ("--only", "etcd", "--etcd", NEW)


def test_the_leader_changes_between_check_and_stop(etcd_cluster: Cluster) -> None:
    """Once while pawl can still see it: it moves leadership away. And once in the very last
    instant, after its last look: etcd hands over on SIGTERM; nothing acknowledged is lost."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(2)
    host = swaps(pawl)[0]
    assert cluster.leader() != host
    with Writer(cluster) as writer:
        run = PawlRun(pawl, hold=["after restore-proof", f"before stop {host}/"])
        run.until_held()
        cluster.lead(host)
        run.go()
        run.until_held()
        (moved,) = run.done("move-leader")
        assert moved.startswith(f"{host} to ")
        assert cluster.leader() != host
        cluster.lead(host)
        run.go()
        until_swapped(run, host)
        assert cluster.leader() != host
    assert len(writer.acknowledged) > 20
    assert writer.lost() == set()
    assert cluster.etcd_versions()[host] == NEW


def test_a_second_member_dies_while_one_is_stopped(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    pawl = cluster.on_the_way(2)
    host = swaps(pawl)[0]
    dead = swaps(pawl)[1]
    run = PawlRun(pawl, hold=[f"after stop {host}/"])
    run.until_held()
    cluster.lab.power_off(dead)
    run.go()
    try:
        assert run.finish(180) == 4, run.said()
        assert f"/swap/{dead} waits: " not in run.why() or dead in run.why()
        assert dead in run.why(), run.why()
        assert ", then: pawl resume." in run.why()
        versions = cluster.etcd_versions()
        assert versions[host] == NEW, "the one that was stopped was finished, which saves quorum"
        assert dead not in versions
        assert cluster.etcdctl(host, "put", "quorum", "kept") == "OK"
        stopped = [t for t in run.done("stop") if not t.startswith(f"{host}/")]
        assert stopped == [], "nobody else was touched"
    finally:
        cluster.lab.power_on(dead)
    eventually(f"{dead} is back", lambda: dead in cluster.etcd_versions())


def test_the_transferee_dies_during_the_move_of_the_leader(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    old = cluster.old_members(1)
    cluster.lead(old[-1])
    pawl = cluster.on_the_way(1, pawl=cluster.operator(policy={"patience": 120}))
    leader = swaps(pawl)[-1]
    run = PawlRun(pawl, hold=["before move-leader"])
    target = run.until_held()["target"]
    assert target.startswith(f"{leader} to "), target
    dead = target.rpartition(" ")[2]
    cluster.lab.power_off(dead)
    run.go()
    try:
        waits = f"/soak waits: host {dead} could not be read"
        run.until(lambda e: e["event"] == "waiting" and waits in e["why"])
        first, *_, last = run.done("move-leader")
        assert first == target
        third = last.rpartition(" ")[2]
        assert third not in (dead, leader)
        versions = cluster.etcd_versions()
        assert versions[leader] == OLD, "the last member is held back: still a way back"
        assert cluster.leader() == third
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
    assert len(intended) == 1, "the stop had happened, and was found"
    assert cluster.etcd_versions()[host] == NEW


def test_the_host_reboots_during_the_swap(etcd_cluster: Cluster) -> None:
    """After the new binary was put in place, before it was started."""
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1)
    host = swaps(pawl)[0]
    run = PawlRun(pawl, hold=[f"after switch {host}/"])
    run.until_held()
    booted = cluster.ssh(host, "cat /proc/1/stat | cut -d' ' -f22")
    cluster.ssh(host, "systemctl reboot", check=False)
    run.go()
    until_swapped(run, host)
    assert cluster.ssh(host, "cat /proc/1/stat | cut -d' ' -f22") != booted
    assert cluster.etcd_versions()[host] == NEW


@pytest.mark.parametrize(
    ("release", "when_run", "sentence"),
    [
        ("3.6.15", "echo panic >&2; exit 2", "etcd on {host} crashed 2 times after its start."),
        (
            "3.6.16",
            "exec sleep infinity",
            "etcd member {host} does not answer yet. This did not change for 12 s.",
        ),
    ],
    ids=["crash-loops", "never-healthy"],
)
def test_the_new_binary_goes_back_to_the_old_one_when_it(
    etcd_cluster: Cluster, release: str, when_run: str, sentence: str
) -> None:
    """The artefact is a script that answers with the right version and takes all flags."""
    cluster = etcd_cluster
    pawl = cluster.scripted(release, "etcd", when_run=when_run)
    cluster.on_the_way(0, pawl=pawl, to=release)
    host = swaps(pawl)[0]
    others = [h for h in cluster.hosts() if h != host]
    before = {h: cluster.since(h, "etcd") for h in others}
    versions = cluster.etcd_versions()
    why = pawl.run(ok=(4,))
    assert f"etcd {release} on {host} did not become healthy: " in why
    assert sentence.format(host=host) in why
    assert f"etcd {versions[host]} runs there again, healthy, on the same data" in why
    assert f"Look at `journalctl -u etcd.service` on {host}" in why
    assert cluster.etcd_versions() == versions
    assert {h: cluster.since(h, "etcd") for h in others} == before
    assert cluster.ssh(host, "readlink /opt/pawl/etcd/current") == versions[host]


def test_nospace_stops_the_roll_before_a_member_is_touched(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    pawl = cluster.on_the_way(1)
    before = {h: cluster.since(h, "etcd") for h in cluster.hosts()}
    run = PawlRun(pawl, hold=["after restore-proof"])
    run.until_held()
    cluster.raise_alarm("etcd-2", "NOSPACE")
    try:
        run.go()
        assert run.finish(180) == 4, run.said()
        assert "NOSPACE" in run.why(), run.why()
        assert "clear its cause and disarm it first" in run.why()
        assert run.done("stop") == []
        refused = cluster.operator()("plan", *WAY_THERE, ok=(2,))
        assert refused == ""
    finally:
        cluster.etcdctl("etcd-2", "alarm", "disarm")
    assert {h: cluster.since(h, "etcd") for h in cluster.hosts()} == before
    eventually("the API writes again", lambda: not cluster.status()["unread"])
