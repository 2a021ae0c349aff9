"""The least time that emptying a node could have taken is never more than it took, in any case."""

from __future__ import annotations

import pytest
from harness import RUN, drive, nodes_planned, virtual
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_faults import QUICK, nodes_only, quick

from pawl.core.config import LimitConfig
from pawl.core.emptied import Emptied, emptied
from pawl.core.pace import Pace
from pawl.core.rolled import Rolled, rolled
from pawl.testing.cluster import SimCluster
from pawl.testing.pods import POD_START, Deployment
from pawl.testing.virtual import run_virtual


def running(*deployments: Deployment, pace: Pace, limits: LimitConfig | None = None) -> SimCluster:
    cluster = quick()
    policy = replace(QUICK, pace=pace, limits=limits or LimitConfig())
    cluster.config = replace(cluster.config, policy=policy)
    pods = cluster.world.pods
    pods.deployments[:] = deployments
    pods.pods.clear()
    cluster.world.settle()
    for pod in pods.pods.values():
        pod.ready_at = 0.0
    cluster.world.violations.clear()
    return cluster


async def roll(cluster: SimCluster, strategy: str) -> tuple[tuple[Emptied, ...], Rolled]:
    target = replace(nodes_only(cluster), node_strategy=strategy)
    plan = nodes_planned(cluster, target)
    ended = await drive(cluster, plan)
    assert ended.outcome == "done", ended.why
    whole = rolled(plan, cluster.journal.events(RUN))
    assert whole is not None
    return emptied(cluster.journal.entries), whole


@st.composite
def deployments(draw: st.DrawFn) -> list[Deployment]:
    made: list[Deployment] = []
    for i in range(draw(st.integers(1, 4))):
        replicas = draw(st.integers(1, 5))
        surges = draw(st.booleans())
        budget = draw(st.booleans()) and (surges or replicas > 1)
        made.append(
            Deployment(
                namespace="shop",
                name=f"w{i}",
                replicas=replicas,
                minimum=replicas - (0 if surges else 1) if budget else None,
                after=draw(st.sampled_from(["", *(d.name for d in made)])),
                surges=surges,
                starts=draw(st.sampled_from([0.4, 1.3, 7.0])),
                ends=draw(st.sampled_from([0.1, 1.0, 5.0])),
            )
        )
    return made


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    deployments(),
    st.sampled_from([Pace(), Pace(settle=0.0, handover=5.0), Pace(starts_least=4, settle=3.0)]),
    st.sampled_from([LimitConfig(), LimitConfig(surge=2, max_unavailable=2)]),
    st.sampled_from(["replace", "in-place"]),
)
def test_the_bound_is_never_above_what_a_run_took(
    made: list[Deployment], pace: Pace, limits: LimitConfig, strategy: str
) -> None:
    async def go() -> tuple[tuple[Emptied, ...], Rolled]:
        return await roll(running(*made, pace=pace, limits=limits), strategy)

    found, whole = run_virtual(go())
    assert len(found) == whole.nodes == 3
    assert sum(e.least for e in found) / 2 <= whole.least <= whole.seconds + 0.05
    for e in found:
        assert e.least <= e.seconds + 0.02, e
        assert sum(p.seconds for p in e.pieces) == pytest.approx(e.least, abs=0.01)


@virtual
async def test_ends_handover_and_settling_are_counted_where_they_are_on_the_way() -> None:
    cluster = running(
        Deployment(namespace="shop", name="solo", replicas=1, starts=2.0, ends=5.0),
        Deployment(namespace="shop", name="user", replicas=1, after="solo", starts=1.0, ends=4.0),
        pace=Pace(settle=10.0, handover=2.0),
    )
    for pod in cluster.world.pods.pods.values():
        pod.node = "worker-1"
    nodes, whole = await roll(cluster, "replace")
    first = next(e for e in nodes if e.moved == 2)
    said = {p.source for p in first.pieces}
    assert said == {"measured", "policy.pace.handover", "policy.pace.settle"}
    # Both Ready, both handed over, one settled, and the last one ended.
    assert first.least == pytest.approx(2 + 2 + 10 + 1 + 2 + 4, abs=1.0)
    assert 0.9 <= first.efficiency <= 1
    said = " ".join(p.what for p in whole.pieces)
    assert said.count("takes pods") == said.count("the machine of") == 3
    assert "worker-1 is emptied" in said


@virtual
async def test_an_end_beside_a_longer_start_costs_nothing() -> None:
    cluster = running(
        Deployment(namespace="shop", name="a", replicas=1, surges=False, starts=7.0, ends=5.0),
        pace=Pace(),
    )
    (found,) = [e for e in (await roll(cluster, "replace"))[0] if e.moved]
    assert found.least == pytest.approx(7.0, abs=0.5)


@virtual
async def test_a_provider_settles_however_many_tiers_are_between() -> None:
    """`last` stands two tiers behind `first`, and nothing of the tier between that is on the node
    is its provider."""
    cluster = running(
        Deployment(namespace="shop", name="zero", replicas=1),
        Deployment(namespace="shop", name="first", replicas=1),
        Deployment(namespace="shop", name="mid", replicas=1, after="zero"),
        Deployment(namespace="shop", name="other", replicas=1, after="zero"),
        Deployment(namespace="shop", name="last", replicas=1, after="first,mid"),
        pace=Pace(settle=10.0, handover=0.0),
    )
    pods = cluster.world.pods
    here = ("first", "other", "last")
    for pod in pods.pods.values():
        pod.node = "worker-1" if pod.name.startswith(here) else "worker-2"
    bounds, _ = await roll(cluster, "replace")
    released = {
        pods.names[c.target].rpartition("-")[0]: c.at
        for c in reversed(cluster.world.changes)
        if c.verb == "release"
    }
    assert released["first"] <= released["other"] < released["first"] + 10
    assert released["last"] >= released["first"] + POD_START + 10
    assert [e.efficiency >= 0.9 for e in bounds if e.moved == 3] == [True]
