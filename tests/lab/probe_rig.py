"""Real etcd, kube-apiserver and HAProxy on loopback, for the prober's own tests and drain studies.

Binaries come from the artefact cache. Everything lives in one directory and ends with `Rig.close`.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pawl.adapters.artifacts.factory import artifact_store

ETCD_ADDRESSES = tuple(f"127.0.1.{i + 1}" for i in range(7))
DAY = datetime.timedelta(days=1)
STARTS = 300.0
"""Seconds until a program answers, or has ended: a few on an idle machine."""


class Authority:
    """A throw-away CA; every certificate is good for the rig's loopback addresses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rig-ca")])
        self._name = name
        built = self._builder(name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._write("ca", built.sign(self._key, hashes.SHA256()), self._key)

    def issue(self, file: str, common: str, organization: str = "") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
        if organization:
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        sans = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", *ETCD_ADDRESSES)]
        )
        built = self._builder(x509.Name(parts), key).add_extension(sans, critical=False)
        self._write(file, built.sign(self._key, hashes.SHA256()), key)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )

    def _write(
        self, file: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        pem = serialization.Encoding.PEM
        (self.directory / f"{file}.crt").write_bytes(certificate.public_bytes(pem))
        (self.directory / f"{file}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass
class Rig:
    """`members` etcd members and `servers` API servers behind one HAProxy."""

    directory: Path
    etcd: str = "3.5.33"
    kubernetes: str = "1.36.0"
    members: int = 3
    servers: int = 2
    api_flags: tuple[str, ...] = (
        "--shutdown-delay-duration=5s",
        "--shutdown-send-retry-after=true",
    )
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pki = Authority(self.directory / "pki")
        for file, common, organization in (
            ("server", "rig", ""),
            ("admin", "admin", "system:masters"),
            ("sa", "sa", ""),
        ):
            self.pki.issue(file, common, organization)
        self.client_port, self.peer_port, self.lb_port, *self.api_ports = free_ports(
            3 + self.servers
        )
        self.addresses = ETCD_ADDRESSES[: self.members]

    def start(self) -> None:
        for i in range(self.members):
            self.start_etcd(i)
        for i in range(self.members):
            wait_for_port(self.client_port, self.addresses[i])
        for i in range(self.servers):
            self.start_api(i)
        for i in range(self.servers):
            self.wait_ready(i)
        self.start_balancer()
        self.write_config()

    def spawn(self, name: str, argv: list[str]) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
        )

    def end(self, name: str, timeout: float = STARTS) -> float:
        """SIGTERM and wait; seconds that it took."""
        began = time.monotonic()
        process = self.running.pop(name)
        process.terminate()
        process.wait(timeout)
        return time.monotonic() - began

    def start_etcd(self, i: int, version: str = "") -> None:
        pki = self.pki.directory
        cluster = ",".join(
            f"e{j}=https://{a}:{self.peer_port}" for j, a in enumerate(self.addresses)
        )
        client, peer = (
            f"https://{self.addresses[i]}:{p}" for p in (self.client_port, self.peer_port)
        )
        files = [f"{pki}/server.crt", f"{pki}/server.key", f"{pki}/ca.crt"]
        # No disk is waited for: what stalls here is to be what the test stops.
        flags = [f"--name=e{i}", f"--data-dir={self.directory}/e{i}", "--unsafe-no-fsync"]
        flags += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        flags += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        flags += [f"--initial-cluster={cluster}", "--client-cert-auth", "--peer-client-cert-auth"]
        for side in ("", "peer-"):
            names = ("cert-file", "key-file", "trusted-ca-file")
            flags += [f"--{side}{n}={f}" for n, f in zip(names, files, strict=True)]
        self.spawn(f"etcd-{i}", [str(binary("etcd", version or self.etcd)), *flags])

    def start_api(self, i: int, version: str = "") -> None:
        pki = self.pki.directory
        servers = ",".join(f"https://{a}:{self.client_port}" for a in self.addresses)
        flags = [
            f"--etcd-servers={servers}",
            f"--etcd-cafile={pki}/ca.crt",
            f"--etcd-certfile={pki}/admin.crt",
            f"--etcd-keyfile={pki}/admin.key",
            "--bind-address=127.0.0.1",
            "--advertise-address=198.18.0.1",
            f"--secure-port={self.api_ports[i]}",
            f"--tls-cert-file={pki}/server.crt",
            f"--tls-private-key-file={pki}/server.key",
            f"--client-ca-file={pki}/ca.crt",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=198.19.0.0/16",
            "--service-account-issuer=https://rig",
            f"--service-account-key-file={pki}/sa.crt",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--cert-dir={self.directory}/api-{i}",
            "-v=1",
            *self.api_flags,
        ]
        program = binary("kube-apiserver", version or self.kubernetes)
        self.spawn(f"api-{i}", [str(program), *flags])

    def wait_ready(self, i: int, timeout: float = STARTS) -> None:
        """`/readyz` says ok at the server's own address."""
        pki = self.pki.directory
        url = f"https://127.0.0.1:{self.api_ports[i]}/readyz"
        argv = ["curl", "-sf", "-m", "2", "--cacert", f"{pki}/ca.crt", url]
        end = time.monotonic() + timeout
        while subprocess.run(argv, capture_output=True, check=False).stdout != b"ok":
            if self.running[f"api-{i}"].poll() is not None:
                raise RuntimeError(f"api-{i} ended, see {self.directory}/api-{i}.log")
            if time.monotonic() > end:
                raise RuntimeError(f"api-{i} is not ready")
            time.sleep(0.1)

    def start_balancer(self) -> None:
        lines = [
            "global",
            f"  stats socket {self.directory}/haproxy.sock mode 600 level admin",
            "defaults",
            "  mode tcp",
            "  timeout connect 2s",
            "  timeout client 1h",
            "  timeout server 1h",
            "  option redispatch",
            "frontend api",
            f"  bind 127.0.0.1:{self.lb_port}",
            "  default_backend apiservers",
            "backend apiservers",
            "  balance roundrobin",
            "  option httpchk GET /readyz",
            "  default-server check check-ssl verify none inter 500ms fall 2 rise 2",
        ]
        lines += [f"  server s{i} 127.0.0.1:{p}" for i, p in enumerate(self.api_ports)]
        (self.directory / "haproxy.cfg").write_text("\n".join(lines) + "\n")
        argv = ["haproxy", "-db", "-f", str(self.directory / "haproxy.cfg")]
        self.spawn("haproxy", argv)
        wait_for_port(self.lb_port)

    def balancer(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.directory / "haproxy.sock"))
            s.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def write_config(self) -> None:
        pki = self.pki.directory

        def data(name: str) -> str:
            return base64.b64encode((pki / name).read_bytes()).decode()

        server = f"https://127.0.0.1:{self.lb_port}"
        cluster = {"server": server, "certificate-authority-data": data("ca.crt")}
        user = {
            "client-certificate-data": data("admin.crt"),
            "client-key-data": data("admin.key"),
        }
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "rig",
            "clusters": [{"name": "rig", "cluster": cluster}],
            "users": [{"name": "rig", "user": user}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
        }
        (self.directory / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        config = {
            "cluster": "rig",
            "hosts": [
                {"name": f"e{i}", "address": a, "roles": ["etcd"]}
                for i, a in enumerate(self.addresses)
            ],
            "ssh": {"key": "none", "known_hosts": "none"},
            "etcd": {
                "ca": "pki/ca.crt",
                "cert": "pki/admin.crt",
                "key": "pki/admin.key",
                "client_port": self.client_port,
            },
            "api": {"endpoint": server, "kubeconfig": "kubeconfig"},
            # What is lost is told at once; what is late on a busy machine is not lost.
            "probes": {"deadline": 60},
        }
        (self.directory / "pawl.yaml").write_text(yaml.safe_dump(config))

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self.running.clear()


def wait_for_port(port: int, host: str = "127.0.0.1", timeout: float = STARTS) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def binary(component: str, version: str) -> Path:
    """The real program, fetched into the cache when it is not there."""
    artifact = asyncio.run(artifact_store().resolver.fetch(component, version))
    return next(f.path for f in artifact.files if f.name == component)
