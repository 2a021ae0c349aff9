"""A dry run takes the path of a run, against a twin of what was observed."""

from __future__ import annotations

from harness import drive, planned
from test_crashes import UNCOUNTED, changes

from pawl.core.config import PolicyConfig
from pawl.core.model import ClusterState
from pawl.core.plan import Plan
from pawl.testing.cluster import SimCluster
from pawl.testing.twin import rehearse
from pawl.testing.virtual import run_virtual


def test_it_passes_points_of_no_return_at_which_a_run_waits_for_a_person() -> None:
    """In virtual time nobody ever comes: without an approval it would go round for ever."""

    async def observed() -> tuple[Plan, ClusterState, SimCluster]:
        cluster = SimCluster(policy=PolicyConfig())
        return planned(cluster), cluster.state(), cluster

    plan, state, cluster = run_virtual(observed())
    assert {s.approval for s in plan.steps} == {"", "etcd-last-member", "control-plane-finish"}
    ended, _, broken = rehearse(plan, state, cluster.config)
    assert (ended.outcome, broken) == ("done", ()), ended.why


def test_it_does_what_the_run_does() -> None:
    async def observed() -> tuple[Plan, ClusterState, SimCluster]:
        cluster = SimCluster()
        return planned(cluster), cluster.state(), cluster

    async def real() -> SimCluster:
        cluster = SimCluster()
        assert (await drive(cluster, planned(cluster))).outcome == "done"
        return cluster

    plan, state, cluster = run_virtual(observed())
    ended, would, broken = rehearse(plan, state, cluster.config)
    assert (ended.outcome, broken) == ("done", ()), ended.why
    kept = {c.identity for c in would if c.verb not in UNCOUNTED}
    assert kept == set(changes(run_virtual(real())))
    assert state.member("etcd-1").version == "3.5.33"  # type: ignore[union-attr]
