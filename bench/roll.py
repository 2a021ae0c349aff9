"""Measure rolls of a lab: `python bench/roll.py LAB --way plain --rolls 3`.

For each roll the lab is raised anew, the prober started, the way run, the prober stopped, and the
figures of the whole stretch kept; at the end one table with the median and the worst of them. Two
ways: `pawl` (plan, approve, run) and `plain`, what a careful person types: `systemctl restart` in
fixed order with the binary switched, then `kubectl drain`, kubelet switched, `kubectl uncordon`.
Needs root and an hour of a quiet machine; nothing here is part of the package.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pawl.core import evidence
from pawl.core.config import Config, HostConfig
from pawl.core.evidence_summary import Measured, measure
from pawl.probes import process
from pawl.probes.prober import read_config

PAWL = (sys.executable, "-m", "pawl")
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def call(*argv: str) -> str:
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout


def ssh(config: Config, host: HostConfig, *argv: str) -> str:
    options = ["-i", config.ssh.key, "-p", str(config.ssh.port), "-o", "BatchMode=yes"]
    options += ["-o", f"UserKnownHostsFile={config.ssh.known_hosts}"]
    options += ["-o", "StrictHostKeyChecking=yes"]
    return call("ssh", *options, f"{config.ssh.user}@{host.address}", shlex.join(argv))


def switch(config: Config, host: HostConfig, component: str, version: str) -> None:
    """The binary must lie on the host already; `current` is switched and the unit restarted."""
    root = f"{config.layout.root}/{component}"
    ssh(config, host, "test", "-x", f"{root}/{version}/{component}")
    ssh(config, host, "ln", "-sfn", version, f"{root}/current")
    ssh(config, host, "systemctl", "restart", config.layout.unit_of(component))


def plain(path: Path, etcd: str, kubernetes: str) -> None:
    config = read_config(path)
    for host in config.with_role("etcd"):
        switch(config, host, "etcd", etcd)
        time.sleep(5)
    for component in CONTROL_PLANE:
        for host in config.with_role("control-plane"):
            switch(config, host, component, kubernetes)
            time.sleep(5)
    kubectl = ("kubectl", f"--kubeconfig={path.parent / config.api.kubeconfig}")
    for host in config.with_role("worker"):
        node = host.node_name
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s")
        call(*kubectl, "drain", node, *flags)
        switch(config, host, "kubelet", kubernetes)
        switch(config, host, "kube-proxy", kubernetes)
        call(*kubectl, "wait", "--for=condition=Ready", f"node/{node}", "--timeout=300s")
        call(*kubectl, "uncordon", node)


def pawl(path: Path, etcd: str, kubernetes: str) -> None:
    plan, config = path.parent / "plan.json", ("--config", str(path))
    call(*PAWL, "plan", *config, "--to", kubernetes, "--etcd", etcd, "--out", str(plan))
    digest = json.loads(plan.read_text())["digest"]
    call(*PAWL, "approve", digest, "plan", "etcd-last-member", "control-plane-finish", *config)
    call(*PAWL, "run", digest, *config)


def roll(lab: str, way: str, etcd: str, kubernetes: str, start: tuple[str, str]) -> Measured:
    """One roll from a new lab to its figures; the lab is taken down whatever happens."""
    call(*PAWL, "lab", "up", "--name", lab, "--kubernetes", start[0], "--etcd", start[1])
    try:
        found = [w for w in call(*PAWL, "lab", "status", "--name", lab).split() if "/" in w]
        default = Path(f"/var/lib/pawl/labs/{lab}/pawl.yaml")
        path = next((Path(w) for w in found if w.endswith("pawl.yaml")), default)
        handle = process.start(path, process.directory(path.parent / read_config(path).state))
        try:
            time.sleep(10)
            began = time.time()
            (plain if way == "plain" else pawl)(path, etcd, kubernetes)
            ended = time.time()
            time.sleep(5)
        finally:
            process.stop(handle)
        records, bad = evidence.parse(handle.path.read_bytes().splitlines())
        measured = measure(records, began, ended, bad)
        if measured is None:
            raise RuntimeError(f"{handle.path} holds nothing of the roll")
        return measured
    finally:
        call(*PAWL, "lab", "down", "--name", lab)


def figures(m: Measured) -> dict[str, float | None]:
    e = m.etcd
    found: dict[str, float | None] = {
        "seconds": round(m.end - m.start, 1),
        "seconds not measured": round(sum(h.seconds for h in m.holes), 1),
        "acked etcd writes lost": e.lost if e else None,
        "etcd writes failed": e.failed if e else None,
        "etcd write gap, worst (ms)": e.worst_gap_ms if e else None,
        "etcd leader changes": e.leader_changes if e else None,
        "etcd members down at once": e.most_down if e else None,
        "watch events missed": m.watch.missed if m.watch else None,
        "control lane, worst (ms)": m.control_worst_ms,
    }
    for lane in m.lanes:
        found[f"{lane.name}: requests failed"] = lane.failed if lane.requests else None
        found[f"{lane.name}: lost seconds"] = lane.lost_seconds if lane.requests else None
        found[f"{lane.name}: slowest (ms)"] = lane.worst_ms
    return found


def table(way: str, rolls: list[Measured]) -> str:
    every = [figures(m) for m in rolls]
    lines = [f"| {way}, {len(rolls)} rolls | median | worst |", "| --- | --- | --- |"]
    for name in every[0]:
        values = [v for f in every if (v := f.get(name)) is not None]
        if len(values) < len(every):
            lines.append(f"| {name} | not measured in all | not measured in all |")
        else:
            lines.append(f"| {name} | {statistics.median(values):g} | {max(values):g} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lab", help="name of the lab to raise for each roll")
    parser.add_argument("--way", choices=("pawl", "plain"), default="pawl")
    parser.add_argument("--rolls", type=int, default=3)
    parser.add_argument("--from-kubernetes", default="1.36.0")
    parser.add_argument("--from-etcd", default="3.5.33")
    parser.add_argument("--kubernetes", default="1.37.0")
    parser.add_argument("--etcd", default="3.6.14")
    given = parser.parse_args()
    start = (given.from_kubernetes, given.from_etcd)
    rolls = []
    for number in range(given.rolls):
        rolls.append(roll(given.lab, given.way, given.etcd, given.kubernetes, start))
        print(f"roll {number + 1}: {figures(rolls[-1])}", file=sys.stderr, flush=True)
    print(table(given.way, rolls))


if __name__ == "__main__":
    main()
