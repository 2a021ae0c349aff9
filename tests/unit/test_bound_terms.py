"""What a bound counts, where its times come from, and what is printed of it."""

from __future__ import annotations

import msgspec
import pytest

from pawl.core.pace import Pace
from pawl.core.workloads.bound import lower_bound
from pawl.core.workloads.facts import HOSTNAME, Controller, Node, Pod, Shape, Workloads
from pawl.core.workloads.planner import plan
from pawl.core.workloads.pod_objects import PodPart
from pawl.core.workloads.scenario import replace_all
from pawl.core.workloads.schedule import Job
from pawl.core.workloads.shapes import shape
from pawl.core.workloads.surroundings import Method
from pawl.core.workloads.times import Times, at_best, predicted
from pawl.core.workloads.views import least

PACE = Pace()


def pods(*ready: float | None) -> list[Pod]:
    return [Pod(namespace="ns", name=f"p{i}", ready_after=r) for i, r in enumerate(ready)]


def deployment(kind: str = "Deployment", replicas: int = 3, **fields: object) -> Controller:
    made = Shape(**fields)  # type: ignore[arg-type]
    return Controller(kind=kind, namespace="ns", name="web", replicas=replicas, shape=made)


def of(c: Controller, method: Method, *ready: float | None, claims: int = 0) -> Times:
    best = at_best(c, method, pods(*ready), claims, PACE)
    told = predicted(c, method, pods(*ready), claims, PACE)
    assert best.ready <= told.ready
    assert max(best.ready, best.gone) <= max(told.ready, told.gone)
    return best


def test_the_quickest_pod_that_was_seen_counts_and_says_so() -> None:
    best = of(deployment(), "surge", 4.0, 2.0, 3.0, None)
    assert (best.ready, best.ready_by) == (2.0, "the quickest of its 3 pods")
    assert (best.hold, best.gone, best.gone_by) == (0.0, 2.0 + PACE.stop, "policy.pace.stop")
    nothing = of(deployment(first_probe=7.0), "surge")
    assert nothing.ready == PACE.pull + PACE.ready + 7
    assert nothing.ready_by == "policy.pace.pull and ready and its probe's delay"


def test_only_an_only_pod_that_is_released_is_handed_over() -> None:
    assert of(deployment(replicas=1), "surge", 2.0).hold == PACE.handover
    assert of(deployment(replicas=1), "surge-restart", 2.0).hold == 0
    assert of(deployment(replicas=1), "surge", 2.0).gone == 2.0 + PACE.handover + PACE.stop


def test_an_evicted_pod_ends_while_its_successor_starts_unless_it_has_a_name_or_a_volume() -> None:
    beside = of(deployment(), "evict", 7.0)
    assert (beside.ready, beside.gone) == (7.0, PACE.stop)
    named = of(deployment("StatefulSet"), "evict", 7.0, claims=1)
    assert (named.ready, named.gone) == (PACE.stop + 7.0, PACE.stop)
    assert named.ready_by == "policy.pace.stop, its pod"
    volume = of(deployment(), "evict", claims=1)
    assert volume.ready_by == (
        "policy.pace.stop, policy.pace.detach and attach, policy.pace.pull and ready"
    )
    assert volume.ready == PACE.stop + PACE.detach + PACE.attach + PACE.pull + PACE.ready
    operator = of(deployment("Cluster"), "operator", 7.0)
    assert (operator.ready, operator.gone) == (PACE.stop, PACE.stop)


@pytest.mark.parametrize(
    ("hook", "grace", "seconds", "source"),
    [
        ({"sleep": {"seconds": 20}}, 30, 20, "its preStop sleep"),
        ({"exec": {"command": ["sleep", "12"]}}, 30, 12, "its preStop sleep"),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 12 && nginx -s quit"]}}, 30, 12, "its pre"),
        ({"exec": {"command": ["sh", "-c", "sleep 12 &"]}}, 30, 5, "policy.pace.stop"),
        ({"exec": {"command": ["nginx", "-s", "quit"]}}, 30, 5, "policy.pace.stop"),
        ({"httpGet": {"port": 80}}, 30, 5, "policy.pace.stop"),
        ({"sleep": {"seconds": 2}}, 30, 5, "policy.pace.stop"),
        ({"sleep": {"seconds": 90}}, 30, 30, "its preStop sleep"),
        (None, 1, 1, "its grace period"),
    ],
)
def test_how_long_a_pod_takes_to_end(
    hook: object, grace: float, seconds: float, source: str
) -> None:
    container = {"name": "c", "lifecycle": {"preStop": hook} if hook else None}
    spec = {"terminationGracePeriodSeconds": grace, "containers": [container]}
    made = shape(msgspec.convert({"spec": spec}, PodPart).spec, "ns", {})
    c = Controller(kind="Deployment", namespace="ns", name="web", shape=made)
    times = at_best(c, "evict", (), 0, PACE)
    assert times.gone == seconds
    assert times.gone_by.startswith(source)


def test_each_term_is_the_sum_of_its_pieces_and_the_longest_binds() -> None:
    jobs = [
        Job(workload="redis", rank=0, moves=1, at_once=1, seconds=3.0, gone=1.0, ready_by="seen"),
        Job(
            workload="web",
            rank=0,
            moves=2,
            at_once=1,
            seconds=2.0,
            hold=2.0,
            gone=9.0,
            after=("redis",),
            providers=("redis",),
            ready_by="its pod",
            gone_by="measured",
        ),
    ]
    bound = lower_bound(jobs, PACE, {"redis": 2}, volumes=3, nodes=3)
    assert [str(p) for p in bound.term.pieces] == [
        "3.0 s redis is Ready (seen)",
        "10.0 s redis stays Ready (policy.pace.settle)",
        "4.0 s web is Ready 2 times (its pod)",
        "2.0 s web is known everywhere (policy.pace.handover)",
        "5.0 s the old pod of web ends (measured)",
    ]
    # Each node attaches one; the two clients come one by one, and the last old pod must end.
    assert [t.seconds for t in bound.terms[1:]] == [PACE.attach, 2 * 2.0 + 7.0, 7.0 / 2]
    assert lower_bound(jobs, PACE, {}, volumes=3, nodes=2).term.seconds == 2 * PACE.attach


def test_what_its_own_controller_moves_is_under_no_cap_of_pawl() -> None:
    own = Job(workload="w", rank=0, moves=9, at_once=3, seconds=2.0, providers=("p",))
    bound = lower_bound([msgspec.structs.replace(own, by_itself=True)], PACE, {"p": 9})
    assert [t.seconds for t in bound.terms] == [6.0]
    assert lower_bound([own], PACE, {"p": 9}).seconds == 9.0


def roomy(name: str) -> Node:
    return Node(name=name, labels={HOSTNAME: name}, cpu=999, memory=999, disk=99, pods=99)


def test_the_starts_in_flight_are_those_of_the_whole_plan_in_each_wave() -> None:
    labels = {"app": "w", "pod-template-hash": "h"}
    controllers = tuple(
        Controller(kind="Deployment", namespace="ns", name=f"w{i}", pod_labels=labels)
        for i in range(80)
    )
    facts = Workloads(
        nodes=tuple(roomy(f"n{i}") for i in range(4)),
        controllers=controllers,
        pods=tuple(
            Pod(namespace="ns", name=c.name, node=f"n{i % 4}", labels=labels, owner=c.key)
            for i, c in enumerate(controllers)
        ),
    )
    made = plan(facts, replace_all(facts, surge=1))
    assert made.starts_cap == 4
    assert {w.moves for w in made.waves} == {20}
    assert {w.peak for w in made.waves} == {4}
    said = list(least(made))
    assert "+ 60.0 s a new machine is a Ready node (policy.pace.boot)" in said
    assert any(line.startswith("+ ") and "4 pod starts in flight" in line for line in said)
    assert any("20 pods until Ready, 4 at a time (policy.pace.starts_share)" in x for x in said)
