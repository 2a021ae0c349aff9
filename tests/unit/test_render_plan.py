"""A plan as text: everything a person must know before approving it stands there."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pawl.core import predict, render
from pawl.core.model import Workload
from pawl.core.plan import Target
from pawl.core.planner import plan
from pawl.testing.clusters import cluster, config

STATE = replace(
    cluster(),
    workloads=(Workload(kind="Deployment", namespace="shop", name="web", desired=1, ready=1),),
)
PLAN = plan(STATE, Target(kubernetes="1.37.0", etcd="3.6.14"), config(STATE))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 s"),
        (9, "9 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (7265, "2 h 1 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_the_text_holds_every_step_finding_gate_and_the_digest() -> None:
    text = render.text(PLAN)
    for step in PLAN.steps:
        assert step.id in text
        assert step.why in text
        assert step.risk in text
    assert "PAWL-W005" in text
    assert "Point of no return etcd-last-member" in text
    assert "way back   old-binary" in text
    assert PLAN.digest in text
    assert "Kubernetes 1.36.0 -> 1.37.0, etcd 3.5.33 -> 3.6.14" in text


def test_steps_that_run_together_count_once() -> None:
    when = predict.schedule(PLAN.steps)
    uploads = [when[s.id] for s in PLAN.steps if "/stage/" in s.id]
    at_once = [sum(b <= begin < e for b, e in uploads) for begin, _ in uploads]
    assert max(at_once) == predict.UPLOADS
    alone = sum(s.seconds for s in PLAN.steps)
    spared = sum(e - b for b, e in uploads) - predict.busy_seconds(uploads)
    assert predict.wall_seconds(PLAN.steps) <= alone - spared + 0.001


def test_what_is_done_and_what_was_spent_shortens_what_is_left() -> None:
    first, second = PLAN.steps[0], PLAN.steps[1]
    whole = predict.wall_seconds(PLAN.steps)
    left = predict.schedule(PLAN.steps, done={first.id}, spent={second.id: second.seconds / 2})
    assert first.id not in left
    assert left[second.id] == (0.0, second.seconds / 2)
    assert max(end for _, end in left.values()) < whole


def test_the_table_has_a_line_for_each_step() -> None:
    lines = render.table(PLAN).splitlines()
    assert len(lines) == len(PLAN.steps) + 1
    assert lines[0].split() == ["#", "STEP", "TIME", "WAY", "BACK", "APPROVAL"]
