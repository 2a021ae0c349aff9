"""The shipped tables against the real programs of a lab: what is served, which flags are taken.

The tables are derived from source; here the unmodified binaries are asked.
"""

from __future__ import annotations

import base64
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pawl_process import SETTLES

from conftest import LabMaker
from pawl.core.knowledge.rows import key
from pawl.core.knowledge.store import shipped
from pawl.lab.cluster import Lab

MINOR, ETCD = "1.37", "3.6"


@pytest.fixture(scope="module")
def lab(lab_maker: LabMaker) -> Lab:
    return lab_maker(
        "tables", kubernetes=MINOR, etcd=ETCD, control_planes=1, etcd_members=1, workers=1
    )


def client(lab: Lab, scratch: Path) -> httpx.Client:
    """An administrator's client, from the lab's kubeconfig."""
    config = yaml.safe_load(Path(lab.dir.path, "admin.kubeconfig").read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pair = scratch / "admin.pem"
    pair.touch(mode=0o600)
    pair.write_bytes(
        base64.b64decode(user["client-certificate-data"])
        + base64.b64decode(user["client-key-data"])
    )
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(str(pair))
    return httpx.Client(base_url=cluster["server"], verify=context, timeout=30)


def help_of(lab: Lab, machine: str, component: str) -> set[str]:
    """The flags that a component's own --help names."""
    argv = ["ssh", "-i", str(lab.dir.ssh / "id_ed25519"), "-o", "BatchMode=yes"]
    argv += ["-o", f"UserKnownHostsFile={lab.dir.ssh / 'known_hosts'}", "-o", "LogLevel=ERROR"]
    argv += ["-o", "StrictHostKeyChecking=yes", f"root@{lab.machine(machine).address()}", "--"]
    argv += [f"/opt/pawl/{component}/current/{component}", "--help"]
    end = time.monotonic() + SETTLES
    while True:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 255 or time.monotonic() > end:  # else it took no connection
            break
        time.sleep(1)
    found = set(
        re.findall(r"^\s+(?:-\w, )?\s*--([\w.-]+)", done.stdout + done.stderr, re.MULTILINE)
    )
    assert len(found) > 20, done.stderr
    return found


def test_what_is_on_by_default_is_what_the_api_server_serves(lab: Lab, tmp_path: Path) -> None:
    live: set[tuple[str, str]] = set()
    with client(lab, tmp_path) as api:

        def get(path: str) -> Any:
            """Asked again while the balancer has no server that is ready."""
            end = time.monotonic() + SETTLES
            while True:
                try:
                    return api.get(path).raise_for_status().json()
                except httpx.HTTPError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.5)

        served = [("/api/v1", "v1")] + [
            (f"/apis/{v['groupVersion']}", v["groupVersion"])
            for group in get("/apis")["groups"]
            for v in group["versions"]
        ]
        for path, group_version in served:
            for resource in get(path)["resources"]:
                if "/" not in resource["name"]:
                    live.add((group_version, resource["kind"]))
    at = key(MINOR)
    table = {
        (row.api_version, row.kind)
        for row in shipped().apis
        if row.what != "subresource"
        and row.default_served
        and key(row.served_from) <= at < key(row.removed)
    }
    assert live == table


@pytest.mark.parametrize(
    ("component", "machine"),
    [
        ("kube-apiserver", "cp-1"),
        ("kube-controller-manager", "cp-1"),
        ("kube-scheduler", "cp-1"),
        ("kubelet", "worker-1"),
        ("kube-proxy", "worker-1"),
        ("etcd", "etcd-1"),
    ],
)
def test_every_flag_of_the_binary_is_in_the_table(lab: Lab, component: str, machine: str) -> None:
    at = key(ETCD if component == "etcd" else MINOR)
    known = {
        row.flag
        for row in shipped().flags
        if row.component == component
        and key(row.removed) > at
        and (not row.added or key(row.added) <= at)
    }
    assert help_of(lab, machine, component) - known <= {"help", "version"}
