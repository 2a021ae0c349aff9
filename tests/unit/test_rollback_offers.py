"""Which ways back are open at each point of an upgrade, and which are closed."""

from __future__ import annotations

from pawl.core import invariants
from pawl.core.plan import Plan, Target
from pawl.core.planner import plan
from pawl.core.rollback import offers
from pawl.testing.clusters import cluster, config

STATE = cluster()
PLAN = plan(STATE, Target(kubernetes="1.37.0", etcd="3.6.14"), config(STATE))


def names_before(step_id: str, the_plan: Plan = PLAN) -> list[str]:
    state = STATE
    for step in the_plan.steps:
        if step.id == step_id:
            return [o.name for o in offers(the_plan, state)]
        state = invariants.after(step.action, state)
    raise KeyError(step_id)


def test_nothing_is_offered_before_anything_changed() -> None:
    assert names_before("etcd/3.6.14/backup") == []


def test_the_old_etcd_binary_until_the_last_member_then_the_downgrade() -> None:
    assert names_before("etcd/3.6.14/soak") == ["etcd-old-binary"]
    assert names_before("control-plane/1.37.0/swap/cp-1") == ["etcd-downgrade"]


def test_the_old_api_server_until_the_finish() -> None:
    assert "api-old-binary" in names_before("control-plane/1.37.0/soak")
    assert "api-old-binary" not in names_before("control-plane/1.37.0/finish/cp-2")


def test_nodes_can_go_back_at_the_end() -> None:
    assert "nodes-old" in names_before("landed")


def test_every_offer_can_be_planned() -> None:
    state = STATE
    for step in PLAN.steps:
        for offer in offers(PLAN, state):
            assert len(plan(state, offer.target, config(STATE)).steps) > 1, (step.id, offer.name)
        state = invariants.after(step.action, state)
