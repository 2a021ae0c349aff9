"""Whole upgrades against the simulated cluster, with its invariants watched at every instant."""

from __future__ import annotations

import os

import anyio
import pytest
from harness import UP, drive, planned, versions, virtual
from msgspec.structs import replace

from pawl.core.accept import Waiver
from pawl.core.days import day_of
from pawl.core.plan import Target
from pawl.interfaces.cli.live import JsonLines, PlainLines
from pawl.testing.cluster import SimCluster

NEW = {
    "etcd": {"3.6.14"},
    "kube-apiserver": {"1.37.0"},
    "emulates": {"1.37"},
    "controllers": {"1.37.0"},
    "kubelet": {"1.37.0"},
    "kube-proxy": {"1.37.0"},
}


@virtual
async def test_everything_in_place() -> None:
    cluster = SimCluster()
    ids = {m.host: m.member_id for m in cluster.state().members}
    ended = await drive(cluster, planned(cluster))
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert versions(cluster) == NEW
    state = cluster.state()
    assert {m.host: m.member_id for m in state.members} == ids
    assert {m.cluster_version for m in state.members} == {"3.6.0"}
    assert cluster.world.etcd.leader_changes == 1
    assert not [n for n in state.nodes if n.unschedulable or n.taints]
    assert {b.admin for b in state.balancer} == {"ready"}


@pytest.mark.parametrize("screen", ["lines", "json"])
def test_a_run_that_nobody_listens_to_any_more_goes_on(screen: str) -> None:
    """`pawl run | head`: the pipe is closed in the middle of a step."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:

        @virtual
        async def go() -> None:
            cluster = SimCluster()
            plan = planned(cluster)
            lines = PlainLines(plan, set(), out) if screen == "lines" else JsonLines(out)
            ended = await drive(cluster, plan, narrator=lines)
            assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why

        go()
        out.write("and nothing fails for it at the end\n")


@pytest.mark.parametrize("part", ["etcd", "control-plane", "nodes", "all"])
def test_replacing_machines(part: str) -> None:
    @virtual
    async def go() -> None:
        cluster = SimCluster()
        target = replace(
            UP,
            etcd_strategy="replace" if part in ("etcd", "all") else "in-place",
            control_plane_strategy="replace" if part in ("control-plane", "all") else "in-place",
            node_strategy="replace" if part in ("nodes", "all") else "in-place",
        )
        ended = await drive(cluster, planned(cluster, target))
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
        assert versions(cluster) == NEW
        assert len(cluster.state().nodes) == 3

    go()


@virtual
async def test_etcd_alone_and_down_again() -> None:
    cluster = SimCluster()
    up = planned(cluster, Target(etcd="3.6.14", only=("etcd",)))
    assert (await drive(cluster, up)).outcome == "done"
    down = planned(cluster, Target(etcd="3.5.33", only=("etcd",)))
    ended = await drive(cluster, down, run="run-2")
    assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
    assert versions(cluster)["etcd"] == {"3.5.33"}
    assert {m.cluster_version for m in cluster.state().members} == {"3.5.0"}


@pytest.mark.parametrize("size", [1, 5])
def test_other_sizes(size: int) -> None:
    @virtual
    async def go() -> None:
        cluster = SimCluster(etcd=size, control_planes=size, workers=2)
        ended = await drive(cluster, planned(cluster))
        assert (ended.outcome, cluster.world.violations) == ("done", []), ended.why
        assert versions(cluster) == NEW

    go()


@virtual
async def test_a_waiver_that_is_over_when_the_run_begins_forbids_it() -> None:
    cluster = SimCluster()
    the_plan = planned(cluster)
    waiver = Waiver(
        code="PAWL-U001", owner="ada", expires=day_of(cluster.world.now), reason="4711", where="*"
    )
    the_plan = replace(the_plan, waivers=(waiver,))
    await anyio.sleep(25 * 3600)
    ended = await drive(cluster, the_plan)
    assert ended.outcome == "failed"
    assert "the waiver of PAWL-U001 by ada ended on" in ended.why
