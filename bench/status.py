"""How long reading 20,000 pods takes, and what it costs in memory.

A loopback server with TLS serves pages of 500 real-looking pods (about 6.7 kB each, 134 MB in
all); each way runs in a process of its own, so that its peak memory is its own. Prints one table.

    python bench/status.py [--pods 20000] [--rolls 3]
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib.util
import ipaddress
import json
import multiprocessing
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PAGE = 500
TARGET_SECONDS, TARGET_MB = 2.0, 150


def certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    crt, pem = directory / "crt.pem", directory / "key.pem"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.touch(mode=0o600)
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


def pod(number: int) -> dict[str, object]:
    """A pod as an API server sends it, with the managed fields that make up most of it."""
    app = f"app-{number % 400}"
    managed = {f"f:field-{i}": {"f:value": {}, "f:other": {}} for i in range(90)}
    container = {
        "name": "main",
        "image": f"registry.example/{app}:1.0",
        "env": [{"name": f"VARIABLE_{i}", "value": "x" * 20} for i in range(12)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": True}],
    }
    return {
        "metadata": {
            "name": f"{app}-5d8f7c9b6-{number:05d}",
            "namespace": f"ns-{number % 50}",
            "uid": f"00000000-0000-0000-0000-{number:012d}",
            "resourceVersion": str(number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": app, "pod-template-hash": "5d8f7c9b6"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{app}-5d8f7c9b6",
                    "uid": "0",
                    "controller": True,
                }
            ],
            "managedFields": [
                {
                    "manager": m,
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": managed,
                }
                for m in ("kube-controller-manager",)
            ],
        },
        "spec": {
            "nodeName": f"node-{number % 500}",
            "containers": [container],
            "volumes": [{"name": "token", "projected": {"sources": []}}],
            "tolerations": [{"key": f"t{i}", "operator": "Exists"} for i in range(4)],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": t, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                for t in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
        },
    }


def serve(directory: Path, pods: int, ready: multiprocessing.Queue[int]) -> None:
    """Bodies are made before the clock starts."""
    bodies: dict[str, bytes] = {}
    for start in range(0, pods, PAGE):
        more = str(start + PAGE) if start + PAGE < pods else ""
        page = {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"continue": more, "resourceVersion": "1"},
            "items": [pod(n) for n in range(start, min(start + PAGE, pods))],
        }
        key = f"/api/v1/pods#{start}" if start else "/api/v1/pods"
        bodies[key] = json.dumps(page, separators=(",", ":")).encode()
    ready.put(sum(map(len, bodies.values())))
    serve_bodies(directory, bodies, ready)


def serve_bodies(
    directory: Path, bodies: dict[str, bytes], ready: multiprocessing.Queue[int]
) -> None:
    """HTTP/1.1 with keep-alive over TLS: a body by its path, or by "path#continue"; an empty list
    for any other. Puts the port into `ready`."""
    empty = b'{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}'

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            target = line.split()[1].decode()
            while (await reader.readline()).strip():
                pass
            path, _, query = target.partition("?")
            token = dict(p.split("=", 1) for p in query.split("&") if "=" in p).get("continue", "")
            body = bodies.get(f"{path}#{token}" if token else path, empty)
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await writer.drain()
        writer.close()

    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "crt.pem", directory / "key.pem")
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
        ready.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def way_pawl(kubeconfig: Path, url: str) -> int:
    """pawl's reader as `pawl status` uses it."""
    from pawl.adapters.kube import KubeClient, KubeReader

    async def read() -> int:
        client = KubeClient(kubeconfig, url, 30.0)
        facts = await KubeReader(client)._pods()
        await client.aclose()
        return len(facts)

    return asyncio.run(read())


def way_official(kubeconfig: Path, url: str) -> int:
    """The official Python client with its models, page by page."""
    from kubernetes import client, config

    config.load_kube_config(str(kubeconfig))
    api = client.CoreV1Api()
    count, more = 0, None
    while True:
        page = api.list_pod_for_all_namespaces(limit=PAGE, _continue=more)
        count += len(page.items)
        more = page.metadata._continue
        if not more:
            return count


WAYS = {"pawl": way_pawl, "official": way_official}


def measure(way: str, kubeconfig: Path, url: str) -> None:
    """In a process of its own: prints seconds, peak megabytes and pods as JSON."""
    started = time.perf_counter()
    count = WAYS[way](kubeconfig, url)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "mb": peak, "pods": count}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--rolls", type=int, default=3)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        way, kubeconfig, url = given.measure
        measure(way, Path(kubeconfig), url)
        return 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        certificate(directory)
        ready: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(directory, given.pods, ready))
        server.start()
        try:
            size, port = ready.get(timeout=120), ready.get(timeout=120)
            return report(directory, given, size, f"https://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.join()


def kubeconfig_of(directory: Path, url: str) -> Path:
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "current-context": "b",
                "contexts": [{"name": "b", "context": {"cluster": "b", "user": "b"}}],
                "clusters": [
                    {
                        "name": "b",
                        "cluster": {
                            "server": url,
                            "certificate-authority": str(directory / "crt.pem"),
                        },
                    }
                ],
                "users": [{"name": "b", "user": {"token": "bench"}}],
            }
        )
    )
    return kubeconfig


def report(directory: Path, given: argparse.Namespace, size: int, url: str) -> int:
    kubeconfig = kubeconfig_of(directory, url)
    print(f"{given.pods} pods, {size / 1e6:.0f} MB of JSON over TLS, median of {given.rolls}\n")
    print("| way | seconds | CPU seconds, import included | peak MB |\n| --- | --- | --- | --- |")
    good = True
    for way in WAYS:
        if way == "official" and importlib.util.find_spec("kubernetes") is None:
            print("| official client | not installed | | |")
            continue
        runs = []
        for _ in range(given.rolls if way == "pawl" else 1):
            argv = [sys.executable, __file__, "--measure", way, str(kubeconfig), url]
            done = subprocess.run(argv, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout))
        if any(r["pods"] != given.pods for r in runs):
            raise SystemExit(f"{way} read {runs[0]['pods']} pods")
        seconds = statistics.median(r["seconds"] for r in runs)
        peak = max(r["mb"] for r in runs)
        cpu = statistics.median(r["cpu"] for r in runs)
        print(f"| {way} | {seconds:.2f} | {cpu:.2f} | {peak:.0f} |")
        if way == "pawl":
            good = seconds <= TARGET_SECONDS and peak <= TARGET_MB
    print(f"\ntarget: {TARGET_SECONDS:g} s, {TARGET_MB} MB: {'reached' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
