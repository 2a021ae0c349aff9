"""A real etcd, two real API servers and a controller-manager, with audit log and SSH.

The first API server writes an audit log, the second none. APIs that 1.37 removes and that are off
by default are switched on, so that something can be called that really goes away.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))

from support_binaries import binaries
from support_sshd import free_port, sshd

from support_pki import Authority

KUBERNETES, ETCD = "1.36.0", "3.5.33"
STARTS = 300.0
"""Seconds until a program of the rig answers: a few on an idle machine."""
SERVERS = {"cp-1": "127.0.0.1", "cp-2": "127.0.0.2"}
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/readyz*"]
- level: Metadata
"""
OLD_APIS = (
    "networking.k8s.io/v1beta1=true,storage.k8s.io/v1beta1=true,scheduling.k8s.io/v1alpha2=true"
)


class Rig:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory)
        self.client, peer = free_port(), free_port()
        self.port = free_port()
        self.audit = directory / "audit.log"
        self.server_pair = self.authority.issue("kube-apiserver")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._peer = peer
        self.context = ssl.create_default_context(cafile=str(self.authority.ca))
        self.context.load_cert_chain(*self.authority.issue("admin", organization="system:masters"))

    def start(self) -> None:
        d = self.directory
        etcd = binaries("etcd", ETCD, d / "bin") / "etcd"
        server = binaries("kube-apiserver", KUBERNETES, d / "bin") / "kube-apiserver"
        url = f"https://127.0.0.1:{self.client}"
        crt, key = self.server_pair
        peer = f"http://127.0.0.1:{self._peer}"
        self._spawn(
            "etcd",
            [etcd, f"--data-dir={d}/etcd", "--unsafe-no-fsync", f"--listen-client-urls={url}",
             f"--advertise-client-urls={url}", f"--listen-peer-urls={peer}",
             f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
             "--client-cert-auth", f"--trusted-ca-file={self.authority.ca}",
             f"--cert-file={crt}", f"--key-file={key}"],
        )  # fmt: skip
        (d / "policy.yaml").write_text(POLICY)
        audit = [f"--audit-policy-file={d}/policy.yaml", f"--audit-log-path={self.audit}",
                 "--audit-log-maxsize=100"]  # fmt: skip
        for name, address in SERVERS.items():
            flags = [*self._flags(name, address), f"--runtime-config={OLD_APIS}"]
            if name == "cp-1":
                flags += audit
                (d / "kube-apiserver.env").write_text(f'FLAGS="{" ".join(flags)}"\n')
            self._spawn(name, [server, *flags])
        for address in SERVERS.values():
            self._wait(address)
        manager = binaries("kube-controller-manager", KUBERNETES, d / "bin")
        kubeconfig = self.kubeconfig("system:kube-controller-manager", "")
        self._spawn(
            "controller-manager",
            [manager / "kube-controller-manager", f"--kubeconfig={kubeconfig}",
             "--use-service-account-credentials", "--leader-elect=false", "--secure-port=0",
             f"--service-account-private-key-file={key}", f"--root-ca-file={self.authority.ca}"],
        )  # fmt: skip
        end = time.monotonic() + STARTS
        while not self.call("GET", "/api/v1/namespaces/default/serviceaccounts")["items"]:
            assert time.monotonic() < end, (d / "controller-manager.log").read_text()[-1500:]
            time.sleep(0.2)

    def _flags(self, name: str, address: str) -> list[str]:
        """What every API server of the rig is started with."""
        crt, key = self.server_pair
        return [
            f"--etcd-servers=https://127.0.0.1:{self.client}",
            f"--etcd-cafile={self.authority.ca}", f"--etcd-certfile={crt}",
            f"--etcd-keyfile={key}", f"--secure-port={self.port}",
            f"--bind-address={address}", f"--advertise-address=198.18.0.{len(name)}",
            f"--tls-cert-file={crt}", f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.ca}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=198.18.128.0/24", f"--cert-dir={self.directory}",
            "--disable-admission-plugins=ServiceAccount", "--feature-gates=GenericWorkload=true",
        ]  # fmt: skip

    @contextmanager
    def newer(self, version: str, address: str, *flags: str) -> Iterator[None]:
        """One more API server, of another release, on the same etcd."""
        binary = binaries("kube-apiserver", version, self.directory / f"bin-{version}")
        self._spawn(version, [binary / "kube-apiserver", *self._flags(version, address), *flags])
        process = self._processes[-1]
        try:
            self._wait(address)
            yield
        finally:
            self._processes.remove(process)
            process.kill()
            process.wait()

    def _spawn(self, name: str, argv: list[Any]) -> None:
        log = (self.directory / f"{name}.log").open("wb")
        self._processes.append(subprocess.Popen(argv, stderr=log, stdout=log))

    def _wait(self, address: str) -> None:
        end = time.monotonic() + STARTS
        while True:
            try:
                self.call("GET", "/readyz", address=address, raw=True)
                return
            except (urllib.error.URLError, OSError):
                logs = "".join(p.read_text()[-1500:] for p in self.directory.glob("cp-*.log"))
                assert all(p.poll() is None for p in self._processes), logs
                assert time.monotonic() < end, logs
                time.sleep(0.2)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        agent: str = "kubectl/v1.36.0",
        address: str = "127.0.0.1",
        content: str = "application/json",
        raw: bool = False,
    ) -> Any:
        request = urllib.request.Request(
            f"https://{address}:{self.port}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"User-Agent": agent, "Content-Type": content},
        )
        with urllib.request.urlopen(request, context=self.context, timeout=60) as answer:
            data = answer.read()
        return data if raw else json.loads(data)

    def kubeconfig(self, user: str = "admin", organization: str = "system:masters") -> Path:
        path = self.directory / f"{user}.kubeconfig"
        if not path.exists():
            crt, key = self.authority.issue(user, organization=organization)
            path.touch(mode=0o600)
            cluster = {
                "server": f"https://127.0.0.1:{self.port}",
                "certificate-authority": str(self.authority.ca),
            }
            credentials = {"client-certificate": str(crt), "client-key": str(key)}
            path.write_text(
                yaml.safe_dump(
                    {
                        "current-context": "t",
                        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                        "clusters": [{"name": "t", "cluster": cluster}],
                        "users": [{"name": "t", "user": credentials}],
                    }
                )
            )
        return path

    def config(self, ssh: Any) -> Path:
        """pawl.yaml of this cluster."""
        d = self.directory
        path = d / "pawl.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "cluster": "rig",
                    "hosts": [
                        {"name": n, "address": a, "roles": ["control-plane", "etcd"]}
                        for n, a in SERVERS.items()
                    ],
                    "ssh": {"user": ssh.user, "port": ssh.port, "key": ssh.key,
                            "known_hosts": ssh.known_hosts},
                    "etcd": {"ca": "ca.crt", "cert": "admin.crt", "key": "admin.key",
                             "client_port": self.client},
                    "api": {
                        "endpoint": f"https://127.0.0.1:{self.port}",
                        "kubeconfig": str(self.kubeconfig()),
                        "port": self.port,
                    },
                    "policy": {
                        "limits": {"certificate_days": 7},
                        "timeouts": {"read": 60},
                    },
                    "layout": {"flags": f"{d}/{{component}}.env", "epoch": f"{d}/epoch"},
                }
            )
        )  # fmt: skip
        return path

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@contextmanager
def rig(directory: Path) -> Iterator[Rig]:
    made = Rig(directory)
    with ExitStack() as stack:
        stack.callback(made.close)
        made.start()
        ssh = stack.enter_context(sshd(directory, tuple(SERVERS.values())))
        made.config(ssh)
        yield made


if __name__ == "__main__":  # by hand: python tests/lab/scan_rig.py DIRECTORY
    with rig(Path(sys.argv[1])) as running:
        print(running.directory / "pawl.yaml", socket.gethostname(), flush=True)
        time.sleep(float(sys.argv[2]))
