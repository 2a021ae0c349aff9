"""A real etcd, API server, controller-manager and scheduler on loopback, and pretended kubelets.

What decides over pods is real: the disruption controller, ReplicaSets, the scheduler. What runs
them is not: every pod that has a node is reported as Ready, and one that is deleted is gone at
once. Needs no root, and the binaries of the artefact cache.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from probe_rig import Authority, free_ports

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.core.errors import Unreachable
from pawl.core.workloads.gather import PARTS

VERSION, ETCD = "1.36.0", "3.5.33"
CONTROLLERS = (
    "deployment-controller", "replicaset-controller", "statefulset-controller", "job-controller",
    "disruption-controller", "daemonset-controller", "serviceaccount-controller",
)  # fmt: skip
POLL = 0.1
STARTS = 300.0
"""Seconds until a program answers, or pods are where they belong: a few on an idle machine."""


def binary(component: str, version: str, into: Path) -> Path:
    from pawl.adapters.artifacts.factory import artifact_store

    async def fetch() -> Path:
        artifact = await artifact_store().resolver.fetch(component, version)
        for file in artifact.files:
            target = into / file.name
            if not target.exists():
                os.symlink(file.path, target)
        return into / component

    return asyncio.run(fetch())


@contextmanager
def control_plane() -> Iterator[Path]:
    """The programs are up; yields a kubeconfig."""
    with tempfile.TemporaryDirectory(prefix="rig-") as made:
        d = Path(made)
        pki = Authority(d / "pki")
        pki.issue("server", "kube-apiserver")
        pki.issue("admin", "admin", "system:masters")
        etcd, peer, secure, kcm, sched = free_ports(5)
        kubeconfig = d / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(d / "pki", secure)))
        components = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        store = binary("etcd", ETCD, d)
        server, manager, scheduler = (binary(c, VERSION, d) for c in components)
        running: list[subprocess.Popen[bytes]] = []

        def spawn(*argv: object) -> None:
            log = (d / f"{Path(str(argv[0])).name}.log").open("wb")
            running.append(subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log))

        try:
            spawn(
                store, f"--data-dir={d}/data", "--unsafe-no-fsync",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
            )  # fmt: skip
            spawn(
                server, f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={secure}",
                "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1",
                f"--tls-cert-file={d}/pki/server.crt",
                f"--tls-private-key-file={d}/pki/server.key",
                f"--client-ca-file={d}/pki/ca.crt", "--authorization-mode=RBAC",
                "--service-account-issuer=https://rig",
                f"--service-account-key-file={d}/pki/server.crt",
                f"--service-account-signing-key-file={d}/pki/server.key",
                "--service-cluster-ip-range=198.18.128.0/24", f"--cert-dir={d}",
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            )  # fmt: skip
            _wait_for(secure, d, running[-1])
            common = (f"--kubeconfig={kubeconfig}", "--leader-elect=false",
                      "--bind-address=127.0.0.1", f"--cert-dir={d}")  # fmt: skip
            spawn(
                manager, *common, f"--secure-port={kcm}", f"--controllers={','.join(CONTROLLERS)}"
            )
            spawn(scheduler, *common, f"--secure-port={sched}")
            yield kubeconfig
        finally:
            for process in reversed(running):
                process.kill()
                process.wait()


def _kubeconfig(pki: Path, port: int) -> dict[str, Any]:
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": f"{pki}/ca.crt"}
    user = {"client-certificate": f"{pki}/admin.crt", "client-key": f"{pki}/admin.key"}
    return {
        "current-context": "t",
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        "clusters": [{"name": "t", "cluster": server}],
        "users": [{"name": "t", "user": user}],
    }


def _wait_for(port: int, d: Path, server: subprocess.Popen[bytes]) -> None:
    context = ssl.create_default_context(cafile=f"{d}/pki/ca.crt")
    context.load_cert_chain(f"{d}/pki/admin.crt", f"{d}/pki/admin.key")
    end = time.monotonic() + STARTS
    while True:
        try:
            url = f"https://127.0.0.1:{port}/readyz"
            urllib.request.urlopen(url, context=context, timeout=10).close()
            return
        except (urllib.error.URLError, OSError):
            log = (d / "kube-apiserver.log").read_text()[-2000:]
            assert server.poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(POLL)


class Cluster:
    """Applies manifests and plays the kubelets. Use `async with`."""

    def __init__(self, kubeconfig: Path) -> None:
        endpoint = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        self.client = KubeClient(kubeconfig, endpoint, 60.0)
        self.started: set[str] = set()
        """UIDs of all pods that ever ran."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Cluster:
        self._task = asyncio.create_task(self._kubelets())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._task:
            self._task.cancel()
        await self.client.aclose()

    async def _kubelets(self) -> None:
        while True:
            try:
                for pod in await self.client.every("/api/v1/pods", PARTS["Pod"]):
                    await self._report(pod)
            except (KubeRefused, Unreachable):
                pass
            await asyncio.sleep(POLL)

    async def _report(self, pod: Any) -> None:
        meta = pod.metadata
        path = f"/api/v1/namespaces/{meta.namespace}/pods/{meta.name}"
        if meta.deleted is not None:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid}}
            await self.client.send("DELETE", path, body, dict[str, Any])
        elif pod.spec.node_name and pod.status.phase != "Running":
            self.started.add(meta.uid)
            ready = {"type": "Ready", "status": "True"}
            body = {"status": {"phase": "Running", "conditions": [ready]}}
            await self.client.send("PATCH", f"{path}/status", body, dict[str, Any], patch=True)

    async def apply(self, text: str) -> None:
        """Objects of the namespace "default", and nodes with their status."""
        paths = {
            "Node": "/api/v1/nodes",
            "Pod": "/api/v1/namespaces/default/pods",
            "Deployment": "/apis/apps/v1/namespaces/default/deployments",
            "StatefulSet": "/apis/apps/v1/namespaces/default/statefulsets",
            "Job": "/apis/batch/v1/namespaces/default/jobs",
            "PodDisruptionBudget": "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
        }
        for item in yaml.safe_load_all(text):
            if not item:
                continue
            path = paths[item["kind"]]
            await self.client.send("POST", path, item, dict[str, Any])
            if item["kind"] == "Node":
                status = {"status": item["status"]}
                own = f"{path}/{item['metadata']['name']}/status"
                await self.client.send("PATCH", own, status, dict[str, Any], patch=True)

    async def pods(self, app: str) -> list[Any]:
        found = await self.client.every(
            "/api/v1/namespaces/default/pods", PARTS["Pod"], {"labelSelector": f"app={app}"}
        )
        return [p for p in found if p.metadata.deleted is None]

    async def until(self, what: str, holds: Callable[[], Any], seconds: float = STARTS) -> Any:
        end = time.monotonic() + seconds
        while True:
            found = await holds()
            if found:
                return found
            assert time.monotonic() < end, f"not in {seconds:.0f} s: {what}"
            await asyncio.sleep(POLL)
