"""Controllers change hands: nobody waits for the Lease of a process that has ended."""

from __future__ import annotations

import pytest
from harness import RUN, drive, planned, virtual

from pawl.core.events import StepDone
from pawl.core.plan import Target
from pawl.testing.cluster import SimCluster
from pawl.testing.holders import RUNS, Leases

NAMES = ("kube-controller-manager", "kube-scheduler")
CONTROL_PLANE = Target(kubernetes="1.37.0", only=("control-plane",))


def without_a_leader(cluster: SimCluster) -> list[float]:
    """Seconds from each last stop of its kind until the step of it was done."""
    done = [e for e in cluster.journal.events(RUN) if isinstance(e, StepDone)]
    found = []
    for name in NAMES:
        stop = [c for c in cluster.world.changes if c.verb == "stop" and name in c.target][-1]
        step = f"control-plane/1.37.0/{name}/{stop.target.partition('/')[0]}"
        found += [e.at - stop.at for e in done if e.step == step]
    assert len(found) == len(NAMES)
    return found


@virtual
async def test_the_lease_of_a_controller_that_ended_is_freed() -> None:
    cluster = SimCluster()
    ended = await drive(cluster, planned(cluster, CONTROL_PLANE))
    assert ended.outcome == "done", ended.why
    freed = [c.target for c in cluster.world.changes if c.verb == "free-lease"]
    assert freed == [f"{name} of cp-1" for name in NAMES], "only its leader, which comes last"
    assert max(without_a_leader(cluster)) < RUNS / 2


@virtual
async def test_a_lease_that_may_not_be_written_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = SimCluster()
    monkeypatch.setattr(Leases, "free", lambda *_: False)
    ended = await drive(cluster, planned(cluster, CONTROL_PLANE))
    assert ended.outcome == "done", ended.why
    assert min(without_a_leader(cluster)) >= RUNS - 1


@pytest.mark.parametrize("way", ["in-place", "replace"])
def test_whoever_leads_at_the_end_is_alive(way: str) -> None:
    @virtual
    async def go() -> None:
        cluster = SimCluster()
        target = Target(
            kubernetes="1.37.0",
            only=("control-plane",),
            control_plane_strategy="replace" if way == "replace" else "in-place",
        )
        assert (await drive(cluster, planned(cluster, target))).outcome == "done"
        assert [c for c in cluster.world.changes if c.verb == "free-lease"]
        for name in NAMES:
            assert cluster.world.runs(cluster.world.leases.holder(name).partition("_")[0], name)

    go()
