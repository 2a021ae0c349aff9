"""What 1.37 breaks is found on a real cluster before the first step, each with its place; a clean
cluster is planned without anybody's acknowledgement."""

from __future__ import annotations

import base64
import json
import shlex
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pawl_process import SETTLES, Pawl

from conftest import LabMaker
from pawl.interfaces.cli.plan import NOT_READ
from pawl.lab.cluster import Lab

TO = ("--to", "1.37.0", "--etcd", "3.6.14")
CIDRS = "/apis/networking.k8s.io/v1beta1/servicecidrs"
WORKLOADS = "/apis/scheduling.k8s.io/v1alpha2/namespaces/default/workloads"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
OLD = {
    "apiVersion": "networking.k8s.io/v1beta1",
    "kind": "ServiceCIDR",
    "metadata": {"name": "extra"},
    "spec": {"cidrs": ["198.18.250.0/24"]},
}
GANG = {
    "apiVersion": "scheduling.k8s.io/v1alpha2",
    "kind": "Workload",
    "metadata": {"name": "gang"},
    "spec": {
        "podGroupTemplates": [
            {"name": "workers", "schedulingPolicy": {"gang": {"minCount": 2}}},
        ]
    },
}
HOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "gate"},
    "webhooks": [
        {
            "name": "gate.example.com",
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "pawl-lab", "name": "gate", "port": 443}},
            "namespaceSelector": {"matchLabels": {"gate": "none-has-this"}},
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["configmaps"],
                    "operations": ["CREATE"],
                }
            ],
        }
    ],
}


def addon(version: str) -> dict[str, Any]:
    """external-dns as far as an inventory sees it: no pod of it needs to run."""
    labels = {"app": "external-dns"}
    image = f"registry.k8s.io/external-dns/external-dns:v{version}"
    return {
        "metadata": {"name": "external-dns"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "external-dns", "image": image}]},
            },
        },
    }


@pytest.fixture(scope="module")
def lab(lab_maker: LabMaker) -> Lab:
    return lab_maker("findings")


@pytest.fixture(scope="module")
def pawl(lab: Lab) -> Pawl:
    return Pawl(lab.dir.config)


@pytest.fixture(scope="module")
def api(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    config = yaml.safe_load(Path(lab.dir.path, "admin.kubeconfig").read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pair = tmp_path_factory.mktemp("admin") / "admin.pem"
    pair.touch(mode=0o600)
    pair.write_bytes(
        base64.b64decode(user["client-certificate-data"])
        + base64.b64decode(user["client-key-data"])
    )
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(str(pair))
    with httpx.Client(base_url=cluster["server"], verify=context, timeout=30) as client:
        yield client


def asked(api: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    """Asked again while the balancer has no server, or that no answer; what is made, or gone, by
    then was so by a try whose answer was lost."""
    end = time.monotonic() + SETTLES
    done = {"POST": (409,), "DELETE": (404,)}.get(method, ())
    while True:
        said = ""
        try:
            answer = api.request(method, path, **more)
            if answer.is_success or answer.status_code in done:
                return answer
            said = answer.text
            assert answer.status_code >= 429, said
        except httpx.HTTPError as error:
            said = str(error)
        assert time.monotonic() < end, f"{method} {path}: {said}"
        time.sleep(0.5)


def on(lab: Lab, machine: str, command: str) -> None:
    argv = ["ssh", "-i", str(lab.dir.ssh / "id_ed25519"), "-o", "BatchMode=yes"]
    argv += ["-o", f"UserKnownHostsFile={lab.dir.ssh / 'known_hosts'}", "-o", "LogLevel=ERROR"]
    argv += ["-o", "StrictHostKeyChecking=yes", f"root@{lab.machine(machine).address()}", "--"]
    argv += [f"sh -c {shlex.quote(command)}"]
    end = time.monotonic() + SETTLES
    while (code := subprocess.run(argv, check=False).returncode) == 255 and time.monotonic() < end:
        time.sleep(1)  # it took no connection
    assert code == 0, command


def with_flag(lab: Lab, machine: str, component: str, flag: str) -> None:
    """A person edits the flags file and restarts the component, on its present version."""
    file = f"/etc/kubernetes/{component}.env"
    on(lab, machine, f"cp -n {file} {file}.before; sed -i 's|^FLAGS=.*|& {flag}|' {file}")


def without_flags(lab: Lab, machine: str, component: str) -> None:
    file = f"/etc/kubernetes/{component}.env"
    on(lab, machine, f"mv {file}.before {file}; systemctl restart {component}")


def refused(pawl: Pawl, expected: Callable[[str], bool] = lambda reason: True) -> list[str]:
    """The reasons, once everything could be read, and they are of the kind that is expected."""
    end = time.monotonic() + SETTLES
    while True:
        reasons = list(pawl.json("plan", *TO, ok=(2, 3))["refused"])
        if all(expected(r) and not r.startswith(tuple(NOT_READ)) for r in reasons):
            return reasons
        assert time.monotonic() < end, "\n".join(reasons)
        time.sleep(1)


def settled(pawl: Pawl) -> dict[str, Any]:
    """The plan, once a restarted machine is well again: its API server, controllers that have lost
    their Lease meanwhile, nodes and workloads."""
    made = pawl.once(lambda d: d.returncode == 0, "plan", *TO, "-o", "json")
    return dict(json.loads(made.stdout))


def test_a_clean_cluster_is_planned_and_nothing_blocks(lab: Lab, pawl: Pawl) -> None:
    plan = settled(pawl)
    assert {f["severity"] for f in plan["findings"]} <= {"warning"}
    assert [f for f in plan["findings"] if f["code"][:6] in ("PAWL-S", "PAWL-K")] == []
    # What this machine really has: an old containerd, and perhaps the first version of cgroups.
    in_use = {f["code"] for f in plan["findings"] if f["code"].startswith("PAWL-U")}
    assert in_use <= {"PAWL-U008", "PAWL-U009"}
    assert {j["verdict"] for j in plan["notes"]} == {"does not apply"}
    assert len(plan["notes"]) == 4
    assert [a.split()[0] for a in plan["asked"]] == [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubelet",
    ]
    assert plan["left_out"] == []


def test_what_the_hop_breaks_is_found_before_the_first_step(
    lab: Lab, pawl: Pawl, api: httpx.Client, tmp_path: Path
) -> None:
    # A removed gate on an API server, which also serves APIs that go away.
    gates = "--feature-gates=SidecarContainers=true,GenericWorkload=true"
    served = "--runtime-config=networking.k8s.io/v1beta1=true,scheduling.k8s.io/v1alpha2=true"
    with_flag(lab, "cp-1", "kube-apiserver", gates)
    with_flag(lab, "cp-1", "kube-apiserver", served)
    on(lab, "cp-1", "systemctl restart kube-apiserver")
    # A removed flag on a kubelet.
    with_flag(lab, "worker-1", "kubelet", "--containerd=/run/containerd/containerd.sock")
    on(lab, "worker-1", "systemctl restart kubelet")
    asked(api, "GET", "/readyz")
    # An object written at a version that goes away, and a client that calls it.
    apply = {"Content-Type": "application/apply-patch+yaml"}
    written = {"params": {"fieldManager": "ci"}, "content": json.dumps(OLD), "headers": apply}
    asked(api, "PATCH", f"{CIDRS}/extra", **written)
    asked(api, "GET", CIDRS, headers={"User-Agent": "velero-server/v1.9"})
    # An object that lies in etcd in a version that the target cannot read.
    asked(api, "POST", WORKLOADS, json=GANG)
    # An add-on whose own project says that it does not work at the target.
    asked(api, "POST", DEPLOYMENTS, json=addon("0.9.0"))
    # A webhook that fails closed, and whose backend no pod stands behind.
    asked(api, "POST", HOOKS, json=HOOK)

    reasons = refused(pawl)
    whole = "\n".join(reasons)

    def told(code: str, *words: str) -> bool:
        return any(r.startswith(code) and all(w in r for w in words) for r in reasons)

    assert told("PAWL-U001", "SidecarContainers", "cp-1:/etc/kubernetes/kube-apiserver.env:1"), (
        whole
    )
    assert told("PAWL-C010", "kube-apiserver 1.37.0", "SidecarContainers"), whole
    assert told("PAWL-U003", "--containerd", "worker-1:/etc/kubernetes/kubelet.env:1"), whole
    assert told("PAWL-C010", "kubelet 1.37.0", "unknown flag: --containerd"), whole
    assert told("PAWL-U006", "networking.k8s.io/v1beta1"), whole
    assert told("PAWL-S001", "ServiceCIDR", "extra", "ci applied it"), whole
    assert told("PAWL-S001", "velero-server/v1.9"), whole
    assert told("PAWL-S017", "etcd/workloads.scheduling.k8s.io", "default/gang"), whole
    assert told("PAWL-A001", "external-dns", "Move it to 0.10 before the hop"), whole
    assert told("PAWL-W004", "gate"), whole
    # Nothing was begun, and every reason says what to do.
    assert pawl.json("runs") == []

    # A person mends what can be mended ...
    asked(api, "DELETE", f"{HOOKS}/gate")
    asked(api, "DELETE", f"{CIDRS.replace('v1beta1', 'v1')}/extra")
    asked(api, "DELETE", f"{WORKLOADS}/gang")
    asked(api, "PUT", f"{DEPLOYMENTS}/external-dns", json=addon("0.20.0"))
    without_flags(lab, "cp-1", "kube-apiserver")
    without_flags(lab, "worker-1", "kubelet")
    asked(api, "GET", "/readyz")
    # ... and the audit log still knows of its clients (the one that wrote the object too), which
    # are dealt with by name. That is all that is left when the restarted parts are well again.
    left = refused(pawl, lambda r: r.startswith("PAWL-S001") and "clients/" in r)
    assert any("velero-server/v1.9" in r for r in left), "\n".join(left)
    waivers = Path(lab.dir.config).parent / ".pawl-waivers.yaml"
    waivers.write_text(
        "waivers:\n- {code: PAWL-S001, owner: ada, expires: 2099-01-31, reason: it is new now}\n"
    )
    try:
        plan = settled(pawl)
    finally:
        waivers.unlink()
    waived = [f for f in plan["findings"] if f["waived"]]
    assert {(f["code"], f["severity"]) for f in waived} == {("PAWL-S001", "blocker")}
    assert [w["owner"] for w in plan["waivers"]] == ["ada"]
    assert [f for f in plan["findings"] if f["code"].startswith("PAWL-A")] == []
