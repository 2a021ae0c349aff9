"""What emptying the nodes asks for, before the plan is made: resolved, or a person's to decide."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pawl.core import checks
from pawl.core.beforehand import Beforehand
from pawl.core.errors import Refused
from pawl.core.findings import Severity
from pawl.core.foreseen import Foreseen, foresee, missing, nodes_to_empty
from pawl.core.loosening import Loosening
from pawl.core.model import ClusterState, DisruptionBudget, Unread, Workload
from pawl.core.plan import Target
from pawl.core.planner import plan
from pawl.core.predict import BESIDE_PODS
from pawl.core.workloads.facts import (
    HOSTNAME,
    Budget,
    Controller,
    Node,
    Pod,
    Selector,
    Shape,
    Workloads,
)
from pawl.core.workloads.methods import HASH
from pawl.testing.clusters import cluster, config

KEY = "shop/Deployment/web"
NODES = ("worker-1", "worker-2", "worker-3")
UP = Target(kubernetes="1.37.0", only=("nodes",))
REPLACED = replace(UP, node_strategy="replace")


def facts(
    budget: dict[str, object] | None = None,
    nodes: tuple[str, ...] = NODES,
    ready: bool = True,
    pod: dict[str, object] | None = None,
    **controller: object,
) -> Workloads:
    """One Deployment with a pod on each of `nodes`, and budgets of it."""
    shape = Shape(readiness=True)
    web = {"replicas": len(nodes), "strategy": "RollingUpdate", "shape": shape, **controller}
    labels = {"app": "web", HASH: "5d9c7b4f6"}
    return Workloads(
        nodes=tuple(
            Node(name=n, labels={HOSTNAME: n}, cpu=4000, memory=1 << 33, version="1.36.0")
            for n in NODES
        ),
        controllers=(
            Controller(kind="Deployment", namespace="shop", name="web", **web),  # type: ignore[arg-type]
        ),
        pods=tuple(
            Pod(
                namespace="shop", name=f"web-{i}", uid=f"u{i}", node=n, owner=KEY, labels=labels,
                ready=ready, **{"shape": shape, **(pod or {})},  # type: ignore[arg-type]
            )
            for i, n in enumerate(nodes)
        ),
        budgets=tuple(
            Budget(namespace="shop", name=f"b{i}", selector=Selector(labels=(("app", "web"),)),
                   **(budget or {}))  # type: ignore[arg-type]
            for i in range(1 if budget else 0)
        ),
    )  # fmt: skip


def state(**budget: object) -> ClusterState:
    """As the observer reads the same: a budget of all three pods."""
    whole: dict[str, object] = {
        "allowed": 0, "desired_healthy": 3, "expected": 3, "healthy": 3, "observed": True,
        "selected": tuple(f"shop/web-{i}" for i in range(3)), "min_available": "3", **budget,
    }  # fmt: skip
    found = cluster(workers=3, kubernetes="1.37.0", kubelet="1.36.0")
    budgets = (DisruptionBudget(namespace="shop", name="b0", **whole),)  # type: ignore[arg-type]
    return replace(found, budgets=budgets)


def found(moves: Foreseen | None, s: ClusterState, target: Target = UP) -> dict[str, str]:
    made = checks.run(checks.Facts(state=s, target=target, config=config(s), moves=moves))
    return {f.code: f"{f.severity}: {f.message} {f.remedy}" for f in made}


ALL = {"min_available": "3"}


@pytest.mark.parametrize(
    ("given", "severity", "says", "loosens"),
    [
        (facts(ALL), "warning", "a new pod is Ready before the old one goes", ()),
        (facts({"max_unavailable": "0"}), "warning", "a new pod is Ready before", ()),
        (
            facts(ALL, max_surge="0"),
            "warning",
            "one replica more for the time of the move",
            (Loosening(what="scale", workload=KEY),),
        ),
        (facts({"max_unavailable": "0"}, max_surge="0"), "blocker", "consent to the pod's", ()),
        (facts(ALL, strategy="Recreate", claims=("data",)), "blocker", "leave its node closed", ()),
    ],
    ids=["surge", "surge-max-unavailable", "scale", "no-count", "volume"],
)
def test_a_budget_that_never_allows_is_resolved_in_this_order(
    given: Workloads, severity: str, says: str, loosens: tuple[Loosening, ...]
) -> None:
    s = state()
    moves = foresee(given, s, UP, patience=900.0)
    assert moves.loosens == loosens
    said = found(moves, s)["PAWL-W001"]
    assert said.startswith(severity), said
    assert says in said


def test_a_budget_whose_pods_stay_where_they_are_stops_nothing() -> None:
    s = state()
    nodes = [replace(n, kubelet="1.37.0" if n.name in NODES else n.kubelet) for n in s.nodes]
    s = replace(s, nodes=tuple(nodes))
    moves = foresee(facts(ALL, max_surge="0"), s, UP, patience=900.0)
    assert "PAWL-W001" not in found(moves, s)


def test_what_was_not_read_resolves_nothing() -> None:
    s = state()
    unread = (Unread(source="Service", why="forbidden"),)
    moves = foresee(replace(facts(ALL), unread=unread), s, UP, patience=900.0)
    assert not moves.known
    assert moves.loosens == ()
    for known in (moves, None):
        assert found(known, s)["PAWL-W001"].startswith("blocker: asks for 3 of 3 pods")


def test_a_single_replica_that_surges_is_not_called_down() -> None:
    s = replace(state(), budgets=(), workloads=(
        Workload(kind="Deployment", namespace="shop", name="web", desired=1, ready=1),
    ))  # fmt: skip
    one = {"nodes": ("worker-1",)}
    assert "PAWL-W005" not in found(foresee(facts(**one), s, UP, patience=900.0), s)  # type: ignore[arg-type]
    stiff = foresee(facts(**one, strategy="Recreate"), s, UP, patience=900.0)  # type: ignore[arg-type]
    assert "PAWL-W005" in found(stiff, s)
    assert "PAWL-W005" in found(None, s)


def test_no_place_refuses_new_nodes_and_warns_where_the_node_comes_back() -> None:
    s = replace(state(), budgets=())
    pinned = Shape(readiness=True, node_selector=((HOSTNAME, "worker-1"),))
    given = facts(nodes=("worker-1",), pod={"shape": pinned}, shape=pinned)
    replaced = found(foresee(given, s, REPLACED, patience=900.0), s, REPLACED)
    assert replaced["PAWL-W104"].startswith("blocker")
    back = found(foresee(given, s, UP, patience=900.0), s)
    assert back.get("PAWL-W104", "warning").startswith("warning")


def test_a_long_grace_is_warned_of_and_refuses_nothing() -> None:
    s = replace(state(), budgets=())
    slow = Shape(readiness=True, grace=3600.0)
    said = found(foresee(facts(pod={"shape": slow}, shape=slow), s, UP, patience=900.0), s)
    assert said["PAWL-W112"].startswith("warning")


def test_what_is_lost_with_a_pod_is_a_persons_and_can_be_waived() -> None:
    from pawl.core.accept import Waiver

    s = replace(state(), budgets=())
    kept = {"kept": "cluster-autoscaler.kubernetes.io/safe-to-evict"}
    moves = foresee(facts(pod=kept), s, UP, patience=900.0)
    with pytest.raises(Refused) as refused:
        plan(s, UP, config(s), beforehand=Beforehand(moves=moves))
    assert "PAWL-W111" in str(refused.value)
    waiver = Waiver(code="PAWL-W111", owner="shop", expires="2999-01-01", reason="Agreed.")
    made = plan(s, UP, config(s), beforehand=Beforehand(moves=moves), waivers=(waiver,))
    (accepted,) = [f for f in made.findings if f.code == "PAWL-W111"]
    assert accepted.severity is Severity.BLOCKER
    assert accepted.waived


def test_the_plan_names_all_that_it_loosens_and_its_digest_covers_it() -> None:
    s = state()
    moves = foresee(facts(ALL, max_surge="0"), s, UP, patience=900.0)
    made = plan(s, UP, config(s), beforehand=Beforehand(moves=moves))
    assert made.loosens == moves.loosens != ()
    assert missing(made.loosens, moves) == ()
    assert missing((), moves) == moves.loosens
    assert replace(made, loosens=()).sealed().digest != made.digest


def test_the_nodes_that_are_emptied_are_those_that_change() -> None:
    s = state()
    assert set(NODES) <= set(nodes_to_empty(s, UP))
    assert nodes_to_empty(s, replace(UP, only=("etcd",))) == ()
    assert nodes_to_empty(s, replace(UP, kubernetes="")) == ()
    assert nodes_to_empty(s, replace(UP, pool="nowhere")) == ()


def test_a_nodes_own_pods_tell_how_long_it_takes_to_empty_it_unless_the_policy_does() -> None:
    crowded = facts(nodes=("worker-1",) * 6 + ("worker-2",))
    found = foresee(crowded, state(), REPLACED, patience=300.0)
    assert found.emptying["worker-3"] == 0.0
    assert found.emptying["worker-1"] > found.emptying["worker-2"] > 0.0

    def took(**durations: float) -> dict[str, float]:
        policy = replace(config(state()).policy, durations=durations)
        made = plan(
            state(), REPLACED, config(state(), policy=policy), beforehand=Beforehand(moves=found)
        )
        retired = {s.id.rpartition("/")[2]: s.seconds for s in made.steps if "/retire/" in s.id}
        assert set(retired) == set(NODES)
        return retired

    assert took() == {
        n: seconds + BESIDE_PODS["retire-node"] for n, seconds in found.emptying.items()
    }
    assert set(took(**{"retire-node": 7.0}).values()) == {7.0}
