"""Faults of API servers, balancer and nodes, and the two ways of the control plane, on one lab.

Order matters only for the time it takes: each test leaves a whole cluster, and starts from what it
finds. The rollback of the two-step upgrade stands before the replacement, which is final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from faulty import IN_VAIN, Cluster, eventually
from pawl_process import SETTLES, PawlRun

from pawl.lab import workloads
from pawl.lab.cluster import Lab
from pawl.lab.probe import Prober, wait

OLD, NEW = "1.36.0", "1.37.0"
BROKEN = "1.36.9"
"""A release that nobody has made: its programs are scripts."""
BUDGET = workloads._PLACES["PodDisruptionBudget"].format(namespace="pawl-lab", name="web")
WEB = "/api/v1/namespaces/pawl-lab/pods?labelSelector=app%3Dweb"


@pytest.fixture(scope="module")
def cluster(lab_maker: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    lab = lab_maker("control", control_planes=2, etcd_members=1, workers=2)
    return Cluster(lab, tmp_path_factory.mktemp("control"))


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Callable[..., Any]]:
    """One API request, through the balancer or at a machine's own address. It is asked again until
    it is answered: while a server makes itself ready for a kind that is new to it, or has no answer
    from etcd. All that is written here may be written twice."""
    lab = cluster.lab
    prober = Prober(lab.spec, lab.pki)

    def request(
        method: str, path: str, body: dict[str, Any] | None = None, *, at: str = "lb"
    ) -> Any:
        if method == "PATCH":
            path += "?fieldManager=pawl-lab&force=true"
        found: list[Any] = []

        def answered() -> bool:
            found.append(prober.request(lab.machine(at).address(), method, path, body))
            return True

        wait(f"an answer to {method} {path} at {at}", answered, SETTLES)
        return found[0]

    yield request
    prober.close()


def versions(cluster: Cluster) -> dict[str, set[str]]:
    state = cluster.whole()
    return {
        "api": {a["version"] for a in state["api_servers"]},
        "acts as": {a["emulation_version"] for a in state["api_servers"]},
        "controllers": {c["version"] for c in state["controllers"]},
        "balancer": {b["admin"] for b in state["balancer"]},
    }


BEFORE = {"api": {OLD}, "acts as": {"1.36"}, "controllers": {OLD}, "balancer": {"ready"}}


def within(**seconds: int) -> dict[str, Any]:
    """A policy whose deadline passes in this test. The way back has as long."""
    return {"timeouts": seconds}


def test_an_api_server_that_is_never_ready_goes_back(cluster: Cluster) -> None:
    parts = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    pawl = cluster.scripted(
        BROKEN, *parts, when_run="exec sleep infinity", policy=within(apiserver_ready=50)
    )
    pawl.plan("--to", BROKEN, "--only", "control-plane")
    other = cluster.since("cp-2", "kube-apiserver")
    why = pawl.run(ok=(4,))
    assert f"kube-apiserver {BROKEN} on cp-1 did not become healthy: " in why
    assert "API server cp-1 does not answer yet." in why
    assert f"kube-apiserver {OLD} runs there again, healthy, on the same data" in why
    assert versions(cluster) == BEFORE
    assert cluster.since("cp-2", "kube-apiserver") == other


def test_a_balancer_that_cannot_be_reached_stops_before_the_stop(cluster: Cluster) -> None:
    pawl = cluster.operator(policy=IN_VAIN)
    pawl.plan("--to", NEW, "--only", "control-plane")
    before = {h: cluster.since(h, "kube-apiserver") for h in ("cp-1", "cp-2")}
    run = PawlRun(pawl, hold=["before drain-balancer"])
    run.until_held()
    cluster.ssh("lb", "systemctl stop haproxy")
    try:
        run.go()
        assert run.finish() == 4, run.said()
        assert "load balancer" in run.told(), run.said()
        assert run.done("stop") == []
        assert {h: cluster.since(h, "kube-apiserver") for h in before} == before
    finally:
        cluster.ssh("lb", "systemctl start haproxy")
    eventually("both are balanced", lambda: versions(cluster) == BEFORE)


def everything(api: Callable[..., Any], at: str) -> dict[str, dict[str, Any]]:
    """Every object of every resource that this API server lists: what it can read."""
    found: dict[str, dict[str, Any]] = {}
    roots = ["/api/v1"]
    roots += [
        f"/apis/{v['groupVersion']}"
        for g in api("GET", "/apis", at=at)["groups"]
        for v in g["versions"]
    ]
    for root in roots:
        for resource in api("GET", root, at=at)["resources"]:
            name = resource["name"]
            volatile = name in ("events", "leases", "componentstatuses", "pods", "endpointslices")
            if "list" in resource["verbs"] and not volatile:
                items = api("GET", f"{root}/{name}", at=at).get("items", [])
                found |= {f"{root}/{name}/{i['metadata']['uid']}": i for i in items}
    return found


def written(api: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Objects of several kinds, a new kind among them; by path."""
    group, plural = "faults.pawl.dev", "marks"
    made = {
        "/api/v1/namespaces/pawl-lab/configmaps/meanwhile": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "meanwhile", "namespace": "pawl-lab"},
            "data": {"written": "by 1.37.0 as 1.36"},
        },
        "/api/v1/namespaces/pawl-lab/secrets/meanwhile": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "meanwhile", "namespace": "pawl-lab"},
            "data": {"key": "dmFsdWU="},
        },
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}": {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": "Cluster",
                "names": {"plural": plural, "singular": "mark", "kind": "Mark"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                ],
            },
        },
    }
    for path, body in made.items():
        api("PATCH", path, body)
    own = f"/apis/{group}/v1/{plural}/first"
    mark = {
        "apiVersion": f"{group}/v1",
        "kind": "Mark",
        "metadata": {"name": "first"},
        "spec": {"x": 1},
    }
    api("PATCH", own, mark)
    return {**made, own: mark}


def test_the_two_step_control_plane_goes_back_with_all_that_was_written(
    cluster: Cluster, api: Callable[..., Any]
) -> None:
    pawl = cluster.operator()
    pawl.plan("--to", NEW, "--only", "control-plane", approve=("plan",))
    run = PawlRun(pawl, "--no-probe", "--no-wait")
    assert run.finish() == 1, run.said()
    assert "needs the approval control-plane-finish" in run.why()
    assert versions(cluster) == {**BEFORE, "api": {NEW}}
    made = written(api)
    there = everything(api, "cp-1")
    assert len(there) > 100

    said = pawl("rollback", "--yes", "--no-probe")
    assert "done: " in said, said
    assert versions(cluster) == BEFORE
    for host in ("cp-1", "cp-2"):
        for path, body in made.items():
            read = api("GET", path, at=host)
            kept = {k: v for k, v in body.items() if k in ("data", "spec") and "group" not in v}
            assert {k: read[k] for k in kept} == kept, path
        assert set(there) <= set(everything(api, host))
    api("PATCH", "/api/v1/namespaces/pawl-lab/configmaps/meanwhile", {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "meanwhile", "namespace": "pawl-lab"},
        "data": {"written": "by 1.36.0 again"},
    })  # fmt: skip


def spread_out(api: Callable[..., Any]) -> dict[str, Any]:
    """Pods of web on both workers. In a new lab they all may be on the one that was Ready first;
    the scheduler only prefers that they are apart, so they are made again until they are."""
    web = workloads._deployment("web", 3, {})
    for turn in count():
        web["spec"]["template"]["metadata"]["annotations"] = {"made": str(turn)}
        api("PATCH", workloads.place(web), web)
        places: set[str] = set()

        def moved(turn: int = turn, places: set[str] = places) -> bool:
            pods = api("GET", WEB)["items"]
            notes = [p["metadata"].get("annotations", {}) for p in pods]
            made = [p for p, n in zip(pods, notes, strict=True) if n.get("made") == str(turn)]
            places.update(p["spec"].get("nodeName", "") for p in made)
            return len(pods) == len(made) == 3 and all(ready(p) for p in made)

        eventually("web runs anew", moved)
        if len(places - {""}) == 2:
            return web
        assert turn < 5, "web never runs on both workers"
    raise AssertionError("unreachable")


def ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_budget_that_never_allows_gives_the_cordon_back(
    cluster: Cluster, api: Callable[..., Any]
) -> None:
    """Tightened after the preflight; before that, the plan itself is refused. The workload allows
    no surge: one that does is moved without asking the budget for anything."""
    web = spread_out(api)
    stiff = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}, "type": "RollingUpdate"}
    api("PATCH", workloads.place(web), {**web, "spec": {**web["spec"], "strategy": stiff}})
    pawl = cluster.scripted(
        "1.36.8", "kubelet", "kube-proxy", when_run="exit 1", policy=within(eviction=40)
    )
    pawl.plan("--to", "1.36.8", "--only", "nodes")
    budget = workloads._budget("web")
    run = PawlRun(pawl, hold=["after cordon"])
    node = run.until_held()["target"]
    api("PATCH", BUDGET, {**budget, "spec": {**budget["spec"], "maxUnavailable": 0}})
    try:
        run.go()
        assert run.finish() == 1, run.said()
        assert f"{node} was not empty after 40 s" in run.why(), run.why()
        assert "budget web needs" in run.why()
        assert "Make room for them or relax the budget, then: pawl resume." in run.why()
        nodes = cluster.whole()["nodes"]
        assert not [n["name"] for n in nodes if n["unschedulable"] or n["cordoned_by"]]
        assert {n["kubelet"] for n in nodes} == {OLD}
        other = cluster.operator()
        never = "PAWL-W001 PodDisruptionBudget pawl-lab/web: never allows an eviction"
        refused = other.once(
            lambda d: d.returncode == 2 and never in d.stdout,
            *("plan", "--to", NEW, "--only", "nodes", "-o", "json"),
        )
        assert "it asks for 3 of 3 pods" in refused.stdout
    finally:
        api("PATCH", BUDGET, budget)
        api("PATCH", workloads.place(web), web)


def test_a_node_that_is_never_ready_goes_back(cluster: Cluster) -> None:
    pawl = cluster.scripted(
        *(BROKEN + "1", "kubelet", "kube-proxy"),
        when_run="exec sleep infinity",
        policy=within(node_ready=60),
    )
    pawl.plan("--to", BROKEN + "1", "--only", "nodes")
    hosts = [s["action"]["node"] for s in pawl.steps if "/swap/" in s["id"]]
    other = cluster.since(hosts[1], "kubelet")
    why = pawl.run(ok=(4,))
    assert f"kubelet {BROKEN}1 on {hosts[0]} did not become healthy: " in why
    assert f"kubelet {OLD} runs there again" in why
    nodes = cluster.whole()["nodes"]
    assert {n["kubelet"] for n in nodes} == {OLD}
    assert not any(n["unschedulable"] for n in nodes)
    eventually("all are Ready", lambda: all(n["ready"] for n in cluster.whole()["nodes"]))
    assert cluster.since(hosts[1], "kubelet") == other


def test_a_control_plane_is_replaced_machine_by_machine(
    cluster: Cluster, api: Callable[..., Any]
) -> None:
    before = {m.name: m.identity for m in cluster.lab.dir.machines()}
    pawl = cluster.operator()
    pawl.plan("--to", NEW, "--only", "control-plane", "--strategy", "control-plane=replace")
    run = PawlRun(pawl, hold=["after add-machine"])
    made = run.until_held()["target"]
    assert int(cluster.ssh(made, "cat /var/lib/pawl/epoch")) > 0, "born with its operator's epoch"
    run.go()
    assert run.finish() == 0, run.said()
    assert versions(cluster) == {
        "api": {NEW},
        "acts as": {"1.37"},
        "controllers": {NEW},
        "balancer": {"ready"},
    }
    after = {m.name: m.identity for m in cluster.lab.dir.machines()}
    assert not {"cp-1", "cp-2"} & set(after)
    assert len(after) == len(before)
    assert {b["host"] for b in cluster.whole()["balancer"]} == set(after) - set(before)
    assert api("GET", "/version")["gitVersion"] == f"v{NEW}"
