"""etcd 3.6 → 3.5 online, by a plan like any other, and its exit while a member is still new."""

from __future__ import annotations

import signal

from faulty import NEW, OLD, Cluster, swaps
from pawl_process import PawlRun

from pawl.core.version import Minor

MINOR_OLD, MINOR_NEW = str(Minor.parse(OLD)), str(Minor.parse(NEW))


def test_a_begun_downgrade_is_cancelled_by_pawl_rollback(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    cluster.etcd_all(NEW)
    before = cluster.member_ids()
    pawl = cluster.operator()
    pawl.plan("--only", "etcd", "--etcd", MINOR_OLD)
    host = swaps(pawl)[0]
    run = PawlRun(pawl, hold=[f"after start {host}/"])
    run.until_held()
    run.process.send_signal(signal.SIGINT)  # it ends with this member
    run.go()
    assert run.finish() == 130, run.said()
    mixed = cluster.members()
    assert mixed[host]["version"] == OLD
    new = {h: m for h, m in mixed.items() if h != host}
    assert {m["version"] for m in new.values()} == {NEW}
    assert {m["storage_version"] for m in new.values()} == {f"{MINOR_OLD}.0"}
    assert {m["downgrade_target"] for m in new.values()} == {f"{MINOR_OLD}.0"}
    cluster.etcdctl(host, "put", "written-in-between", "yes")

    said = pawl("rollback", "--yes", "--no-probe")
    assert "the downgrade is cancelled." in said
    after = cluster.members()
    assert {m["version"] for m in after.values()} == {NEW}
    assert {m["downgrade_target"] for m in after.values()} == {""}
    assert {m["cluster_version"] for m in after.values()} == {f"{MINOR_NEW}.0"}
    assert {m["storage_version"] for m in after.values()} == {f"{MINOR_NEW}.0"}
    assert cluster.member_ids() == before
    assert cluster.etcdctl(host, "get", "written-in-between", "--print-value-only") == "yes"


def test_a_plan_that_goes_up_cancels_a_begun_downgrade_first(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    cluster.etcd_all(NEW)
    pawl = cluster.operator()
    pawl.plan("--only", "etcd", "--etcd", MINOR_OLD)
    run = PawlRun(pawl, hold=["after enable-downgrade"])
    run.until_held()
    run.kill()
    other = cluster.operator()
    other.plan("--only", "etcd", "--etcd", MINOR_NEW)
    assert other.steps[1]["id"] == "etcd/cancel-downgrade"
    other.run()
    after = cluster.members()
    assert {m["downgrade_target"] for m in after.values()} == {""}
    assert {m["storage_version"] for m in after.values()} == {f"{MINOR_NEW}.0"}


def test_etcd_goes_down_a_minor_online(etcd_cluster: Cluster) -> None:
    cluster = etcd_cluster
    cluster.etcd_all(NEW)
    before = cluster.member_ids()
    cluster.etcdctl("etcd-1", "put", "written-by-the-newer", "yes")
    pawl = cluster.operator()
    pawl.plan("--only", "etcd", "--etcd", MINOR_OLD)
    ids = [s["id"] for s in pawl.steps]
    assert ids.index(f"etcd/{OLD}/enable-downgrade") < ids.index(
        f"etcd/{OLD}/swap/{swaps(pawl)[0]}"
    )
    run = PawlRun(pawl, "--no-probe")
    assert run.finish() == 0, run.said()
    notes = [e["note"] for e in run.seen if e["event"] == "step-done"]
    assert any(n.startswith(f"cluster version {MINOR_OLD} on all members; ") for n in notes), notes
    after = cluster.members()
    assert {m["version"] for m in after.values()} == {OLD}
    assert {m["cluster_version"] for m in after.values()} == {f"{MINOR_OLD}.0"}
    assert cluster.member_ids() == before
    assert cluster.etcdctl("etcd-2", "get", "written-by-the-newer", "--print-value-only") == "yes"
    logs = [cluster.ssh(h, "journalctl -u etcd --no-pager -o cat") for h in before]
    assert any("the cluster has been downgraded" in text for text in logs)
