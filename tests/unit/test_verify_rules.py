"""Alerting rules judged by their expressions; placement, pictures, silences, the proof."""

from __future__ import annotations

import math
import re

import pytest

from pawl.core.verify import picture, replay, silence
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.curve import Curve
from pawl.core.verify.placement import placed, workload_of
from pawl.core.verify.reading import Reading
from pawl.core.verify.rules import Rule, judge_rule
from pawl.core.verify.series import Line, Series, Sides

STEP = 15.0
RULE = Rule(name="KubePodCrashLooping", expr="x", hold=900.0, labels={"severity": "warning"})


def true(at: tuple[float, ...], **labels: str) -> Series:
    return Series(labels=labels, at=at, values=(1.0,) * len(at))


def verdict(now: list[Series], before: list[Series] = [], **more: object) -> Reading:  # noqa: B006
    rule = more.pop("rule", RULE)
    return judge_rule(rule, now, before, step=STEP, **more)  # type: ignore[arg-type]


def test_an_expression_that_is_true_twice_fails_without_waiting_for_its_for() -> None:
    failed = verdict([true((0, 15), namespace="shop", pod="web-1")])
    assert failed.verdict == "fail"
    assert "namespace=shop, pod=web-1" in failed.why
    assert "would wait 15 min" in failed.why
    assert verdict([true((0,), pod="a")]).verdict == "absent"
    assert verdict([true((0, 60), pod="a")]).verdict == "absent", "not in a row"


def test_what_moves_may_be_pending_for_as_long_as_a_pod_warms_up() -> None:
    """KubePodNotReady and KubeDeploymentReplicasMismatch are true in every move."""

    def seen(seconds: int, hold: float = 900.0, source: str = "rules.yaml") -> str:
        rule = Rule(name="KubePodNotReady", expr="x", hold=hold, source=source)
        series = true(tuple(range(0, seconds + 1, 15)), namespace="shop", pod="web-1")
        return verdict([series], rule=rule, warm_up=120.0).verdict

    assert seen(105) == "absent"
    assert seen(120) == "fail"
    assert seen(15, hold=0.0) == "fail", "its own `for` is shorter"
    assert seen(105, source="server", hold=0.0) == "absent", "its `for` is not known"
    gap = true((0, 15, 30, 45, 60, 105, 120, 135, 150, 165), deployment="web")
    assert verdict([gap], warm_up=120.0).verdict == "absent", "not in a row"
    down = true((0, 15), instance="198.18.0.101:2379")
    assert verdict([down], warm_up=120.0).verdict == "fail", "no workload"


def test_a_silent_rule_is_no_pass() -> None:
    assert verdict([]).verdict == "absent"


def test_the_same_trouble_under_a_new_pod_name_is_known() -> None:
    now = [true((60, 75), namespace="shop", pod="web-new", container="web")]
    before = [true((0, 15), namespace="shop", pod="web-old", container="web")]
    assert verdict(now, before).verdict == "absent"
    assert verdict(now, before).known
    more = [*now, true((60, 75), namespace="shop", pod="web-other", container="web")]
    assert verdict(more, before).verdict == "fail", "one more than before"
    other = [true((0, 15), namespace="blog", pod="x", container="web")]
    assert verdict(now, other).verdict == "fail"


def test_alerts_about_the_machine_that_is_worked_on_are_expected() -> None:
    about = [true((0, 15), node="worker-1"), true((0, 15), instance="198.18.0.101:9100")]
    excused = frozenset({"worker-1", "198.18.0.101"})
    assert verdict(about, excused=excused).verdict == "absent"
    assert verdict(about, excused=frozenset({"worker-10"})).verdict == "fail"


def test_nobody_is_stopped_for_information() -> None:
    quiet = Rule(name="CPUThrottlingHigh", expr="x", labels={"severity": "info"})
    assert verdict([true((0, 15), pod="a")], rule=quiet).verdict == "absent"


@pytest.mark.parametrize(
    ("pod", "kind", "name", "workload"),
    [
        ("web-7d9f8b6c5d-x2x4z", "ReplicaSet", "web-7d9f8b6c5d", "Deployment/web"),
        ("web-7d9f8b6c5d-x2x4z", "", "", "Deployment/web"),
        ("db-0", "StatefulSet", "db", "StatefulSet/db"),
        ("db-0", "", "", "Pod/db"),
        ("agent-x2x4z", "DaemonSet", "agent", "DaemonSet/agent"),
        ("agent-x2x4z", "", "", "Pods/agent"),
        ("nightly-29384756-x2x4z", "Job", "nightly-29384756", "Job/nightly"),
        ("etcd-cp-1", "<none>", "<none>", "Pod/etcd-cp"),
    ],
)
def test_the_workload_of_a_pod(pod: str, kind: str, name: str, workload: str) -> None:
    assert workload_of(pod, {"created_by_kind": kind, "created_by_name": name}) == workload


def test_since_when_a_pod_runs() -> None:
    def info(pod: str, at: tuple[float, ...]) -> Series:
        return true(at, namespace="shop", pod=pod, node="n1")

    seen = [info("old-0", (0, 60)), info("new-0", (60, 120)), info("known-0", (0, 60, 120))]
    made = placed(seen, {("shop", "known-0"): -500.0}, first=0.0, lately=60.0)
    assert {p.pod for p in made if p.until < math.inf} == {"old-0"}
    found = {p.pod: p.since for p in made}
    assert found == {"old-0": float("-inf"), "new-0": 60, "known-0": -500.0}


def test_pictures() -> None:
    def reading(**more: object) -> Reading:
        return Reading(
            gate="g", group="<x>", kind="compare", unit="s", verdict="fail", why="", **more,  # type: ignore[arg-type]
        )  # fmt: skip

    new = Curve(subject="new", at=(0.0, 1.0, 2.0), values=(0.0, 1.0, 2.0))
    old = Curve(subject="old", at=(0.0, 1.0, 2.0), values=(0.0, 0.0, 0.0))
    assert picture.text(reading(new=new, old=old)) == "▁▅█ / ▁▁▁" or picture.text(
        reading(new=new, old=old)
    ).startswith("▁")
    assert picture.text(reading()) == ""
    drawn = picture.svg(reading(new=new, old=old, limit=1.5))
    assert drawn.count("<polyline") == 2
    assert 'class="bound"' in drawn
    assert "&lt;x&gt;" in drawn
    assert "<x>" not in drawn
    flat = Curve(subject="new", at=(0.0, 1.0), values=(5.0, 5.0))
    assert len(picture.text(reading(new=flat))) == 2


def test_silences_name_alerts_and_one_machine() -> None:
    by_node, by_instance = silence.matchers(("KubeletDown", "TargetDown"), {"w-1", "198.18.0.1"})
    alert, node = by_node
    assert re.fullmatch(alert[1], "TargetDown")
    assert not re.fullmatch(alert[1], "TargetDownOther")
    assert node[0] == "node"
    assert re.fullmatch(node[1], "w-1")
    assert not re.fullmatch(node[1], "w-11")
    assert not re.fullmatch(node[1], "198x18.0.1")
    assert re.fullmatch(by_instance[1][1], "198.18.0.1:9100")
    assert not re.fullmatch(by_instance[1][1], "198.18.0.11:9100")
    assert silence.matchers((), {"w-1"}) == ()
    assert silence.matchers(("A",), set()) == ()


def test_a_silence_lapses() -> None:
    assert silence.ends(0.0, 100.0) == 100.0 + silence.TTL
    assert silence.ends(0.0, silence.CAP - 1) == silence.CAP
    assert silence.ends(0.0, silence.CAP) is None


# -- the proof -----------------------------------------------------------------------------------


def window(outcome: str) -> replay.Window:
    return replay.Window(start=0.0, end=1.0, called_new=("a",), outcome=outcome, why="")  # type: ignore[arg-type]


def history(alarms: int, judged: int, gates: str = "d", at: float = 0.0) -> replay.History:
    made = [window("fail")] * alarms + [window("pass")] * (judged - alarms)
    return replay.History(at=at, gates=gates, windows=(*made, window("inconclusive")))


@pytest.mark.parametrize(
    ("found", "now", "why"),
    [
        (None, 0.0, "have not been proven"),
        (history(0, 40, gates="other"), 0.0, "were changed"),
        (history(0, 40), 31 * 86400.0, "31 days old"),
        (history(0, 19), 0.0, "only 19 past windows"),
        (history(2, 40), 0.0, "2 of 40 past windows (5.0%"),
        (history(0, 40), 0.0, ""),
    ],
)
def test_only_quiet_gates_may_block(found: replay.History | None, now: float, why: str) -> None:
    said = replay.unproven(found, "d", 0.02, now)
    assert why in said
    assert bool(said) == bool(why)


def test_a_proof_holds_for_these_numbers_alone() -> None:
    from msgspec.structs import replace

    changed = (replace(CATALOG[0], ratio=9.0), *CATALOG[1:])
    assert replay.digest(CATALOG, ()) == replay.digest(CATALOG, ())
    assert replay.digest(CATALOG, ()) != replay.digest(changed, ())
    assert replay.digest(CATALOG, ()) != replay.digest(CATALOG, (RULE,))


def test_windows_do_not_overlap_and_reach_back() -> None:
    made = replay.windows(1e6, 40, 7.0)
    assert len(made) == 40
    assert all(b - a == replay.SPAN for a, b in made)
    assert all(later[0] > earlier[1] for earlier, later in zip(made[1:], made, strict=False))
    assert made[-1][0] < 1e6 - 6.7 * 86400


def test_nodes_are_called_new_in_turn() -> None:
    nodes = [f"n{i}" for i in range(8)]
    assert len(replay.called_new(nodes, 0)) == 4
    assert len(replay.called_new(nodes, 1)) == 1
    assert replay.called_new(nodes, 0) == replay.called_new(list(reversed(nodes)), 0)
    assert replay.called_new(["alone"], 0) == ()


def test_a_fail_in_the_past_must_be_seen_twice_too() -> None:
    gate = next(g for g in CATALOG if g.name == "etcd-fsync")

    def one(values: dict[float, float]) -> replay.Window:
        at = tuple(i * STEP for i in range(80))
        line = Line(subject="x", at=at, values=tuple(values.get(t, 0.01) for t in at))
        sides = [Sides(gate=gate, group="x", treated=(line,))]
        return replay.replay(sides, (), 0.0, at[-1], ("a",))

    assert one({}).outcome == "pass"
    assert one({300.0: 0.9, 315.0: 0.9}).outcome == "fail"
    assert one({1170.0: 0.9, 1185.0: 0.9}).outcome == "pass", "only the last look sees it"
    assert replay.replay([], (), 0.0, 1200.0, ("a",)).outcome == "inconclusive"
