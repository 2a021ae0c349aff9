"""What a plan holds for the clusters of the field, in which order, and what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pawl.core import invariants
from pawl.core.actions import (
    MoveEtcdLeader,
    PointOfNoReturn,
    ReplaceEtcdMachine,
    Soak,
    SwapApiServer,
    SwapController,
)
from pawl.core.config import LimitConfig, PolicyConfig
from pawl.core.errors import Refused
from pawl.core.model import ClusterState
from pawl.core.plan import Plan, Target
from pawl.core.planner import plan
from pawl.testing.clusters import cluster, config

WHOLE = Target(kubernetes="1.37.0", etcd="3.6.14")


def made(state: ClusterState, target: Target, **more: object) -> Plan:
    return plan(state, target, config(state), **more)  # type: ignore[arg-type]


def ids(the_plan: Plan, part: str = "") -> list[str]:
    return [s.id for s in the_plan.steps if part in s.id]


def refused(state: ClusterState, target: Target, **more: object) -> str:
    with pytest.raises(Refused) as caught:
        made(state, target, **more)
    return str(caught.value)


def until(state: ClusterState, the_plan: Plan, step_id: str) -> ClusterState:
    """The cluster just before that step."""
    for step in the_plan.steps:
        if step.id == step_id:
            return state
        state = invariants.after(step.action, state)
    raise KeyError(step_id)


def test_the_phases_come_in_the_order_of_the_field() -> None:
    phases = list(dict.fromkeys(s.phase for s in made(cluster(), WHOLE).steps))
    assert phases == ["preflight", "etcd", "control-plane", "nodes", "add-ons", "landed"]


def test_etcd_rolls_followers_first_and_holds_back_the_leader_until_approved() -> None:
    state = cluster()  # etcd-1 leads
    the_plan = made(state, WHOLE)
    order = [i.split("/", 2)[2] for i in ids(the_plan, "etcd/3.6.14/") if "stage" not in i]
    assert order == [
        "backup",
        "swap/etcd-2",
        "swap/etcd-3",
        "move-leader/etcd-1",
        "soak",
        "point-of-no-return",
        "swap/etcd-1",
        "converge",
    ]
    assert the_plan.step("etcd/3.6.14/point-of-no-return").approval == "etcd-last-member"


def test_leadership_moves_to_upgraded_members_only() -> None:
    moves = [s.action for s in made(cluster(members=5), WHOLE).steps]
    (move,) = [a for a in moves if isinstance(a, MoveEtcdLeader)]
    assert move == MoveEtcdLeader(
        away_from="etcd-1", prefer=("etcd-2", "etcd-3", "etcd-4", "etcd-5")
    )


def test_binary_rollback_is_the_open_exit_until_the_last_member() -> None:
    the_plan = made(cluster(), WHOLE)
    assert the_plan.step("etcd/3.6.14/soak").exit.name == "old-binary"
    assert the_plan.step("etcd/3.6.14/swap/etcd-1").exit.name == "downgrade"


def test_a_patch_hop_needs_no_gate() -> None:
    steps = ids(made(cluster(etcd="3.5.32"), Target(etcd="3.5.33")), "etcd/")
    assert not [i for i in steps if "soak" in i or "point-of-no-return" in i]


def test_the_patch_floor_makes_a_hop_of_its_own() -> None:
    """3.5.30 may not go to 3.6 directly: every member passes 3.5.33 first."""
    steps = ids(made(cluster(etcd="3.5.30"), WHOLE), "etcd/")
    first_new = steps.index("etcd/3.6.14/backup")
    assert "etcd/3.5.33/converge" in steps[:first_new]
    assert {f"etcd/3.5.33/swap/etcd-{n}" for n in (1, 2, 3)} <= set(steps[:first_new])


def test_several_etcd_minors_are_passed_one_by_one() -> None:
    steps = ids(made(cluster(etcd="3.4.45"), Target(etcd="3.7.1")), "/converge")
    assert steps == ["etcd/3.5.33/converge", "etcd/3.6.14/converge", "etcd/3.7.1/converge"]


def test_an_online_downgrade_lowers_the_storage_version_first() -> None:
    the_plan = made(cluster(etcd="3.6.14"), Target(etcd="3.5.33"))
    steps = [i for i in ids(the_plan) if "stage" not in i]
    assert steps.index("etcd/3.5.33/enable-downgrade") < steps.index("etcd/3.5.33/swap/etcd-2")
    assert steps[-2:] == ["etcd/3.5.33/converge", "landed"]
    assert the_plan.step("etcd/3.5.33/swap/etcd-2").exit.name == "downgrade-cancel"


@pytest.mark.parametrize(
    ("state", "target", "why"),
    [
        (cluster(etcd="3.5.33"), "3.4.45", "no online downgrade from 3.5 to 3.4"),
        (cluster(etcd="3.7.1"), "3.5.33", "no online downgrade from 3.7 to 3.5"),
        (cluster(etcd="3.6.14"), "3.5.30", "downgrade to 3.5.32 or newer"),
    ],
)
def test_a_downgrade_that_etcd_does_not_offer_is_refused(
    state: ClusterState, target: str, why: str
) -> None:
    assert why in refused(state, Target(etcd=target))


def test_a_downgrade_replaces_no_machines() -> None:
    target = Target(etcd="3.5.33", etcd_strategy="replace")
    assert "must not exchange snapshots" in refused(cluster(etcd="3.6.14"), target)


def test_a_cut_downgrade_goes_on_or_is_cancelled() -> None:
    begun = cluster(etcd="3.6.14")
    half = until(begun, made(begun, Target(etcd="3.5.33")), "etcd/3.5.33/swap/etcd-3")
    assert "etcd/3.5.33/enable-downgrade" not in ids(made(half, Target(etcd="3.5.33")))
    back = ids(made(half, Target(etcd="3.6.14")))
    assert back[1] == "etcd/cancel-downgrade"
    assert "etcd/3.6.14/swap/etcd-2" in back


def test_in_the_soak_the_old_etcd_binary_is_a_plan_away() -> None:
    state = cluster()
    soaking = until(state, made(state, WHOLE), "etcd/3.6.14/soak")
    back = made(soaking, Target(etcd="3.5.33", only=("etcd",)))
    assert "enable-downgrade" not in " ".join(ids(back))
    assert set(ids(back, "/swap/")) == {"etcd/3.5.33/swap/etcd-2", "etcd/3.5.33/swap/etcd-3"}


def test_a_replaced_etcd_machine_stages_nothing() -> None:
    the_plan = made(cluster(), Target(etcd="3.6.14", etcd_strategy="replace"))
    assert not ids(the_plan, "/stage/")
    assert sum(isinstance(s.action, ReplaceEtcdMachine) for s in the_plan.steps) == 3


# -- control plane ---------------------------------------------------------------------------------


def test_every_api_server_emulates_before_one_finishes() -> None:
    the_plan = made(cluster(), Target(kubernetes="1.37.0"))
    swaps = [s.action for s in the_plan.steps if isinstance(s.action, SwapApiServer)]
    assert [a.emulate for a in swaps] == ["1.36"] * 3
    order = ids(the_plan, "control-plane/1.37.0/")
    last_swap = order.index("control-plane/1.37.0/swap/cp-3")
    soak = order.index("control-plane/1.37.0/soak")
    gate = order.index("control-plane/1.37.0/point-of-no-return")
    first_finish = order.index("control-plane/1.37.0/finish/cp-1")
    assert last_swap < soak < gate < first_finish
    assert the_plan.step("control-plane/1.37.0/soak").exit.name == "old-binary"


def test_controllers_wait_for_the_finish_and_the_lease_holder_comes_last() -> None:
    the_plan = made(cluster(), Target(kubernetes="1.37.0"))
    order = ids(the_plan)
    managers = [i for i in order if "kube-controller-manager/cp" in i and "stage" not in i]
    assert managers[-1].endswith("/cp-1")
    assert order.index("control-plane/1.37.0/finish/cp-3") < order.index(managers[0])


def test_no_controller_is_newer_than_what_an_api_server_emulates() -> None:
    state = cluster()
    for step in made(state, WHOLE).steps:
        if isinstance(step.action, SwapController):
            assert {a.emulation_version for a in state.api_servers} == {"1.37"}
        state = invariants.after(step.action, state)


@pytest.mark.parametrize(("kubernetes", "two_step"), [("1.29.0", True), ("1.36.0", False)])
def test_without_emulation_the_point_of_no_return_comes_first(
    kubernetes: str, two_step: bool
) -> None:
    minor = int(kubernetes.split(".")[1]) + 1
    the_plan = made(
        cluster(kubernetes=kubernetes), Target(kubernetes=f"1.{minor}.0", two_step=two_step)
    )
    order = [i for i in ids(the_plan, "control-plane/") if "stage" not in i]
    assert order[0].endswith("point-of-no-return")
    assert not [i for i in order if "/finish/" in i]


def test_a_patch_release_has_no_gate() -> None:
    the_plan = made(cluster(), Target(kubernetes="1.36.4"))
    assert not [s for s in the_plan.steps if isinstance(s.action, PointOfNoReturn)]


def test_until_the_finish_the_old_api_server_binary_is_a_plan_away() -> None:
    state = cluster()
    the_plan = made(state, Target(kubernetes="1.37.0"))
    soaking = until(state, the_plan, "control-plane/1.37.0/soak")
    back = made(soaking, Target(kubernetes="1.36.0", only=("control-plane",)))
    assert ids(back, "/swap/") == [f"control-plane/1.36.0/swap/cp-{n}" for n in (1, 2, 3)]
    finished = until(state, the_plan, "control-plane/1.37.0/finish/cp-2")
    text = refused(finished, Target(kubernetes="1.36.0", only=("control-plane",)))
    assert "after the finish" in text


def test_a_replaced_control_plane_adds_before_it_takes_away() -> None:
    the_plan = made(cluster(), Target(kubernetes="1.37.0", control_plane_strategy="replace"))
    order = [i.split("/", 2)[2] for i in ids(the_plan, "control-plane/")]
    assert order[:4] == [
        "add/cp-1-v1370",
        "retire/cp-1",
        "add/cp-2-v1370",
        "retire/cp-2",
    ]
    assert "kube-controller-manager/cp-1-v1370" in order  # its emulation ends after the finish


def test_replacing_without_emulation_is_refused() -> None:
    target = Target(kubernetes="1.37.0", control_plane_strategy="replace", two_step=False)
    assert "beside API servers of 1.36" in refused(cluster(), target)


def test_a_chain_takes_workers_along_only_when_the_policy_asks() -> None:
    releases = {"1.37": "1.37.3", "1.38": "1.38.2", "1.39": "1.39.1"}
    three = made(cluster(), Target(kubernetes="1.39.0"), releases=releases)
    assert {i.split("/")[1] for i in ids(three, "nodes/")} == {"1.39.0"}
    four = made(cluster(), Target(kubernetes="1.40.0"), releases=releases)
    assert list(dict.fromkeys(i.split("/")[1] for i in ids(four, "nodes/"))) == [
        "1.39.1",
        "1.40.0",
    ]
    assert list(dict.fromkeys(i.split("/")[1] for i in ids(four, "control-plane/"))) == [
        "1.37.3",
        "1.38.2",
        "1.39.1",
        "1.40.0",
    ]


def test_a_chain_asks_for_the_releases_that_it_does_not_know() -> None:
    assert "--release 1.37=" in refused(cluster(), Target(kubernetes="1.38.0"))


# -- nodes -----------------------------------------------------------------------------------------


def test_a_canary_soaks_before_the_batches() -> None:
    state = cluster(workers=6)
    policy = PolicyConfig(limits=LimitConfig(max_unavailable=2))
    the_plan = plan(state, Target(kubernetes="1.36.1"), config(state, policy=policy))
    swaps = ids(the_plan, "nodes/1.36.1/swap/")
    soak = the_plan.step("nodes/1.36.1/default/soak")
    assert isinstance(soak.action, Soak)
    assert soak.after == (swaps[0],)
    assert the_plan.step(swaps[1]).after == the_plan.step(swaps[2]).after == (soak.id,)
    assert set(the_plan.step(swaps[3]).after) == {swaps[1], swaps[2]}


def test_old_nodes_are_closed_before_the_first_is_drained() -> None:
    the_plan = made(cluster(workers=2), Target(kubernetes="1.36.1", node_strategy="replace"))
    assert [i.split("/", 2)[2] for i in ids(the_plan, "nodes/")] == [
        "add/worker-1-v1361",
        "default/close",
        "retire/worker-1",
        "default/soak",
        "add/worker-2-v1361",
        "retire/worker-2",
    ]


def test_kubelets_never_pass_the_api_servers() -> None:
    text = refused(cluster(), Target(kubernetes="1.37.0", only=("nodes",)))
    assert "upgrade the control plane first" in text


def test_one_pool_alone() -> None:
    state = cluster()
    gpu = tuple(replace(h, pool="gpu") if h.name == "worker-3" else h for h in state.hosts)
    state = replace(state, hosts=gpu)
    the_plan = made(state, Target(kubernetes="1.36.1", only=("nodes",), pool="gpu"))
    assert ids(the_plan, "/swap/") == ["nodes/1.36.1/swap/worker-3"]
    assert "no pool tpu" in refused(state, Target(kubernetes="1.36.1", only=("nodes",), pool="tpu"))


def test_control_plane_kubelets_come_first_and_in_place() -> None:
    state = cluster(control_plane_nodes=True)
    the_plan = made(state, Target(kubernetes="1.36.1", node_strategy="replace"))
    order = ids(the_plan, "nodes/")
    assert order.index("nodes/1.36.1/swap/cp-3") < order.index("nodes/1.36.1/default/close")


# -- the whole -------------------------------------------------------------------------------------


def test_nothing_to_do_is_one_assertion() -> None:
    assert ids(made(cluster(), Target(kubernetes="1.36.0", etcd="3.5.33"))) == ["landed"]


def test_a_plan_says_where_it_comes_from() -> None:
    state = cluster()
    the_plan = made(state, WHOLE)
    assert the_plan.source.taken_at == state.taken_at
    assert the_plan.source.members == {m.host: m.member_id for m in state.members}
    later = replace(state, taken_at=state.taken_at + 60)
    assert made(later, WHOLE).source.fingerprint == the_plan.source.fingerprint
    moved = replace(
        state, members=tuple(replace(m, leader=m.host == "etcd-2") for m in state.members)
    )
    assert made(moved, WHOLE).source.fingerprint != the_plan.source.fingerprint


def test_approvals_that_the_policy_does_not_ask_for_are_left_out() -> None:
    state = cluster()
    the_plan = plan(state, WHOLE, config(state, policy=PolicyConfig(approvals=("plan",))))
    assert not [s for s in the_plan.steps if s.approval]


def test_in_a_chain_each_point_of_no_return_asks_for_an_approval_of_its_own() -> None:
    """Who approved the first finish has not said anything about the second."""
    the_plan = made(
        cluster(), Target(kubernetes="1.38.0", etcd="3.7.1"), releases={"1.37": "1.37.0"}
    )
    gates = [s for s in the_plan.steps if s.approval]
    assert [s.approval for s in gates] == [
        "etcd-last-member-3.6.14",
        "etcd-last-member-3.7.1",
        "control-plane-finish-1.37.0",
        "control-plane-finish-1.38.0",
    ]
    assert [s.approval for s in gates] == [s.action.approval for s in gates]  # type: ignore[union-attr]


def test_the_exit_of_a_downgrade_closes_with_its_last_member() -> None:
    state = cluster(etcd="3.6.14")
    the_plan = made(state, Target(etcd="3.5.33", only=("etcd",)))
    exits = [s.exit.name for s in the_plan.steps if "swap" in s.id or "converge" in s.id]
    assert exits == ["downgrade-cancel", "downgrade-cancel", "upgrade", "upgrade"]
    assert "--etcd 3.6" in the_plan.steps[-1].exit.how


def test_a_control_plane_on_new_machines_goes_back_by_the_old_binary_while_it_emulates() -> None:
    state = cluster()
    conf = config(state)
    target = Target(kubernetes="1.37.0", only=("control-plane",), control_plane_strategy="replace")
    the_plan = plan(state, target, conf)
    retired = the_plan.step("control-plane/1.37.0/retire/cp-3")
    assert (retired.exit.name, "--to 1.36.0" in retired.exit.how) == ("old-binary", True)
    soaking = until(state, the_plan, "control-plane/1.37.0/soak")
    back = plan(soaking, Target(kubernetes="1.36.0", only=("control-plane",)), conf)
    assert ids(back, "swap") == [f"control-plane/1.36.0/swap/cp-{n}-v1370" for n in (1, 2, 3)]
