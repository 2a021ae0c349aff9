"""pawl's main job on real machines: a whole upgrade, killed again and again, lands all the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pawl_process import Event, Pawl, PawlRun

from pawl.lab.cluster import Lab

KUBERNETES, ETCD = "1.37.0", "3.6.14"

KILLS: tuple[tuple[str, str, str], ...] = (
    # event, effect, start of the target: before it (intended) and after it (done), in all phases
    ("effect-intended", "restore-proof", "etcd-"),
    ("effect-intended", "stop", "etcd-"),
    ("effect-done", "switch", "etcd-"),
    ("effect-intended", "move-leader", "etcd-"),
    ("effect-done", "drain-balancer", "cp-"),
    ("effect-intended", "start", "cp-"),
    ("effect-done", "set-flags", "cp-"),
    ("effect-intended", "add-machine", "worker-"),
    ("effect-done", "cordon", "worker-"),
)
MAY_BE_DONE = ("effect-intended", "move-leader", "etcd-")


def at(instant: tuple[str, str, str], event: Event) -> bool:
    name, effect, target = instant
    return (
        event["event"] == name
        and event["effect"] == effect
        and str(event["target"]).startswith(target)
    )


def kept(node: dict[str, Any]) -> list[str]:
    """Taints that are not the cluster's own word about a node that is busy."""
    keys = [str(t["key"]) for t in node["taints"]]
    return [k for k in keys if not k.startswith("node.kubernetes.io/")]


@pytest.fixture(scope="module")
def cluster(lab_maker: Callable[..., Lab]) -> Lab:
    return lab_maker("upgrade", control_planes=3, etcd_members=3, workers=2)


def test_an_upgrade_that_is_killed_in_every_phase_lands(cluster: Lab, tmp_path: Path) -> None:
    pawl = Pawl(cluster.dir.config)
    before = pawl.whole()
    pawl.plan("--to", KUBERNETES, "--etcd", ETCD, "--strategy", "nodes=replace")
    events: list[Event] = []
    killed = 0
    left = list(KILLS)
    while left:
        # A disk that stalls may have moved the leader before pawl does: then that is not met.
        now = left[: 2 if left[0] == MAY_BE_DONE else 1]
        run = PawlRun(pawl, "--no-probe")
        met = run.kill_at(lambda e, now=now: any(at(instant, e) for instant in now))
        events += run.seen
        if met is None:
            break
        killed += 1
        left = left[next(i for i, instant in enumerate(now) if at(instant, met)) + 1 :]
    assert killed >= 8, f"only {killed} of {len(KILLS)} instants were met"
    run = PawlRun(pawl, "--no-probe")
    assert run.finish() == 0, run.said()
    events += run.seen

    after = pawl.whole()
    assert {m["version"] for m in after["members"]} == {ETCD}
    assert {m["storage_version"] for m in after["members"]} == {"3.6.0"}
    ids = {m["host"]: m["member_id"] for m in before["members"]}
    assert {m["host"]: m["member_id"] for m in after["members"]} == ids
    assert {a["version"] for a in after["api_servers"]} == {KUBERNETES}
    assert {a["emulation_version"] for a in after["api_servers"]} == {"1.37"}
    assert {c["version"] for c in after["controllers"]} == {KUBERNETES}
    assert {n["kubelet"] for n in after["nodes"]} == {KUBERNETES}
    assert len(after["nodes"]) == len(before["nodes"])
    assert not any(n["unschedulable"] or kept(n) for n in after["nodes"])
    assert {b["admin"] for b in after["balancer"]} == {"ready"}

    done = Counter((e["effect"], e["target"]) for e in events if e["event"] == "effect-done")
    switched = {k: n for k, n in done.items() if k[0] == "switch"}
    assert switched, "no binary was switched"
    assert set(switched.values()) == {1}, f"an effect was done twice: {switched}"

    pawl("report", "--out", str(tmp_path), ok=(0, 1, 3))
    page = next(tmp_path.rglob("*.html")).read_text()
    assert "etcd" in page
    assert json.loads(next(tmp_path.rglob("*.json")).read_text())
