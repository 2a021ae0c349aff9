"""How fast `pawl scan` is, and what it costs in memory.

1. An audit log of 1 GB on a local disk: the cheap look and the parsing of one record in 5,000.
   Target: 300 MB/s.
2. The same look as it runs on a host (`grep -F` as pawl calls it), for comparison.
3. 50,000 and 100,000 live objects from a loopback server over TLS, in a process of its own.
   Target: at most 200 MB, and no more for twice the objects.

    python bench/scan.py [--megabytes 1000] [--objects 50000] [--rolls 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from status import certificate, kubeconfig_of, serve_bodies

TARGET_MB_S, TARGET_MB = 300.0, 200.0
TOGETHER = 500


def record(number: int, *, deprecated: bool) -> bytes:
    """A record as a policy at level Metadata writes it (880 bytes)."""
    group, version, resource_ = (
        ("batch", "v1beta1", "cronjobs") if deprecated else ("coordination.k8s.io", "v1", "leases")
    )
    node = f"worker-{number % 300}"
    notes = {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
    if deprecated:
        notes |= {"k8s.io/deprecated": "true", "k8s.io/removed-release": "1.25"}
    body = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"3f0e0b7c-9c1b-4c59-9a28-{number:012d}",
        "stage": "ResponseComplete",
        "requestURI": f"/apis/{group}/{version}/namespaces/kube-node-lease/{resource_}/{node}",
        "verb": "update",
        "user": {
            "username": f"system:node:{node}",
            "groups": ["system:nodes", "system:authenticated"],
        },
        "sourceIPs": [f"198.18.{number % 200}.21"],
        "userAgent": "kubelet/v1.24.0 (linux/amd64) kubernetes/4ce5a89"
        if not deprecated
        else f"operator-{number % 7}/v0.3",
        "objectRef": {
            "resource": resource_,
            "namespace": "kube-node-lease",
            "name": node,
            "uid": f"c9a1b3d4-0000-0000-0000-{number:012d}",
            "apiGroup": group,
            "apiVersion": version,
            "resourceVersion": str(number),
        },
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": f"2026-11-24T06:38:46.{number % 1000000:06d}Z",
        "stageTimestamp": f"2026-11-24T06:38:46.{number % 1000000:06d}Z",
        "annotations": notes,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def write_log(path: Path, megabytes: int) -> tuple[int, int]:
    block = b"\n".join(record(n, deprecated=n % 5000 == 0) for n in range(5000)) + b"\n"
    size = 0
    with path.open("wb") as file:
        while size < megabytes * 1e6:
            size += file.write(block)
    return size, size // len(block)


def way_local(path: str) -> dict[str, float]:
    from pawl.adapters.scan.audit import local
    from pawl.core.knowledge.store import shipped
    from pawl.core.lint.judge import Judge
    from pawl.core.scan.facts import Call
    from pawl.core.scan.lens import Lens

    lens = Lens(Judge(shipped(), "1.37"))
    started, busy = time.perf_counter(), time.process_time()
    facts = local(Path(path), lens, "1.36")
    seconds = time.perf_counter() - started
    calls = [f for f in facts if isinstance(f, Call)]
    return {
        "seconds": seconds,
        "cpu": time.process_time() - busy,
        "found": sum(c.count for c in calls),
        "clients": len(calls),
    }


def way_grep(path: str) -> dict[str, float]:
    from pawl.adapters.scan.audit import MOST
    from pawl.core.scan.auditlog import DEPRECATED

    argv = ["grep", "-aF", "-c", "-m", str(MOST), "-e", DEPRECATED.decode(), "--", path]
    started = time.perf_counter()
    done = subprocess.run(argv, env={"LC_ALL": "C"}, capture_output=True, check=True, text=True)
    return {"seconds": time.perf_counter() - started, "cpu": 0, "found": int(done.stdout)}


def live_object(number: int) -> dict[str, object]:
    """Metadata of an object as an API server sends it (about 3 kB), one in 20 applied by kubectl,
    one in 500 last written at a version that goes away."""
    gone = number % 500 == 0
    fields = {f"f:field-{i}": {"f:value": {}, "f:other": {}} for i in range(60)}
    applied = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"job-{number}"},
        "spec": {"x": "y" * 1500},
    }
    meta: dict[str, object] = {
        "name": f"job-{number}",
        "namespace": f"ns-{number % 50}",
        "uid": f"00000000-0000-0000-0000-{number:012d}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": f"app-{number % 400}"},
        "managedFields": [
            {
                "manager": "operator",
                "operation": "Update",
                "apiVersion": "batch/v1beta1" if gone else "batch/v1",
                "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        ],
    }
    if number % 20 == 0:
        meta["annotations"] = {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)
        }
    return {"metadata": meta}


def way_live(kubeconfig: str, objects: str) -> dict[str, float]:
    from pawl.adapters.kube import KubeClient
    from pawl.adapters.scan import LiveScan
    from pawl.core.knowledge.store import shipped
    from pawl.core.lint.judge import Judge
    from pawl.core.scan.collect import Collector
    from pawl.engine.scan import scan

    async def run() -> int:
        client = KubeClient(Path(kubeconfig), "", 60.0)
        collector = Collector(Judge(shipped(), "1.37"), now=time.time())
        report = await scan(LiveScan(client, collector.lens, servers=()), collector)
        await client.aclose()
        if report.objects != int(objects) or report.not_read:
            raise SystemExit(f"read {report.objects} objects; not read: {report.not_read}")
        return len(report.findings)

    started = time.perf_counter()
    findings = asyncio.run(run())
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time(),
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "found": findings,
    }


WAYS = {"local": way_local, "grep": way_grep, "live": way_live}


def rolls(count: int, *argv: str) -> list[dict[str, float]]:
    """Each in a process of its own, so that its peak memory is its own."""
    out = []
    for _ in range(count):
        run = [sys.executable, __file__, "--measure", *argv]
        out.append(json.loads(subprocess.run(run, check=True, capture_output=True).stdout))
    return out


def routes(objects: int) -> dict[str, bytes]:
    """Bodies by path and continue token."""
    jobs = {"resource": "cronjobs", "responseKind": {"kind": "CronJob"}, "verbs": ["list"]}
    batch = {
        "metadata": {"name": "batch"},
        "versions": [
            {"version": "v1", "resources": [jobs]},
            {"version": "v1beta1", "resources": [jobs]},
        ],
    }
    found: dict[str, object] = {
        "/version": {"gitVersion": "v1.24.0"},
        "/api": {"items": []},
        "/apis": {"items": [batch]},
    }
    for start in range(0, objects, TOGETHER):
        more = str(start + TOGETHER) if start + TOGETHER < objects else ""
        items = [live_object(n) for n in range(start, min(start + TOGETHER, objects))]
        key = "/apis/batch/v1/cronjobs" + (f"#{start}" if start else "")
        found[key] = {"metadata": {"continue": more}, "items": items}
    return {k: json.dumps(v, separators=(",", ":")).encode() for k, v in found.items()}


def serve(directory: Path, objects: int, ready: multiprocessing.Queue[int]) -> None:
    """The bodies live in this process alone: a child's peak memory starts at its parent's."""
    bodies = routes(objects)
    ready.put(sum(map(len, bodies.values())))
    serve_bodies(directory, bodies, ready)


def audit_table(directory: Path, megabytes: int, count: int) -> bool:
    path = directory / "audit.log"
    size, marked = write_log(path, megabytes)
    path.read_bytes()  # warm
    print(f"audit log: {size / 1e6:.0f} MB, {marked} records that matter; median of {count}\n")
    print("| way | seconds | MB/s | CPU s | records found |\n| --- | --- | --- | --- | --- |")
    good = True
    for way, name in (("local", "pawl, a local file"), ("grep", "grep -F, as on a host")):
        runs = rolls(count, way, str(path))
        seconds = statistics.median(r["seconds"] for r in runs)
        cpu = statistics.median(r["cpu"] for r in runs)
        rate = size / seconds / 1e6
        print(f"| {name} | {seconds:.2f} | {rate:.0f} | {cpu:.2f} | {runs[0]['found']:.0f} |")
        good = good and runs[0]["found"] == marked and rate >= TARGET_MB_S
    return good


def live_table(directory: Path, objects: int, count: int) -> bool:
    certificate(directory)
    print("\n| live objects | MB of JSON | seconds | CPU s | peak MB | findings |")
    print("| --- | --- | --- | --- | --- | --- |")
    peaks = []
    for number in (objects, 2 * objects):
        ready: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(directory, number, ready))
        server.start()
        try:
            size, port = ready.get(timeout=120) / 1e6, ready.get(timeout=120)
            kubeconfig = kubeconfig_of(directory, f"https://127.0.0.1:{port}")
            runs = rolls(count, "live", str(kubeconfig), str(number))
        finally:
            server.terminate()
            server.join()
        peak = max(r["mb"] for r in runs)
        peaks.append(peak)
        seconds = statistics.median(r["seconds"] for r in runs)
        cpu = statistics.median(r["cpu"] for r in runs)
        print(
            f"| {number:,} | {size:.0f} | {seconds:.2f} | {cpu:.2f} | {peak:.0f} "
            f"| {runs[0]['found']:.0f} |"
        )
    return max(peaks) <= TARGET_MB and peaks[1] <= peaks[0] * 1.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--rolls", type=int, default=3)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        way, *argv = given.measure
        print(json.dumps(WAYS[way](*argv)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        fast = audit_table(Path(name), given.megabytes, given.rolls)
        small = live_table(Path(name), given.objects, given.rolls)
    said = {True: "reached", False: "MISSED"}
    print(f"\ntarget {TARGET_MB_S:g} MB/s: {said[fast]}; {TARGET_MB:g} MB and flat: {said[small]}")
    return 0 if fast and small else 1


if __name__ == "__main__":
    sys.exit(main())
