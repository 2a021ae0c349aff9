"""`pawl scan` against real API servers of 1.36: what 1.37 breaks is found, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scan_rig import STARTS, Rig, rig

from pawl.core.scan.objects import LAST_APPLIED

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
CIDRS = "/apis/networking.k8s.io/v1beta1/servicecidrs"
CLASSES = "/apis/storage.k8s.io/v1beta1/volumeattributesclasses"
SECRETS = "/api/v1/namespaces/default/secrets"
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("scan")) as made:
        yield made


def scan(cluster: Rig, *more: str, target: str = "1.37") -> tuple[int, dict[str, Any]]:
    """Exit code and report, from the command itself. Findings about hosts are left out: the rig's
    servers are told to serve what 1.37 lacks, and the host may have an old runtime, which is true
    and judged elsewhere."""
    argv = [sys.executable, "-m", "pawl", "scan", "--to", target, "-o", "json"]
    if not {"--config", "--kubeconfig"} & set(more):
        argv += ["--config", str(cluster.directory / "pawl.yaml")]
    done = subprocess.run(
        [*argv, *more],
        capture_output=True,
        text=True,
        check=False,
        cwd=cluster.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    report["findings"] = [f for f in report["findings"] if not f["rule"].startswith("PAWL-U")]
    return done.returncode, report


def found(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f["path"]: f for f in report["findings"]}


def cidr(name: str, version: str = "v1beta1", **more: Any) -> dict[str, Any]:
    """A real object of an API that 1.37 removes."""
    return {
        "apiVersion": f"networking.k8s.io/{version}",
        "kind": "ServiceCIDR",
        "metadata": {"name": name, **more},
        "spec": {"cidrs": [f"198.18.{129 + len(name)}.0/24"]},
    }


def helm_release(cluster: Rig, status: str, manifest: str) -> None:
    release = {
        "name": "shop",
        "namespace": "default",
        "version": 1,
        "info": {"status": status, "last_deployed": "2025-01-01T00:00:00Z"},
        "chart": {"metadata": {"name": "shop", "version": "1.0.0"}},
        "manifest": manifest,
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    cluster.call(
        "POST",
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "helm.sh/release.v1",
            "metadata": {
                "name": "sh.helm.release.v1.shop.v1",
                "labels": {"owner": "helm", "name": "shop", "status": status, "version": "1"},
            },
            "data": {"release": base64.b64encode(packed).decode()},
        },
    )


def test_a_clean_cluster_has_no_finding_and_the_scan_leaves_no_trace(cluster: Rig) -> None:
    for _ in range(2):
        _, report = scan(cluster)
        assert (report["findings"], report["not_read"]) == ([], [])
    assert report["objects"] > 100
    assert "2 API servers" in report["scope"]
    records = [json.loads(line) for line in cluster.audit.read_text().splitlines()]
    own = [r for r in records if r["userAgent"].startswith("pawl/")]
    assert len(own) > 50
    assert {r["verb"] for r in own} <= {"get", "list"}
    assert [r["requestURI"] for r in own if "k8s.io/deprecated" in r["annotations"]] == []


def test_what_1_37_breaks_is_found_with_its_grade(cluster: Rig) -> None:
    old = json.dumps(cidr("hinted"))
    # last-applied only: the object itself was written at v1.
    hinted = cidr("hinted", "v1", annotations={LAST_APPLIED: old})
    cluster.call("POST", CIDRS.replace("v1beta1", "v1"), hinted, agent="argo/v3")
    # a manager's last write at the version that goes.
    cluster.call(
        "PATCH",
        f"{CIDRS}/written?fieldManager=ci&force=true",
        cidr("written"),
        content=APPLY,
        agent="ci/v1",
    )
    # the same, and then again by the same manager at the version that stays.
    for version in ("v1beta1", "v1"):
        path = CIDRS.replace("v1beta1", version)
        cluster.call("POST" if version == "v1beta1" else "PATCH",
                     f"{path}?fieldManager=mover" if version == "v1beta1"
                     else f"{path}/moved?fieldManager=mover",
                     cidr("moved", version, labels={"at": version}),
                     content="application/json" if version == "v1beta1"
                     else "application/merge-patch+json",
                     agent="mover/v1")  # fmt: skip
        if version == "v1beta1":
            wait_a_second()
    helm_release(
        cluster,
        "failed",
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: shop}\n",
    )
    # clients: one seen by the audit log, one only by the other server's metric.
    cluster.call("GET", CIDRS, agent="velero-server/v1.9")
    cluster.call("GET", CLASSES, agent="somebody/v1", address="127.0.0.2")

    code, report = scan(cluster)
    assert code == 2
    assert report["not_read"] == []
    by_path = found(report)
    grades = {path: (f["severity"], f["grade"]) for path, f in by_path.items()}
    assert grades == {
        "live/ServiceCIDR/hinted": ("warning", "stale"),
        "live/ServiceCIDR/written": ("blocker", "likely"),
        "helm/default/shop": ("blocker", "proven"),
        "clients/admin": ("blocker", "proven"),
        "requests/volumeattributesclasses.v1beta1.storage.k8s.io": ("blocker", "likely"),
    }
    written = by_path["live/ServiceCIDR/written"]
    assert written["replacement"] == "networking.k8s.io/v1"
    assert "ci applied it at networking.k8s.io/v1beta1" in written["evidence"][0]
    messages = [f["message"] for f in report["findings"] if f["path"] == "clients/admin"]
    assert any("velero-server/v1.9 calls it as admin" in m for m in messages)
    assert "fails already" in by_path["helm/default/shop"]["message"]


def test_the_kubeconfig_alone_and_a_fetched_log(cluster: Rig) -> None:
    cluster.call("GET", CIDRS, agent="fetched/v1")
    _, report = scan(
        cluster,
        "--kubeconfig",
        str(cluster.kubeconfig()),
        "--audit-log",
        str(cluster.audit),
    )
    assert any("fetched/v1 calls it" in f["message"] for f in report["findings"])
    # the servers announce addresses that nobody listens on here: said, not passed over.
    assert {n["path"].partition("/")[0] for n in report["not_read"]} == {"requests"}


def test_what_may_not_be_read_is_listed(cluster: Rig) -> None:
    kubeconfig = cluster.kubeconfig("viewer", "viewers")
    cluster.call(
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        {
            "metadata": {"name": "viewer"},
            "rules": [
                {"apiGroups": ["networking.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
            ],
        },
    )
    cluster.call(
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": "viewer"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "viewer",
            },
            "subjects": [
                {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "viewers"}
            ],
        },
    )
    code, report = scan(cluster, "--kubeconfig", str(kubeconfig), target="1.36")
    assert code == 3
    not_read = {n["path"]: n["why"] for n in report["not_read"]}
    assert "forbidden" in not_read["live/secrets"]
    assert "live/networkpolicies.networking.k8s.io" not in not_read


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "none"}]},
            },
        },
    }


def budget(name: str, app: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
    }


def test_what_would_make_a_drain_wait_for_ever(cluster: Rig) -> None:
    """With the real disruption controller's numbers; no kubelet runs, so every pod is Pending."""
    apps, budgets = "/apis/apps/v1/namespaces/default/deployments", (
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    )  # fmt: skip
    cluster.call("POST", apps, deployment("single", 1))
    cluster.call("POST", apps, deployment("pair", 2))
    cluster.call("POST", budgets, budget("never", "single", minAvailable=1))
    cluster.call("POST", budgets, budget("zero", "pair", maxUnavailable=0))
    cluster.call("POST", budgets, budget("second", "pair", minAvailable=1))
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    cluster.call(
        "POST",
        slices,
        {
            "addressType": "IPv4",
            "metadata": {"name": "guard-1", "labels": {"kubernetes.io/service-name": "guard"}},
            "endpoints": [{"addresses": ["198.18.0.5"], "nodeName": "n1"}],
        },
    )
    cluster.call(
        "POST",
        hooks,
        {
            "metadata": {"name": "guard"},
            "webhooks": [
                {
                    "name": "guard.example.com",
                    "clientConfig": {"service": {"namespace": "default", "name": "guard"}},
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "resources": ["pods"],
                            "operations": ["DELETE"],
                        }
                    ],
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }
            ],
        },
    )
    configmaps = "/api/v1/namespaces/default/configmaps"
    held = {"metadata": {"name": "held", "finalizers": ["example.com/gone"]}}
    cluster.call("POST", configmaps, held)
    cluster.call("DELETE", f"{configmaps}/held")
    end = time.monotonic() + STARTS
    while True:
        found_ = [b["status"] for b in cluster.call("GET", budgets)["items"]]
        if all(s.get("observedGeneration") and s.get("expectedPods") for s in found_):
            break
        assert time.monotonic() < end, found_
        time.sleep(0.5)
    code, report = scan(cluster)
    codes = {(f["rule"], f["path"]) for f in report["findings"] if f["rule"].startswith("PAWL")}
    assert code == 2
    assert codes >= {
        ("PAWL-W001", "live/default/PodDisruptionBudget/never"),
        ("PAWL-W001", "live/default/PodDisruptionBudget/zero"),
        ("PAWL-W003", "live/default/Deployment/single"),
        ("PAWL-W004", "live/webhook/guard/guard.example.com"),
    }
    assert sum(rule == "PAWL-W002" for rule, _ in codes) == 2
    # it has only just been deleted: not stuck yet
    assert "finalizer-stuck" not in {f["rule"] for f in report["findings"]}


def crd(name: str, *versions: str, **spec: Any) -> dict[str, Any]:
    """A CRD of example.com whose last version is stored, and the only one that is served."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": f"{name}s.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"kind": name.capitalize(), "plural": f"{name}s", "singular": name},
            "versions": [
                {"name": v, "served": last, "storage": last, "schema": schema}
                for v in versions
                for last in [v == versions[-1]]
            ],
            **spec,
        },
    }


def test_what_extends_the_api_and_is_not_well(cluster: Rig) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    conversion = {
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "default", "name": "nobody"}},
        },
    }
    cluster.call("POST", crds, crd("widget", "v1beta1", "v1"))
    cluster.call("POST", crds, crd("gadget", "v1", conversion=conversion))
    cluster.call(
        "PATCH",
        f"{crds}/widgets.example.com/status",
        {"status": {"storedVersions": ["v1beta1", "v1"]}},
        content="application/merge-patch+json",
    )
    services = "/apis/apiregistration.k8s.io/v1/apiservices"
    aggregated = {
        "metadata": {"name": "v1.dead.example.com"},
        "spec": {
            "group": "dead.example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": "default", "name": "nobody"},
        },
    }
    cluster.call("POST", services, aggregated)
    try:
        _, report = scan(cluster)
    finally:
        cluster.call("DELETE", f"{services}/v1.dead.example.com")
        for name in ("widgets", "gadgets"):
            cluster.call("DELETE", f"{crds}/{name}.example.com")
    found_ = {(f["rule"], f["name"]) for f in report["findings"]}
    assert found_ >= {
        ("crd-stored-version", "widgets.example.com"),
        ("crd-conversion-dead", "gadgets.example.com"),
        ("apiservice-dead", "v1.dead.example.com"),
    }


def test_what_1_37_cannot_read_in_etcd_is_found_and_its_own_server_cannot(cluster: Rig) -> None:
    workloads = "/apis/scheduling.k8s.io/v1alpha2/namespaces/default/workloads"
    policy = {"gang": {"minCount": 2}}
    templates = [{"name": "workers", "schedulingPolicy": policy}]
    gang = {"metadata": {"name": "gang"}, "spec": {"podGroupTemplates": templates}}
    cluster.call("POST", workloads, gang)
    code, report = scan(cluster)
    finding = found(report)["etcd/workloads.scheduling.k8s.io"]
    assert (code, finding["rule"], finding["grade"]) == (2, "stored-unreadable", "proven")
    assert "as scheduling.k8s.io/v1alpha2" in finding["message"]
    assert finding["evidence"] == ["the first of them: default/gang"]
    assert found(scan(cluster, target="1.36")[1]).keys().isdisjoint({finding["path"]})

    beta = "--runtime-config=scheduling.k8s.io/v1beta1=true"
    with cluster.newer("1.37.0", "127.0.0.3", beta):
        with pytest.raises(urllib.error.HTTPError) as refused:
            cluster.call("GET", "/apis/scheduling.k8s.io/v1beta1/workloads", address="127.0.0.3")
        said = json.loads(refused.value.read())["message"]
    assert 'no kind "Workload" is registered for version "scheduling.k8s.io/v1alpha2"' in said

    cluster.call("DELETE", f"{workloads}/gang")
    assert "etcd/workloads.scheduling.k8s.io" not in found(scan(cluster)[1])


def wait_a_second() -> None:
    """managedFields know whole seconds: the later write must be in a later one."""
    time.sleep(1.1)
