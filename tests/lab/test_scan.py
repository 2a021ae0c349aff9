"""`pawl scan` against real API servers of 1.36: what 1.37 breaks is found, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scan_rig import Rig, rig

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
    """Exit code and report, from the command itself."""
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
    return done.returncode, json.loads(done.stdout)


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
        code, report = scan(cluster)
        assert (report["findings"], report["not_read"], code) == ([], [], 0)
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


def wait_a_second() -> None:
    """managedFields know whole seconds: the later write must be in a later one."""
    import time

    time.sleep(1.1)
