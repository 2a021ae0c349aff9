"""Room on the nodes that stay: a lack is told only where no placement could help."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pawl.engine.room import Room
from pawl.ports.kube import Pod
from pawl.ports.watch import BudgetNow, Gone, Listed, NodeNow, Put


def node(name: str, cpu: int = 1000, **more: object) -> NodeNow:
    return NodeNow(name=name, cpu=cpu, memory=1 << 30, pods=10, **more)  # type: ignore[arg-type]


def pod(name: str, where: str, cpu: int = 400, **more: object) -> Pod:
    return Pod(
        namespace="shop", name=name, uid=name, node=where, cpu=cpu,
        **{"owner": "ReplicaSet/web-1", **more},  # type: ignore[arg-type]
    )  # fmt: skip


def room(*items: NodeNow | Pod) -> Room:
    found = Room()
    nodes = tuple(i for i in items if isinstance(i, NodeNow))
    found.take(Listed(what="nodes", items=nodes))
    found.take(Listed(what="pods", items=tuple(i for i in items if isinstance(i, Pod))))
    return found


OLD = node("old", closed=True)


def test_what_still_has_to_move_must_fit() -> None:
    assert not room(OLD, node("new"), pod("a", "old"), pod("b", "new")).short({"old"})
    told = room(OLD, node("new"), pod("a", "old"), pod("b", "new", 700)).short({"old"})
    assert told == (
        "The 1 nodes that take pods have 300m CPU left in all, and what still has to leave old "
        "asks for 400m CPU."
    )


def test_pods_are_counted_by_places_too() -> None:
    crowd = [pod(f"p{i}", "new", 0) for i in range(10)]
    told = room(OLD, node("new"), pod("a", "old"), *crowd).short({"old"})
    assert "have 0 places for pods left" in told


def test_a_successor_counts_once() -> None:
    """A pod that is released or ends is not counted beside the one that comes in its place."""
    for gone in ({"released": "ReplicaSet/web-1", "owner": ""}, {"terminating": True}):
        bound = room(OLD, node("new", 400), pod("a", "old", **gone), pod("b", "new"))
        assert not bound.short({"old"})
        waits = room(OLD, node("new", 400), pod("a", "old", **gone), pod("b", ""))
        assert not waits.short({"old"})
        lost = room(OLD, node("new", 300), pod("a", "old", **gone), pod("b", ""))
        assert "asks for 400m CPU" in lost.short({"old"})


def test_pods_of_others_that_wait_for_a_node_are_no_matter_of_the_move() -> None:
    other = pod("c", "", 9000, owner="ReplicaSet/other-1")
    assert not room(OLD, node("new"), pod("a", "old"), other).short({"old"})


def test_what_belongs_to_the_node_or_has_ended_does_not_move() -> None:
    for stays in ({"mirror": True}, {"owner": "DaemonSet/net"}, {"finished": True}):
        assert not room(OLD, node("new", 0), pod("a", "old", **stays)).short({"old"})


def test_a_node_that_takes_no_pods_is_no_room() -> None:
    for no in ({"ready": False}, {"unschedulable": True}, {"closed": True}):
        assert room(OLD, node("new", **no), pod("a", "old")).short({"old"})


def test_where_a_node_does_not_tell_nothing_is_told() -> None:
    assert not room(OLD, NodeNow(name="new"), pod("a", "old", 9000)).short({"old"})


def test_what_changes_no_sum_is_no_reason_to_look() -> None:
    seen = room(OLD, node("new"), pod("a", "old"))
    assert not seen.take(Put(what="pods", item=pod("a", "old", ready=True)))
    assert not seen.take(Put(what="nodes", item=node("new")))
    assert not seen.take(Put(what="budgets", item=BudgetNow(namespace="a", name="b", allowed=1)))
    for matters in ({"terminating": True}, {"finished": True}, {"released": "x/y", "owner": ""}):
        assert room(OLD, pod("a", "old")).take(Put(what="pods", item=pod("a", "old", **matters)))
    assert seen.take(Put(what="pods", item=pod("a", "new")))
    assert seen.take(Put(what="nodes", item=node("new", ready=False)))


def test_changes_come_to_the_same_as_a_new_list() -> None:
    changed = room(OLD, node("new"), pod("a", "old"), pod("b", "new", 700))
    changed.take(Gone(what="pods", item=pod("b", "new")))
    assert not changed.short({"old"})
    changed.take(Put(what="pods", item=pod("a", "old", terminating=True)))
    changed.take(Put(what="pods", item=pod("d", "")))
    changed.take(Put(what="pods", item=pod("d", "new")))
    changed.take(Gone(what="pods", item=pod("a", "old", terminating=True)))
    assert not changed.short({"old"})
    changed.take(Put(what="pods", item=pod("e", "old", 700)))
    assert changed.short({"old"})
    changed.take(Listed(what="pods", items=(pod("e", "old", 700),)))
    assert not changed.short({"old"})


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=4),
    st.lists(st.integers(0, 600), max_size=4),
)
def test_what_has_a_placement_is_never_said_to_lack_room(has: list[int], asks: list[int]) -> None:
    """Every placement is tried."""
    fits = any(
        all(
            sum(a for a, to in zip(asks, where, strict=True) if to == i) <= cpu
            for i, cpu in enumerate(has)
        )
        for where in itertools.product(range(len(has)), repeat=len(asks))
    )
    nodes = [node(f"n{i}", cpu) for i, cpu in enumerate(has)]
    told = room(OLD, *nodes, *(pod(f"p{i}", "old", a) for i, a in enumerate(asks))).short({"old"})
    assert not (fits and told)
