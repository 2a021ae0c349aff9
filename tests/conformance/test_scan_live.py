"""`ScanSource` over a TLS server that answers as an API server of 1.24 would."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support_kube import Answer, Asked, FakeApi, fake_api

from pawl.adapters.kube import KubeClient
from pawl.adapters.kube.helm import LARGEST, Revision, unpack
from pawl.adapters.scan import LiveScan, Server
from pawl.adapters.scan.helm import _Release, in_use
from pawl.core.knowledge.store import shipped
from pawl.core.lint.finding import Report
from pawl.core.lint.judge import Judge
from pawl.core.scan.collect import Collector
from pawl.core.scan.objects import LAST_APPLIED, seconds
from pawl.engine.scan import scan

pytestmark = pytest.mark.anyio
NOW = seconds("2026-11-24T00:00:00Z")
FORBIDDEN: Answer = (403, {"kind": "Status", "code": 403, "message": "secrets is forbidden"})
EMPTY: Answer = (200, {"metadata": {}, "items": None})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def resource(name: str, kind: str, verbs: tuple[str, ...] = ("list", "get")) -> dict[str, Any]:
    return {"resource": name, "responseKind": {"kind": kind}, "verbs": verbs}


def group(name: str, **versions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "versions": [{"version": v, "resources": r} for v, r in versions.items()],
    }


CORE = {
    "items": [
        group(
            "",
            v1=[
                resource("secrets", "Secret"),
                resource("configmaps", "ConfigMap"),
                resource("namespaces", "Namespace"),
                resource("endpoints", "Endpoints"),
                resource("events", "Event"),
                resource("bindings", "Binding", ("create",)),
            ],
        )
    ]
}
REST = {
    "items": [
        group(
            "batch",
            v1=[resource("cronjobs", "CronJob")],
            v1beta1=[resource("cronjobs", "CronJob")],
        ),
        group("policy", v1beta1=[resource("podsecuritypolicies", "PodSecurityPolicy")]),
        group("metrics.k8s.io", v1beta1=[resource("pods", "PodMetrics")]),
    ]
}


def managed(api: str, manager: str = "ci", **more: object) -> dict[str, object]:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": api,
        "time": "2024-01-01T00:00:00Z",
        **more,
    }


def job(name: str, *entries: dict[str, object], **more: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "a", "managedFields": entries, **more}}


def cronjobs(asked: Asked) -> Answer:
    """Three pages; the token of the second expires once, as after a compaction."""
    token = asked.query.get("continue", "")
    if token == "two":
        more = {"code": 410, "message": "too old", "metadata": {"continue": "two-again"}}
        return 410, more
    pages: dict[str, tuple[list[object], str]] = {
        "": ([job("live", managed("batch/v1"))], "two"),
        "two-again": ([job("likely", managed("batch/v1beta1"))], "three"),
        "three": (
            [
                job(
                    "both",
                    managed(
                        "batch/v1beta1",
                        "kubectl-client-side-apply",
                        fieldsV1={"f:metadata": {"f:annotations": {f"f:{LAST_APPLIED}": {}}}},
                    ),
                    annotations={
                        LAST_APPLIED: json.dumps(
                            {
                                "apiVersion": "batch/v1beta1",
                                "kind": "CronJob",
                                "metadata": {"name": "both"},
                            }
                        ),
                        "argocd.argoproj.io/tracking-id": "shop:batch/CronJob:a/both",
                    },
                    labels={"team": "shop"},
                )
            ],
            "",
        ),
    }
    items, more_token = pages[token]
    return 200, {"metadata": {"continue": more_token}, "items": items}


MANIFEST = """\
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: hunter2}
---
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: web}
"""


def release(status: str = "deployed", manifest: str = MANIFEST) -> bytes:
    body = {
        "name": "web",
        "namespace": "a",
        "version": 2,
        "info": {"status": status, "last_deployed": "2025-06-01T10:00:00Z"},
        "chart": {"metadata": {"name": "shop", "version": "1.2.3"}, "files": [{"data": "x"}]},
        "config": {"password": "hunter2"},
        "manifest": manifest,
        "hooks": [{"manifest": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: hook}\n"}],
    }
    return base64.b64encode(gzip.compress(json.dumps(body).encode()))


def stored(name: str, revision: int, status: str, release_: str = "web") -> dict[str, object]:
    labels = {"owner": "helm", "name": release_, "status": status, "version": str(revision)}
    return {"metadata": {"name": name, "namespace": "a", "labels": labels}}


def secrets(asked: Asked) -> Answer:
    if asked.query.get("labelSelector") != "owner=helm":
        return FORBIDDEN
    items = [
        stored("web.v1", 1, "superseded"),
        stored("web.v2", 2, "deployed"),
        stored("web.v3", 3, "failed"),
        stored("broken.v1", 1, "deployed", "broken"),
    ]
    return 200, {"metadata": {}, "items": items}


def secret(status: str) -> Answer:
    return 200, {"data": {"release": base64.b64encode(release(status)).decode()}}


METRICS = (
    "# HELP a_first x\na_first 1\n"
    "# HELP apiserver_requested_deprecated_apis [STABLE] x\n"
    'apiserver_requested_deprecated_apis{group="batch",removed_release="1.25",'
    'resource="cronjobs",subresource="",version="v1beta1"} 1\n'
    "# HELP apiserver_storage_objects [STABLE] x\n"
    'apiserver_storage_objects{resource="podsecuritypolicies.policy"} 3\n'
    "# HELP z_last x\nz_last 1\n"
)


VOLUMES = {
    "kind": "PersistentVolumeList",
    "apiVersion": "v1",
    "metadata": {},
    "items": [
        {"metadata": {"name": "csi"}, "spec": {"csi": {"driver": "x"}}},
        {"metadata": {"name": "old"}, "spec": {"flocker": {"datasetName": "x"}}},
    ],
}


def routes() -> dict[str, Any]:
    none = "# HELP apiserver_storage_objects x\n"
    return {
        "/version": (200, {"gitVersion": "v1.24.17"}),
        "/api": (200, CORE),
        "/apis": (200, REST),
        "/apis/batch/v1/cronjobs": cronjobs,
        "/api/v1/secrets": secrets,
        "/api/v1/configmaps": EMPTY,
        "/api/v1/namespaces": (200, b"<html>"),
        "/api/v1/namespaces/a/secrets/web.v2": secret("deployed"),
        "/api/v1/namespaces/a/secrets/web.v3": secret("failed"),
        "/api/v1/namespaces/a/secrets/broken.v1": (200, {"data": {"release": "bm9uc2Vuc2U="}}),
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": EMPTY,
        "/api/v1/persistentvolumes": (200, VOLUMES),
        "/apis/storage.k8s.io/v1/storageclasses": (
            200,
            {"kind": "StorageClassList", "apiVersion": "storage.k8s.io/v1", "items": []},
        ),
        "/apis/apiregistration.k8s.io/v1/apiservices": (200, {"items": []}),
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": (
            200,
            {"items": []},
        ),
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": (200, {"items": []}),
        "127.0.0.1/metrics": (200, none.encode()),
        "127.0.0.2/metrics": (200, METRICS.encode()),
    }


async def scanned(
    directory: Path, routes_: dict[str, Any], *, announced: bool = False, timeout: float = 5.0
) -> tuple[Report, FakeApi]:
    async with fake_api(directory, routes_) as (api, kubeconfig):
        client = KubeClient(kubeconfig, "", timeout)
        collector = Collector(Judge(shipped(), "1.25"), now=NOW)
        servers = [Server(host=f"cp-{n}", url=f"https://127.0.0.{n}:{api.port}") for n in (1, 2)]
        if announced:
            routes_["/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"] = (
                200,
                {
                    "items": [
                        {
                            "endpoints": [{"addresses": ["127.0.0.2", "127.0.0.1"]}],
                            "ports": [{"name": "https", "port": api.port}],
                        }
                    ]
                },
            )
        source = LiveScan(client, collector.lens, servers=None if announced else servers)
        report = await scan(source, collector)
        await client.aclose()
        return report, api


async def test_what_it_finds_and_what_it_could_not_read(tmp_path: Path) -> None:
    report, _ = await scanned(tmp_path, routes())
    found = {(f.path, f.line): (f.rule, f.grade) for f in report.findings}
    assert found == {
        ("live/a/CronJob/likely", 0): ("api-removed", "likely"),
        ("live/a/CronJob/both", 0): ("api-removed", "likely"),
        ("helm/a/web", 7): ("api-removed", "proven"),
        ("requests/cronjobs.v1beta1.batch", 0): ("api-removed", "likely"),
        ("live/PodSecurityPolicy", 0): ("kind-dropped", "proven"),
        ("live/PersistentVolume/old", 0): ("volume-removed", "proven"),
    }
    assert {n.path for n in report.not_read} == {
        "live/secrets",
        "live/namespaces",
        "helm/a/broken",
    }
    assert report.exit_code == 2
    both = next(f for f in report.findings if f.name == "both")
    assert both.owner == "shop"
    assert both.evidence[-1] == "kept in Argo CD application shop"
    assert "3 live objects, 2 API servers" in report.scope
    assert "2 Helm releases" in report.scope
    assert any("podsecuritypolicies.policy" in n for n in report.notes)
    assert "hunter2" not in msgspec.json.encode(report).decode()


async def test_it_reads_only_and_pollutes_no_signal(tmp_path: Path) -> None:
    _, api = await scanned(tmp_path, routes())
    assert all(a.headers["user-agent"].startswith("pawl/") for a in api.asked)
    assert [p for p in api.paths() if "beta" in p] == []
    assert [p for p in api.paths() if p.endswith(("/events", "/podsecuritypolicies"))] == []
    lists = [a for a in api.asked if a.path.endswith(("/cronjobs", "/secrets", "/configmaps"))]
    assert all("as=PartialObjectMetadataList" in a.headers["accept"] for a in lists)
    assert all("limit" in a.query for a in lists)
    jobs = [a.query for a in api.asked if a.path.endswith("/cronjobs")]
    assert [q.get("continue", "") for q in jobs] == ["", "two", "two-again", "three"]
    assert api.paths().count("/api/v1/namespaces/a/secrets/web.v1") == 0


async def test_each_api_server_is_asked_at_the_address_that_it_announces(tmp_path: Path) -> None:
    report, api = await scanned(tmp_path, routes(), announced=True)
    metrics = {a.address for a in api.asked if a.path == "/metrics"}
    assert metrics == {"127.0.0.1", "127.0.0.2"}
    assert any("on 127.0.0.2" in e for f in report.findings for e in f.evidence)


@pytest.mark.parametrize(
    ("path", "answer", "where"),
    [
        ("127.0.0.1/metrics", FORBIDDEN, "requests/cp-1"),
        ("/apis/batch/v1/cronjobs", FORBIDDEN, "live/cronjobs.batch"),
        ("/apis/batch/v1/cronjobs", (200, None), "live/cronjobs.batch"),
        ("/api/v1/configmaps", FORBIDDEN, "helm/configmaps"),
        ("/apis", FORBIDDEN, "live"),
        ("/apis/apiregistration.k8s.io/v1/apiservices", FORBIDDEN,
         "live/apiservices.apiregistration.k8s.io"),
    ],
)  # fmt: skip
async def test_a_source_that_fails_is_named_and_costs_the_others_nothing(
    tmp_path: Path, path: str, answer: Answer, where: str
) -> None:
    report, _ = await scanned(tmp_path, {**routes(), path: answer}, timeout=0.5)
    assert where in {n.path for n in report.not_read}
    assert any(f.path == "helm/a/web" for f in report.findings)


async def test_discovery_as_it_was_before_it_was_aggregated(tmp_path: Path) -> None:
    plain = {
        "/api": (200, {"kind": "APIVersions", "versions": ["v1"]}),
        "/api/v1": (
            200,
            {"resources": [{"name": "configmaps", "kind": "ConfigMap", "verbs": ["list"]},
                           {"name": "pods/log", "kind": "Pod", "verbs": ["get"]}]},
        ),
        "/apis": (
            200,
            {
                "kind": "APIGroupList",
                "groups": [
                    {
                        "name": "batch",
                        "versions": [{"version": "v1beta1"}, {"version": "v1"}],
                        "preferredVersion": {"version": "v1"},
                    },
                    {"name": "broken.example.com", "versions": [{"version": "v1"}]},
                ],
            },
        ),
        **{
            f"/apis/batch/{v}": (
                200,
                {"resources": [{"name": "cronjobs", "kind": "CronJob", "verbs": ["list"]}]},
            )
            for v in ("v1", "v1beta1")
        },
        "/apis/broken.example.com/v1": (503, {"message": "no backend"}),
    }  # fmt: skip
    report, api = await scanned(tmp_path, {**routes(), **plain})
    assert {f.name for f in report.findings if f.kind == "CronJob" and f.name} == {"likely", "both"}
    assert "live/broken.example.com/v1" in {n.path for n in report.not_read}
    assert "/apis/batch/v1beta1/cronjobs" not in api.paths()


async def test_a_clean_cluster_is_clean(tmp_path: Path) -> None:
    clean = {
        **routes(),
        "/apis/batch/v1/cronjobs": (
            200,
            {"items": [job("a", managed("batch/v1")), job("b")], "metadata": {}},
        ),
        "/api/v1/secrets": EMPTY,
        "/api/v1/persistentvolumes": (200, {**VOLUMES, "items": VOLUMES["items"][:1]}),
        "/api/v1/namespaces": (200, {"items": [{"metadata": {"name": "a"}}], "metadata": {}}),
        "127.0.0.2/metrics": (200, b"# HELP apiserver_storage_objects x\n"),
    }
    report, _ = await scanned(tmp_path, clean)
    assert (report.findings, report.not_read, report.exit_code) == ((), (), 0)


# -- Helm, the parts -------------------------------------------------------------------------------


def revision(number: int, status: str, release_: str = "web") -> Revision:
    return Revision(
        storage="Secret",
        namespace="a",
        object=f"{release_}.v{number}",
        release=release_,
        number=number,
        status=status,
    )


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["deployed"], [1]),
        (["superseded", "deployed"], [2]),
        (["deployed", "failed"], [1, 2]),
        (["superseded", "deployed", "failed", "pending-upgrade"], [2, 4]),
        (["failed"], [1]),
        (["superseded", "uninstalled"], []),
    ],
)
def test_revisions_that_an_upgrade_starts_from(states: list[str], expected: list[int]) -> None:
    found = [revision(n, s) for n, s in enumerate(states, 1)]
    assert [r.number for r in in_use(list(reversed(found)))] == expected


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "%%%",
        base64.b64encode(b"not base64 \xff").decode(),
        base64.b64encode(base64.b64encode(gzip.compress(b"{}")[:-9])).decode(),
        base64.b64encode(base64.b64encode(gzip.compress(b'{"manifest": 3}'))).decode(),
        base64.b64encode(base64.b64encode(gzip.compress(bytes(LARGEST + 1)))).decode(),
    ],
    ids=["empty", "no base64", "not packed", "cut off", "no manifest", "too large"],
)
def test_a_payload_that_is_no_release_is_refused(payload: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unpack(payload, _Release, encoded=True)


def test_a_release_in_a_config_map_is_encoded_once() -> None:
    assert unpack(release().decode(), _Release, encoded=False).manifest == MANIFEST
