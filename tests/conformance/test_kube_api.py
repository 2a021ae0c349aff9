"""The `Kube` and `Lease` ports and their readers against a real kube-apiserver on a real etcd."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support_binaries import binaries

from pawl.adapters.kube import ApiHolders, ApiKube, ApiLease, KubeClient, KubeReader
from pawl.adapters.kube.apiserver import read_api_server
from pawl.adapters.kube.lease import LEASES
from pawl.adapters.kube.leeway import ApiLeeway
from pawl.adapters.kube.objects import Anything, LeaseObject
from pawl.core.config import HostConfig
from pawl.core.errors import ConfigError, Fenced, Refused, Unreachable
from pawl.core.model import Taint
from pawl.ports.kube import Pod
from pawl.ports.watch import Blind, Change, Gone, Put
from support_pki import Authority

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class FixedClock:
    def __init__(self) -> None:
        self.time = time.time()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class Api:
    def __init__(self, port: int, kubeconfig: Path, crt: Path, etcd: str) -> None:
        self.port = port
        self.etcd = etcd
        self.url = f"https://127.0.0.1:{port}"
        self.kubeconfig = kubeconfig
        self.crt = crt


def ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    found = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return found


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    d = tmp_path_factory.mktemp("kube")
    etcd = binaries("etcd", "3.5.33", d / "bin") / "etcd"
    server = binaries("kube-apiserver", "1.36.0", d / "bin") / "kube-apiserver"
    authority = Authority(d)
    crt, key = authority.issue("kube-apiserver")
    admin_crt, admin_key = authority.issue("admin", organization="system:masters")
    client, peer, secure = ports(3)
    processes = [
        subprocess.Popen(
            [etcd, f"--data-dir={d}/etcd", "--unsafe-no-fsync",
             f"--listen-client-urls=http://127.0.0.1:{client}",
             f"--advertise-client-urls=http://127.0.0.1:{client}",
             f"--listen-peer-urls=http://127.0.0.1:{peer}",
             f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
             f"--initial-cluster=default=http://127.0.0.1:{peer}"],
            stderr=subprocess.DEVNULL,
        ),
        subprocess.Popen(
            [server, f"--etcd-servers=http://127.0.0.1:{client}", f"--secure-port={secure}",
             "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1",
             f"--tls-cert-file={crt}", f"--tls-private-key-file={key}",
             f"--client-ca-file={authority.ca}", "--authorization-mode=RBAC",
             "--service-account-issuer=https://kubernetes.default.svc",
             f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
             "--service-cluster-ip-range=198.18.128.0/24", f"--cert-dir={d}",
             "--disable-admission-plugins=ServiceAccount"],
            stderr=(d / "apiserver.log").open("wb"),
        ),
    ]  # fmt: skip
    kubeconfig = d / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "current-context": "t",
                "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                "clusters": [
                    {
                        "name": "t",
                        "cluster": {
                            "server": f"https://127.0.0.1:{secure}",
                            "certificate-authority": "ca.crt",
                        },
                    }
                ],
                "users": [
                    {
                        "name": "t",
                        "user": {
                            "client-certificate": str(admin_crt),
                            "client-key": str(admin_key),
                        },
                    }
                ],
            }
        )
    )
    context = ssl.create_default_context(cafile=str(authority.ca))
    end = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"https://127.0.0.1:{secure}/readyz", context=context, timeout=2)
            break
        except (urllib.error.URLError, OSError):
            log = (d / "apiserver.log").read_text()[-2000:]
            assert processes[1].poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(0.2)
    yield Api(secure, kubeconfig, crt, f"http://127.0.0.1:{client}")
    for process in reversed(processes):
        process.kill()
        process.wait()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[KubeClient]:
    made = KubeClient(api.kubeconfig, api.url, 10.0)
    yield made
    await made.aclose()


@pytest.fixture
async def node(client: KubeClient) -> AsyncIterator[str]:
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    await client.send("POST", "/api/v1/nodes", body, Anything)
    yield "n1"
    await ApiKube(client).delete_node("n1")


async def pod(client: KubeClient, name: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "n1",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "none"}],
        },
    }
    await client.send("POST", "/api/v1/namespaces/default/pods", body, Anything)


async def only_node(client: KubeClient) -> object:
    hosts = (HostConfig(name="n1", address="198.18.0.101", roles=("worker",)),)
    (found,) = (await KubeReader(client).read(hosts)).nodes
    return found


async def test_one_api_server_at_its_own_address(client: KubeClient, api: Api) -> None:
    host = HostConfig(name="cp-1", address="127.0.0.1", roles=("control-plane",))
    server, unread = await read_api_server(client, host, api.port, load=True)
    assert unread == ()
    assert (server.version, server.emulation_version) == ("1.36.0", "1.36")
    assert server.min_compatibility_version == "1.35"
    assert server.ready
    assert {"etcd", "ping"} <= {c.name for c in server.checks}
    assert server.inflight is not None
    silent = HostConfig(name="cp-2", address="127.0.0.9", roles=("control-plane",))
    server, unread = await read_api_server(client, silent, api.port, load=False)
    assert server.version is None
    assert not server.ready
    assert unread


async def test_a_cordon_is_ours_only_if_we_set_it(client: KubeClient, node: str) -> None:
    kube = ApiKube(client)
    for _ in range(2):
        assert await kube.cordon(node, "pawl:r1")
    assert (await only_node(client)).cordoned_by == "pawl:r1"  # type: ignore[attr-defined]
    assert not await kube.cordon(node, "pawl:r2")
    await kube.uncordon(node, "pawl:r2")
    assert (await only_node(client)).unschedulable  # type: ignore[attr-defined]
    for _ in range(2):
        await kube.uncordon(node, "pawl:r1")
    found = await only_node(client)
    assert (found.unschedulable, found.cordoned_by) == (False, "")  # type: ignore[attr-defined]


async def test_taints_of_others_stay(client: KubeClient, node: str) -> None:
    kube = ApiKube(client)
    await kube.taint(node, Taint(key="theirs", value="x", effect="NoSchedule"))
    for _ in range(2):
        await kube.taint(node, Taint(key="pawl.dev/old", effect="NoSchedule"))
    keys = {t.key for t in (await only_node(client)).taints}  # type: ignore[attr-defined]
    assert {"theirs", "pawl.dev/old"} <= keys
    for _ in range(2):
        await kube.untaint(node, "pawl.dev/old")
    keys = {t.key for t in (await only_node(client)).taints}  # type: ignore[attr-defined]
    assert "theirs" in keys
    assert "pawl.dev/old" not in keys
    await kube.untaint("absent", "pawl.dev/old")


async def test_eviction_by_uid_and_the_budget_that_says_no(client: KubeClient, node: str) -> None:
    kube = ApiKube(client)
    await pod(client, "web-1")
    (found,) = await kube.pods_on(node)
    other = msgspec.structs.replace(found, uid="0" * 36)
    assert (await kube.evict(other)).ok  # another pod has that name now: ours is gone
    assert [p.uid for p in await kube.pods_on(node)] == [found.uid]
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    await client.send("POST", path, budget, Anything)
    status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await client.send(
        "PATCH", "/api/v1/namespaces/default/pods/web-1/status", status, Anything, patch=True
    )
    said = await kube.evict(found)
    assert not said.ok
    assert said.retry
    assert said.why
    (read,) = (await KubeReader(client).read(())).budgets
    assert read.selected == ("default/web-1",)
    assert not read.observed  # no controller runs here
    await client.send("DELETE", f"{path}/web", None, Anything)
    assert (await kube.evict(found)).ok
    assert (await kube.evict(found)).ok


async def test_a_watch_sees_a_pod_come_and_go(client: KubeClient, node: str) -> None:
    kube = ApiKube(client)
    seen: list[Change] = []

    async def until(kind: type, name: str) -> Pod:
        async with asyncio.timeout(10):
            while True:
                for c in seen:
                    item = getattr(c, "item", None)
                    if type(c) is kind and isinstance(item, Pod) and item.name == name:
                        return item
                await asyncio.sleep(0.02)

    watch = asyncio.create_task(kube.watch(seen.append))
    try:
        async with asyncio.timeout(10):
            while {c.what for c in seen} < {"pods", "nodes", "budgets", "volumes"}:
                await asyncio.sleep(0.02)
        await pod(client, "seen-1")
        made = await until(Put, "seen-1")
        assert (made.node, made.ready) == (node, False)
        await kube.delete(made)
        assert (await until(Gone, "seen-1")).uid == made.uid
        await kube.delete(made)  # gone already
        await kube.cordon(node, "pawl:r1")
        async with asyncio.timeout(10):
            while not any(isinstance(c, Put) and c.what == "nodes" for c in seen):
                await asyncio.sleep(0.02)
        assert not [c for c in seen if isinstance(c, Blind)]
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def test_what_is_lent_is_marked_and_given_back(client: KubeClient) -> None:
    """No controller runs here: what the API keeps is what counts."""
    leeway = ApiLeeway(client, FixedClock())
    labels = {"app": "lent"}
    deployment = {
        "metadata": {"name": "lent"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "none"}]},
            },
        },
    }
    sets = "/apis/apps/v1/namespaces/default/deployments"
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    await client.send("POST", sets, deployment, Anything)
    budget = {"metadata": {"name": "lent"}, "spec": {"selector": {"matchLabels": labels}}}
    await client.send("POST", budgets, budget, Anything)
    before = [await client.get(f"{p}/lent", dict[str, Any]) for p in (sets, budgets)]
    assert await leeway.lent() == ()
    for _ in range(2):
        await leeway.scale("default", "Deployment/lent", "pawl:r-1")
        await leeway.allow_unhealthy("default", "lent", "pawl:r-1")
    now = await client.get(f"{sets}/lent", dict[str, Any])
    assert now["spec"]["replicas"] == 4
    assert not now["metadata"].get("annotations")
    now = await client.get(f"{budgets}/lent", dict[str, Any])
    assert now["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    lent = await leeway.lent()
    assert {(x.what, x.name, x.was) for x in lent} == {
        ("scale", "default/Deployment/lent", "3"),
        ("always-allow", "default/PodDisruptionBudget/lent", ""),
    }
    for x in lent * 2:
        await leeway.give_back(x)
    assert await leeway.lent() == ()
    after = [await client.get(f"{p}/lent", dict[str, Any]) for p in (sets, budgets)]
    for old, new in zip(before, after, strict=True):
        assert new["spec"] == old["spec"]
        assert new["metadata"].get("labels") == old["metadata"].get("labels")


async def test_what_somebody_else_has_changed_since_stays_his(client: KubeClient) -> None:
    leeway = ApiLeeway(client, FixedClock())
    path = "/apis/apps/v1/namespaces/default/deployments/lent"
    await leeway.scale("default", "Deployment/lent", "pawl:r-1")
    (lent,) = await leeway.lent()
    assert (lent.what, lent.was, lent.to) == ("scale", "3", "pawl:r-1")
    await client.send("PATCH", path, {"spec": {"replicas": 7}}, Anything, patch=True)
    await leeway.give_back(lent)
    now = await client.get(path, dict[str, Any])
    assert now["spec"]["replicas"] == 7
    assert await leeway.lent() == ()
    await client.send("DELETE", path, None, Anything)
    await leeway.give_back(lent)  # gone: nothing to give back


def hook(name: str, resource: str, group: str = "", **more: object) -> dict[str, object]:
    return {
        "name": f"{name}.example.com",
        "clientConfig": {"service": {"namespace": "hooks", "name": "guard"}},
        "rules": [
            {
                "apiGroups": [group],
                "apiVersions": ["*"],
                "resources": [resource],
                "operations": ["CREATE"],
            }
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"guarded": "yes"}},
        **more,
    }


async def test_webhooks_that_could_hold_up_a_drain(client: KubeClient) -> None:
    """Which fail closed, on which nodes, over what, and whether over their own namespace."""
    labels = {"guarded": "yes"}
    named = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["hooks"]}
    await client.send(
        "POST", "/api/v1/namespaces", {"metadata": {"name": "hooks", "labels": labels}}, Anything
    )
    endpoints = {
        "addressType": "IPv4",
        "metadata": {"name": "guard-1", "labels": {"kubernetes.io/service-name": "guard"}},
        "endpoints": [{"addresses": ["198.18.0.5"], "nodeName": "n1"}],
    }
    slices = "/apis/discovery.k8s.io/v1/namespaces/hooks/endpointslices"
    await client.send("POST", slices, endpoints, Anything)
    hooks = [
        hook("pods", "pods"),
        hook("subresources", "pods/*"),
        hook("all", "*", "*"),
        hook("exempt", "pods", namespaceSelector={"matchExpressions": [named]}),
        hook("widgets", "widgets", "example.com"),
        hook("open", "pods", failurePolicy="Ignore"),
    ]
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    await client.send("POST", path, {"metadata": {"name": "g"}, "webhooks": hooks}, Anything)
    try:
        facts = await KubeReader(client).read(())
    finally:
        await client.send("DELETE", f"{path}/g", None, Anything)
    found = {w.name.split("/")[1].split(".")[0]: w for w in facts.webhooks}
    assert found.keys() == {"pods", "subresources", "all", "exempt", "widgets"}
    assert found["pods"].nodes == ("n1",)
    assert found["pods"].holds == ("pods",)
    assert found["subresources"].holds == ("pods/binding", "pods/eviction")
    assert {"pods", "leases", "replicasets"} <= set(found["all"].holds)
    assert found["widgets"].holds == ()
    assert found["pods"].own_namespace
    assert not found["exempt"].own_namespace


async def test_the_lease_counts_epochs_and_fences(client: KubeClient) -> None:
    clock = FixedClock()
    lease = ApiLease(client, clock)
    first = await lease.acquire("a", 15, at_least=4)
    assert first.epoch == 5
    assert (await lease.acquire("a", 15, at_least=0)).epoch == 5
    with pytest.raises(Refused, match="a is at work"):
        await lease.acquire("b", 15, at_least=0)
    clock.time += 16
    second = await lease.acquire("b", 15, at_least=0)
    assert second.epoch == 6
    with pytest.raises(Fenced, match="held by b"):
        await lease.renew(first)
    await lease.release(first)  # not ours any more: left alone
    assert (await lease.renew(second)).epoch == 6
    await lease.release(second)
    assert (await lease.acquire("a", 15, at_least=0)).epoch == 7


async def test_the_lease_of_a_holder_that_has_ended_is_freed_and_no_other(
    client: KubeClient,
) -> None:
    holders = ApiHolders(client, FixedClock())
    assert await holders.holder("kube-scheduler") is None
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
        "spec": {
            "holderIdentity": "cp-1_4f2a",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 3,
        },
    }
    await client.send("POST", LEASES, body, Anything)
    assert await holders.holder("kube-scheduler") == "cp-1_4f2a"
    assert not await holders.free("kube-scheduler", "cp-2_77aa")
    assert await holders.holder("kube-scheduler") == "cp-1_4f2a"
    assert await holders.free("kube-scheduler", "cp-1_4f2a")
    assert await holders.holder("kube-scheduler") == ""
    read = await client.get(f"{LEASES}/kube-scheduler", LeaseObject)
    assert (read.spec.duration, read.spec.transitions) == (1, 3)


async def test_a_lease_that_etcd_cannot_write_is_nobodys_answer(
    api: Api, client: KubeClient
) -> None:
    clock = FixedClock()
    clock.time += 600  # other tests may hold it
    lease = ApiLease(client, clock)
    held = await lease.acquire("full", 1, at_least=20)
    clock.time += 1  # what does not change is not written

    def alarm(action: str) -> None:
        body = {"action": action, "memberID": "1", "alarm": "NOSPACE"}
        request = urllib.request.Request(
            f"{api.etcd}/v3/maintenance/alarm", data=msgspec.json.encode(body)
        )
        urllib.request.urlopen(request, timeout=5).read()

    alarm("ACTIVATE")
    try:
        with pytest.raises(Unreachable, match="space"):
            await lease.renew(held)
    finally:
        alarm("DEACTIVATE")
    await lease.release(await lease.renew(held))


async def test_a_server_that_does_not_answer_gives_way_to_one_that_does(api: Api) -> None:
    client = KubeClient(api.kubeconfig, "https://127.0.0.9:1", 5.0, lambda: [api.url])
    assert (await KubeReader(client).read(())).unread == ()
    await client.aclose()
    alone = KubeClient(api.kubeconfig, "https://127.0.0.9:1", 5.0)
    with pytest.raises(Unreachable):
        await ApiKube(alone).pods_on("n1")
    facts = await KubeReader(alone).read(())
    assert {"nodes", "pods"} <= {u.source for u in facts.unread}
    await alone.aclose()


@pytest.mark.parametrize("text", ["clusters: []\n", "", "[]\n", "a: [\n", "clusters: 3\n"])
def test_a_broken_kubeconfig_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(ConfigError, match="kubeconfig"):
        KubeClient(tmp_path / "k", "https://127.0.0.1:1", 1.0)
