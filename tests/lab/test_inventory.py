"""`pawl inventory` and `pawl watch` against real API servers: RBAC, a Deployment, a Helm release.

The commands run as processes, over the API and SSH, as a person or a service manager starts them.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scan_rig import STARTS, Rig, rig
from support_receivers import Mailbox, Posts, https, smtp

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
APPS = "/apis/apps/v1/namespaces"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
COREFILE = ".:53 {\n    errors\n    kubernetes cluster.local {\n        upstream\n    }\n}\n"
HELM_CRD = b"""\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.com
"""


def helm_release(secret_value: str) -> dict[str, Any]:
    """What Helm 3 stores, with a value that must never come out again."""
    release = {
        "name": "operator",
        "namespace": "web",
        "version": 2,
        "info": {"status": "deployed"},
        "chart": {
            "metadata": {"name": "widget-operator", "version": "0.4.0", "appVersion": "1.4.0",
                         "kubeVersion": ">=1.25.0-0 <1.37.0-0"},
            "values": {"password": secret_value},
            "files": [{"name": "crds/w.yaml", "data": base64.b64encode(HELM_CRD).decode()}],
        },
        "config": {"password": secret_value},
        "manifest": "---\napiVersion: v1\nkind: ConfigMap\n",
    }  # fmt: skip
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode())).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": "sh.helm.release.v1.operator.v2",
            "labels": {"owner": "helm", "name": "operator", "version": "2", "status": "deployed"},
        },
        "data": {"release": base64.b64encode(packed.encode()).decode()},
    }


def deployment(name: str, image: str, account: str, **meta: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **meta},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": account,
                    "containers": [{"name": "c", "image": image}],
                },
            },
        },
    }


def crd() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def populate(cluster: Rig) -> None:
    def make(path: str, body: dict[str, Any]) -> None:
        cluster.call("POST", path, body)

    for name, owner in (("web", "team-web"), ("cert", "")):
        notes = {"annotations": {"pawl.dev/owner": owner}} if owner else {}
        make("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                    "metadata": {"name": name, **notes}})  # fmt: skip
    make(f"{RBAC}/clusterroles", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "widgets"},
        "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["*"]},
                  {"apiGroups": ["extensions"], "resources": ["ingresses"], "verbs": ["get"]}],
    })  # fmt: skip
    for namespace, account in (("web", "operator"), ("cert", "cert-manager")):
        make(f"{RBAC}/clusterrolebindings", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": account},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "widgets"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
        })  # fmt: skip
        named = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        make(f"/api/v1/namespaces/{namespace}/serviceaccounts", named)
    released = {"annotations": {"meta.helm.sh/release-name": "operator",
                                "meta.helm.sh/release-namespace": "web"}}  # fmt: skip
    operator = deployment("operator", "example/widget-operator:1.4.0", "operator", **released)
    make(f"{APPS}/web/deployments", operator)
    make(f"{APPS}/web/deployments", deployment("shop", "example/shop:7", "default"))
    make(f"{APPS}/cert/deployments",
         deployment("cert-manager", "quay.io/jetstack/cert-manager-controller:v1.19.2",
                    "cert-manager"))  # fmt: skip
    dns = deployment("coredns", "registry.k8s.io/coredns/coredns:v1.6.9", "default")
    dns["spec"]["template"]["spec"]["volumes"] = [{"name": "c", "configMap": {"name": "coredns"}}]
    make(f"{APPS}/kube-system/deployments", dns)
    make("/api/v1/namespaces/kube-system/configmaps",
         {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns"},
          "data": {"Corefile": COREFILE}})  # fmt: skip
    make("/api/v1/namespaces/web/secrets", helm_release("hunter2"))
    make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd())


def token(cluster: Rig) -> str:
    """A token of the operator's service account, by the API itself."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = "/api/v1/namespaces/web/serviceaccounts/operator/token"
    return str(cluster.call("POST", path, asked)["status"]["token"])


def call_as_operator(cluster: Rig) -> None:
    """One real call by the service account, which the audit log then holds."""
    request = urllib.request.Request(
        f"https://127.0.0.1:{cluster.port}/apis/example.com/v1/widgets",
        headers={"Authorization": f"Bearer {token(cluster)}", "User-Agent": "widget-operator/1.4"},
    )
    context = ssl.create_default_context(cafile=str(cluster.authority.ca))
    end = time.monotonic() + STARTS
    while True:
        try:
            with urllib.request.urlopen(request, context=context, timeout=60):
                return
        except urllib.error.HTTPError as error:  # the CRD's storage is still being made
            if error.code not in (404, 429) or time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("inventory")) as made:
        populate(made)
        call_as_operator(made)
        yield made


def pawl(cluster: Rig, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pawl", *argv],
        capture_output=True, text=True, check=False, cwd=cluster.directory, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


def test_the_inventory_of_a_real_cluster(cluster: Rig) -> None:
    done = pawl(cluster, "inventory", "--to", "1.37", "-o", "json", "--config", "pawl.yaml")
    assert done.stdout, done.stderr
    assert "hunter2" not in done.stdout + done.stderr, "no value of a release ever comes out"
    found = json.loads(done.stdout)
    assert found["server"] == "1.36.0"
    assert found["path"] == ["1.36", "1.37"]
    clients = {c["name"]: c for c in found["clients"]}
    assert set(clients) == {"operator", "cert-manager", "coredns"}, "shop has no grant"

    operator = clients["operator"]
    assert operator["seen"] == ["rbac", "audit"]
    assert operator["callers"][0]["agent"] == "widget-operator/1.4"
    assert (operator["owner"], operator["owner_by"]) == ("team-web", "namespace web")
    assert operator["chart"] == "widget-operator 0.4.0"
    assert operator["crds"] == ["widgets.example.com"]
    assert "all widgets of example.com" in operator["access"]
    assert operator["bindings"] == ["ClusterRoleBinding operator"]

    (hop,) = clients["cert-manager"]["hops"]
    assert (hop["minor"], hop["verdict"]) == ("1.37", "unsupported")
    assert "cert-manager/website" in hop["source"]

    codes = {(f["code"], f["subject"]) for f in found["findings"]}
    assert ("PAWL-A005", "Helm release web/operator") in codes
    assert ("PAWL-A006", "ConfigMap kube-system/coredns") in codes
    assert ("PAWL-A008", "Deployment web/operator") in codes
    assert any(c["user"] == "admin" for c in found["outside"])
    assert not any(c["agent"].startswith("pawl/") for c in found["outside"])
    unread = [u for u in found["unread"] if "programs" not in u["source"]]
    assert unread == []


def test_the_api_alone_is_enough_and_a_poor_user_is_told_what_is_missing(cluster: Rig) -> None:
    whole = pawl(cluster, "inventory", "--to", "1.37", "-o", "csv",
                 "--kubeconfig", str(cluster.kubeconfig()))  # fmt: skip
    assert "widget-operator 0.4.0" in whole.stdout, whole.stderr
    poor = pawl(cluster, "inventory", "--to", "1.37", "-o", "json",
                "--kubeconfig", str(cluster.kubeconfig("eve", "nobody")))  # fmt: skip
    assert poor.returncode == 3, poor.stderr
    sources = {u["source"] for u in json.loads(poor.stdout)["unread"]}
    assert {"Deployment", "roles", "role bindings", "custom resource definitions"} <= sources
    assert "Helm releases in secrets" in sources


# -- watch -----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def receivers(cluster: Rig) -> Iterator[tuple[Mailbox, Posts]]:
    crt, key = cluster.authority.issue("receiver")
    with smtp(crt, key) as box, https(crt, key) as posts:
        yield box, posts


def watched(cluster: Rig, box: Mailbox, posts: Posts, name: str) -> Path:
    """pawl.yaml with notifiers, its own state, and secrets in files."""
    d = cluster.directory
    settings = yaml.safe_load((d / "pawl.yaml").read_text())
    for file, text in (("hook", f"{posts.url}/T0P"), ("password", "s3cret")):
        (d / file).touch(mode=0o600)
        (d / file).write_text(text)
    (d / "owners.yaml").write_text(
        yaml.safe_dump({
            "owners": {"team-web": [{"notifier": "mail", "to": ["web@example.com"]}]},
            "default": [{"notifier": "ops"}],
        })
    )  # fmt: skip
    settings["state"] = f"state-{name}"
    settings["watch"] = {
        "to": "1.37", "deadline": "2027-01-31", "every": 60, "owners": "owners.yaml",
        "listen": f"127.0.0.1:{free_port()}",
        "notifiers": [
            {"name": "ops", "kind": "webhook", "url_file": "hook", "ca": "ca.crt"},
            {"name": "mail", "kind": "email", "server": "127.0.0.1", "port": box.port,
             "sender": "pawl@example.com", "user": "pawl", "password_file": "password",
             "ca": "ca.crt"},
        ],
    }  # fmt: skip
    path = d / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_each_owner_is_told_once_by_mail_and_webhook(
    cluster: Rig, receivers: tuple[Mailbox, Posts]
) -> None:
    box, posts = receivers
    config = watched(cluster, box, posts, "once")
    dry = pawl(cluster, "watch", "--once", "--dry-run", "--config", str(config))
    assert "To: mail web@example.com" in dry.stdout, dry.stderr
    assert (box.mails, posts.received) == ([], [])
    posts.status = [500]
    first = pawl(cluster, "watch", "--once", "--config", str(config))
    assert "ops answered HTTP 500" in first.stderr
    posts.status = [200]
    for _ in range(2):
        again = pawl(cluster, "watch", "--once", "--config", str(config))
    ((_, recipients, message),) = box.mails
    assert recipients == ["web@example.com"]
    assert "Helm release web/operator" in message.get_content()
    assert "2027-01-31" in message["Subject"]
    assert len(posts.received) == 2, "refused once, then accepted, then never again"
    assert posts.received[0][1]["Idempotency-Key"] == posts.received[1][1]["Idempotency-Key"]
    assert "cert/cert-manager" in posts.received[1][2]["text"]
    history = cluster.directory / "state-once" / "watch.db"
    assert history.stat().st_mode & 0o777 == 0o600
    data = history.read_bytes() + (history.parent / "watch.db-wal").read_bytes() if (
        history.parent / "watch.db-wal").exists() else history.read_bytes()  # fmt: skip
    everything = data + (dry.stdout + first.stderr + again.stderr + again.stdout).encode()
    for secret in (b"s3cret", b"T0P", b"hunter2"):
        assert secret not in everything
    shown = pawl(cluster, "watch", "--show", "-o", "json", "--config", str(config))
    told = {f["subject"]: f["told"] for f in json.loads(shown.stdout)}
    assert told["Helm release web/operator"] == ["mail web@example.com"]


def test_as_a_service_it_serves_metrics_and_stops_at_sigterm(
    cluster: Rig, receivers: tuple[Mailbox, Posts]
) -> None:
    config = watched(cluster, *receivers, "service")
    listen = yaml.safe_load(config.read_text())["watch"]["listen"]
    log = (cluster.directory / "watch.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "pawl", "watch", "--config", str(config)],
        stderr=log, cwd=cluster.directory, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    try:
        end = time.monotonic() + STARTS
        text = ""
        while "pawl_watch_last_round_timestamp_seconds{" not in text or not receivers[0].mails:
            assert process.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < end, Path(log.name).read_text()
            try:
                with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.2)
        assert re.search(r'pawl_watch_findings\{[^}]*code="PAWL-A005"[^}]*\} 1', text)
        second = pawl(cluster, "watch", "--once", "--config", str(config))
        assert second.returncode == 2
        assert "another pawl" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(STARTS) == 0, Path(log.name).read_text()
        assert "SIGTERM: stopping" in Path(log.name).read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
