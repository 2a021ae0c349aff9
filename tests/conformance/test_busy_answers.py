"""What an API server or an etcd member says when it cannot answer just now is no answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_kube import fake_api

from pawl.adapters.clock import SystemClock
from pawl.adapters.etcd import Gateway, GatewayEtcd
from pawl.adapters.etcd.gateway import EtcdRefused
from pawl.adapters.kube import ApiKube, ApiLease, KubeClient
from pawl.adapters.kube.client import KubeRefused
from pawl.core.config import EtcdConfig, HostConfig
from pawl.core.errors import Temporary, Unreachable
from pawl.ports.kube import Pod

pytestmark = pytest.mark.anyio
POD = Pod(namespace="shop", name="web", uid="u1", node="n1", owner="ReplicaSet/web-1")
OWN = "/api/v1/namespaces/shop/pods/web"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/pawl"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def status(code: int, message: str) -> tuple[int, object]:
    return code, {"kind": "Status", "code": code, "message": message}


def etcd_at(directory: Path, port: int) -> EtcdConfig:
    ca, crt, key = (str(directory / name) for name in ("ca.crt", "api.crt", "api.key"))
    return EtcdConfig(ca=ca, cert=crt, key=key, client_port=port)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (429, "too many requests"),
        (500, "etcdserver: leader changed"),
        (503, "apiserver not ready"),
        (504, "Timeout: request did not complete within the requested timeout"),
    ],
)
async def test_an_api_server_that_cannot_answer_now_is_as_a_silent_one(
    tmp_path: Path, code: int, message: str
) -> None:
    answer = status(code, message)
    routes = {"/api/v1/nodes/n1": answer, OWN: answer, LEASE: answer, "/api/v1/pods": answer}
    async with fake_api(tmp_path, routes) as (api, kubeconfig):
        client = KubeClient(kubeconfig, f"https://127.0.0.1:{api.port}", 5.0)
        kube, lease = ApiKube(client), ApiLease(client, SystemClock())
        for call in (
            kube.cordon("n1", "pawl:r1"),
            kube.pods_on("n1"),
            lease.acquire("me", 12.0, 0),
        ):
            with pytest.raises(Unreachable, match=message):
                await call
        evicted = await kube.evict(POD)
        assert (evicted.ok, evicted.retry, evicted.why) == (False, True, message)
        await client.aclose()


@pytest.mark.parametrize("code", [400, 403, 409, 422])
async def test_what_an_api_server_decides_is_an_answer(tmp_path: Path, code: int) -> None:
    routes = {"/api/v1/nodes/n1": status(code, "no")}
    async with fake_api(tmp_path, routes) as (api, kubeconfig):
        client = KubeClient(kubeconfig, f"https://127.0.0.1:{api.port}", 5.0)
        with pytest.raises(KubeRefused) as refused:
            await ApiKube(client).cordon("n1", "pawl:r1")
        assert not isinstance(refused.value, Unreachable)
        await client.aclose()


async def test_etcd_without_a_leader_is_as_a_silent_one(tmp_path: Path) -> None:
    """HTTP statuses as etcd's gateway makes them of the gRPC codes: Unavailable, DeadlineExceeded;
    FailedPrecondition is an answer."""
    no_leader = (503, {"error": "etcdserver: no leader", "code": 14})
    routes = {
        "/v3/maintenance/status": (504, {"error": "etcdserver: request timed out", "code": 4}),
        "/v3/kv/range": no_leader,
        "/v3/cluster/member/list": no_leader,
        "/v3/maintenance/alarm": (400, {"error": "etcdserver: not supported", "code": 9}),
    }
    async with fake_api(tmp_path, routes) as (api, _):
        gateway = Gateway(etcd_at(tmp_path, api.port), timeout=5.0)
        url = f"https://127.0.0.1:{api.port}"
        with pytest.raises(Unreachable, match="no leader"):
            await gateway.read(url)
        with pytest.raises(Unreachable, match="timed out"):
            await gateway.status(url)
        with pytest.raises(EtcdRefused) as refused:
            await gateway.alarms(url)
        assert not isinstance(refused.value, Unreachable)
        host = HostConfig(name="etcd-1", address="127.0.0.1", roles=("etcd",))
        etcd = GatewayEtcd(gateway, lambda: (host,), api.port)
        assert await etcd.hashes() == ()
        with pytest.raises(Unreachable, match="no leader"):
            await etcd.move_leader("etcd-1", "etcd-2", 5.0)
        await gateway.aclose()


async def test_a_downgrade_without_a_leader_is_asked_for_again(tmp_path: Path) -> None:
    routes = {
        "/v3/maintenance/status": (200, {"version": "3.6.14", "header": {}}),
        "/v3/maintenance/downgrade": (503, {"error": "etcdserver: no leader", "code": 14}),
    }
    async with fake_api(tmp_path, routes) as (api, _):
        gateway = Gateway(etcd_at(tmp_path, api.port), timeout=5.0)
        host = HostConfig(name="etcd-1", address="127.0.0.1", roles=("etcd",))
        with pytest.raises(Temporary, match="no leader"):
            await GatewayEtcd(gateway, lambda: (host,), api.port).downgrade("enable", "3.5")
        await gateway.aclose()
