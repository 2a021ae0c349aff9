"""Real runs over real nodes, judged by the lab's own Prometheus: a fault on a new node alone is
found and the way back is taken; a quiet run with its packs raises no alarm, and lands.

The numbers are small so that it takes minutes: a reading each second, rates over three.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pawl_process import Event, Pawl, PawlRun

from conftest import wanted
from pawl.lab import workloads
from pawl.lab.cluster import Lab
from pawl.lab.probe import Prober, wait

OLD, NEW = "1.36.0", "1.37.0"
PORT = 30090
WORKERS = ("worker-1", "worker-2")
RULES = Path(__file__).parents[1] / "fixtures" / "rules"
TAIL = 20
"""Seconds in which alerts of a machine stay silenced after the work on it."""
PACK = """\
pack: shop
checks:
  - {name: may begin, when: [before], run: [test, "!", -e, refuse]}
  - {name: holds, when: [during], run: ["true"], every: 1}
  - {name: is liked, when: [after], run: ["true"]}
"""


@pytest.fixture(scope="module")
def lab(lab_maker: Callable[..., Lab]) -> Lab:
    """Control plane at the new minor, two workers at the old one, Prometheus at one second."""
    made = lab_maker("gates", start=False)
    made.up(wanted(made.name, NEW, "3.6", workers=0, scrape=1.0))
    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(made.add, name, "worker", versions={"kubernetes": OLD})  # type: ignore[arg-type]
            for name in WORKERS
        ]:
            done.result()
    made.up()
    prober = Prober(made.spec, made.pki)
    balancer = str(made.spec.network.load_balancer)
    try:
        for item in edge():
            prober.request(balancer, "PATCH", workloads.place(item) + "?fieldManager=t", item)
        path = workloads.place(edge()[0])
        wait(
            "edge on each node",
            lambda: (
                prober.request(balancer, "GET", path)["status"].get("numberReady") == len(WORKERS)
            ),
            60,
        )
        wait("all of it to be measured", lambda: not prober.unmeasured(), 30)
    finally:
        prober.close()
    return made


def edge() -> list[workloads.Object]:
    """A pod on each node, as ingress controllers are: it stays when its node is drained. Each
    node's port leads to the node's own pod."""
    labels = {"app": "edge"}
    container = {
        "name": "edge", "image": "pawl.lab/web:1", "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "POD", "value": "edge"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    }  # fmt: skip
    spec = {"automountServiceAccountToken": False, "containers": [container]}
    meta = {"name": "edge", "namespace": workloads.NAMESPACE}
    return [
        {
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": workloads.SCRAPED},
                    "spec": spec,
                },
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {
                "type": "NodePort", "externalTrafficPolicy": "Local", "selector": labels,
                "ports": [{"port": 8080, "nodePort": PORT, "protocol": "TCP"}],
            },
        },
    ]  # fmt: skip


def at(lab: Lab, worker: str) -> str:
    return f"http://{lab.machine(worker).address()}:{PORT}"


@pytest.fixture(scope="module")
def traffic(lab: Lab) -> Iterator[None]:
    """Some twenty requests a second for each node's pod."""
    over = threading.Event()

    def send(worker: str) -> None:
        with httpx.Client(timeout=2, trust_env=False) as client:
            while not over.wait(0.05):
                try:
                    client.get(at(lab, worker))
                except httpx.HTTPError:
                    continue

    threads = [threading.Thread(target=send, args=(w,), daemon=True) for w in WORKERS]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join(10)


def fault(lab: Lab, worker: str, errors: float) -> None:
    answer = httpx.post(f"{at(lab, worker)}/fault?errors={errors}", timeout=5, trust_env=False)
    assert answer.json()["errors"] == errors


@pytest.fixture
def settings(lab: Lab) -> Callable[..., Pawl]:
    """pawl over the lab with other policies. Gates that tell how busy the machine under the lab is
    are left out: it runs a cluster on two cores."""

    def change(on_fail: str, soak: float, patience: float, *packs: Path) -> Pawl:
        config = yaml.safe_load(lab.dir.config.read_text())
        config["metrics"] |= {"step": 2, "rate_window": 3, "warm_up": 20, "silence_tail": TAIL}
        config["metrics"]["rules"] = [str(p) for p in sorted(RULES.glob("*.yaml"))]
        config["metrics"]["gates"] = {
            name: {"enabled": False}
            for name in (
                *("cpu", "memory", "memory-leak", "cpu-throttled", "http-traffic"),
                *("http-latency", "http-latency-p99", "redis-latency", "pod-start"),
                *("api-latency", "etcd-fsync", "etcd-commit"),
            )
        }
        gates = {"mode": "block", "every": 2, "patience": patience, "on_fail": on_fail}
        config["policy"] |= {"gates": gates, "packs": [str(p) for p in packs]}
        config["policy"]["soak"] |= {"node": soak, "last": soak}
        lab.dir.config.write_text(yaml.safe_dump(config))
        return Pawl(lab.dir.config)

    return change


def swapped(worker: str) -> Callable[[Event], bool]:
    step = f"/swap/{worker}"
    return lambda e: e["event"] == "step-done" and str(e["step"]).endswith(step)


def kubelets(pawl: Pawl) -> dict[str, str]:
    nodes = pawl.json("status")["nodes"]
    assert not any(n["unschedulable"] or n["taints"] for n in nodes)
    return {n["name"]: n["kubelet"] for n in nodes}


def report(pawl: Pawl, run: str, out: Path) -> tuple[str, dict[str, Any]]:
    pawl("report", run, "--out", str(out), ok=(0, 1, 3))
    data = json.loads(next(out.rglob("*.json")).read_text())
    return next(out.rglob("*.html")).read_text(), data


@pytest.mark.usefixtures("traffic")
def test_a_fault_on_a_new_node_alone_takes_it_back(
    lab: Lab, settings: Callable[..., Pawl], tmp_path: Path
) -> None:
    # Longer than the warm-up: before it nothing is measured on the new node, and nothing held.
    pawl = settings("roll-back-nodes", 45, 120)
    pawl.plan("--to", NEW, "--only", "nodes")
    run = PawlRun(pawl, "--no-probe")
    run.until(swapped("worker-1"))
    fault(lab, "worker-1", 0.3)
    try:
        assert run.finish(240) == 1, run.said()
    finally:
        fault(lab, "worker-1", 0)
    pauses = [e for e in run.seen if e["event"] == "paused"]
    assert [p["by"] for p in pauses] == ["gates"], run.said()
    why = str(pauses[0]["why"])
    assert why.startswith("A gate failed: http 5xx of pawl-lab/DaemonSet/edge"), why
    assert "The way back is open" in why
    assert not [e for e in run.seen if swapped("worker-2")(e)], "it went on"
    assert kubelets(pawl) == dict.fromkeys(WORKERS, OLD), run.said()
    page, data = report(pawl, str(pauses[0]["run"]), tmp_path)
    failed = [r for r in data["gates"]["readings"] if r["verdict"] == "fail"]
    assert {(r["gate"], r["group"]) for r in failed} >= {
        ("http-5xx", "pawl-lab/DaemonSet/edge"),
    }
    assert all(r["gate"].startswith("http-") for r in failed), failed
    assert 'class="new"' in page
    assert 'aria-label="http-5xx of pawl-lab/DaemonSet/edge: fail"' in page


@pytest.mark.usefixtures("traffic")
def test_a_quiet_run_with_its_packs_raises_no_alarm_and_lands(
    lab: Lab, settings: Callable[..., Pawl]
) -> None:
    packs = lab.dir.path / "packs"
    packs.mkdir()
    (packs / "shop.yaml").write_text(PACK)
    (packs / "refuse").touch()
    pawl = settings("pause", 20, 60, packs / "shop.yaml")
    pawl.plan("--to", NEW, "--only", "nodes")

    refused = PawlRun(pawl, "--no-probe")
    assert refused.finish() == 2
    assert "may begin: it says no" in refused.why()
    assert not refused.done()
    (packs / "refuse").unlink()

    run = PawlRun(pawl, hold=["before cordon worker-2"])
    run_id = str(run.until(swapped("worker-1"))["run"])
    assert silences(lab, run_id, "active") == {"worker-1"}, run.said()
    run.until_held()

    def edge_passes() -> bool:
        seen = pawl.json("verify", "--gate", "websocket-errors", ok=(0, 3))
        edge = [r for r in seen["readings"] if r["group"] == "pawl-lab/DaemonSet/edge"]
        assert [r["against"] for r in edge if r["verdict"] == "pass"] in ([], ["old nodes"])
        return any(r["verdict"] == "pass" and min(r["samples"]) >= 8 for r in edge)

    wait("the new node's pod to be judged beside the old one's", edge_passes, 120)
    run.go()
    assert run.finish(240) == 0, run.said()
    assert kubelets(pawl) == dict.fromkeys(WORKERS, NEW)
    assert not [e for e in run.seen if e["event"] == "paused"]
    assert not [e for e in run.seen if e["event"] == "gates-judged" and e["failed"]]
    _, data = report(pawl, run_id, lab.dir.path / "report")
    assert {(o["check"], o["phase"], o["verdict"]) for o in data["packs"]} == {
        ("may begin", "before", "pass"),
        ("holds", "during", "pass"),
        ("is liked", "after", "pass"),
    }
    wait("the silences to end", lambda: not silences(lab, run_id, "active"), TAIL + 20)
    assert silences(lab, run_id, "expired") == set(WORKERS)


def silences(lab: Lab, run: str, state: str) -> set[str]:
    """The workers whose alerts are silenced on behalf of the run, in the lab's Alertmanager."""
    context = ssl.create_default_context(cafile=str(lab.dir.pki / "ca.crt"))
    pair = lab.dir.pki / "pawl-metrics-client"
    context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
    url = yaml.safe_load(lab.dir.config.read_text())["metrics"]["alertmanager"]
    answer = httpx.get(f"{url}/api/v2/silences", verify=context, trust_env=False)
    return {
        worker
        for silence in answer.raise_for_status().json()
        if silence["createdBy"] == f"pawl:{run}" and silence["status"]["state"] == state
        for matcher in silence["matchers"]
        for worker in WORKERS
        if matcher["name"] == "node" and re.fullmatch(matcher["value"], worker)
    }
