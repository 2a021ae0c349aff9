"""Measure rolls of a lab under load, pawl's and the plain way, beside each other in one table.

    python bench/roll.py                        # three rolls of each way, about 60 min, needs root
    python bench/roll.py --rolls 1 --ways pawl
    python bench/roll.py --table results.jsonl  # print the table of an earlier session again

For each roll a lab of 3 + 3 + 3 machines is raised anew, the prober started, the way run, the
prober stopped, and the figures of the whole stretch written to --results, one line a roll, so that
an interrupted session goes on where it was. Ways alternate, so that a busy minute of this machine
hits both.

`pawl`    plan, approve, run: etcd and control plane in place, nodes replaced.
`plain`   what a careful person types: binaries copied, then in fixed order `systemctl restart` of
          each component with its binary switched and five seconds to settle; for each node a new
          machine, `kubectl drain`, the old one removed.
`still`   nothing at all, for as long: what the machine under the lab does by itself.

After the last pawl roll the same lab tells what the programs need by themselves (bench/_needs.py);
pawl's overhead is what its run took beyond that. Read medians and ratios, not seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _needs

from pawl.core import evidence
from pawl.core.config import Config, HostConfig
from pawl.core.evidence_summary import Measured, measure
from pawl.probes import process
from pawl.probes.prober import read_config

PAWL = (sys.executable, "-m", "pawl")
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
SETTLE = 5.0
"""Seconds that the plain way waits after each restart, as runbooks say."""
STILL = 240.0
"""Seconds in which nothing is done: as long as a roll takes."""
WAYS = ("pawl", "plain", "still")
COUNTS: dict[str, str] = {
    "acked etcd writes lost": "0",
    "etcd writes failed by their deadline": "0",
    "etcd write gap, worst of a roll (ms)": "≤ 60 median, ≤ 150 worst",
    "leader changes": "1",
    "etcd members down at once": "≤ 1",
    "member ids unchanged, HashKV equal": "yes",
    "api new: lost seconds": "0",
    "api reused: lost seconds": "0",
    "api new: slowest (ms)": "≤ 100",
    "api reused: slowest (ms)": "≤ 100",
    "api requests failed": "0",
    "watch events missed": "0",
    "service web: failed": "0",
    "service backend: failed": "-",
    "seconds": "-",
    "prober's own worst delay (ms)": "-",
}
"""Figure -> target, in the order of the table."""


def call(*argv: str, quiet: bool = False) -> str:
    out = subprocess.run(
        argv,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
    )
    return out.stdout


# -- the plain way -----------------------------------------------------------------------------


class Plain:
    """Commands of a person with SSH and kubectl."""

    def __init__(self, lab: str, path: Path, etcd: str, kubernetes: str, cache: Path) -> None:
        self.lab, self.config = lab, read_config(path)
        self.versions = {"etcd": etcd} | dict.fromkeys((*CONTROL_PLANE, "kubectl"), kubernetes)
        self.kubernetes = kubernetes
        self.kubeconfig = path.parent / self.config.api.kubeconfig
        self.cache = cache

    def _options(self) -> list[str]:
        ssh = self.config.ssh
        return [
            *("-i", ssh.key, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
            *("-o", f"UserKnownHostsFile={ssh.known_hosts}", "-o", "StrictHostKeyChecking=yes"),
        ]

    def ssh(self, host: HostConfig, *argv: str) -> str:
        target = f"{self.config.ssh.user}@{host.address}"
        port = ("-p", str(self.config.ssh.port))
        return call("ssh", *self._options(), *port, target, shlex.join(argv))

    def copy(self, host: HostConfig, component: str) -> None:
        version = self.versions[component]
        directory = f"{self.config.layout.root}/{component}/{version}"
        names = ("etcd", "etcdctl", "etcdutl") if component == "etcd" else (component,)
        self.ssh(host, "mkdir", "-p", directory)
        target = f"{self.config.ssh.user}@{host.address}:{directory}/"
        files = [str(self.cache / name) for name in names]
        call("scp", "-q", *self._options(), "-P", str(self.config.ssh.port), *files, target)

    def restart(self, host: HostConfig, component: str) -> None:
        layout = self.config.layout
        link = f"{layout.root}/{component}/current"
        self.ssh(host, "ln", "-sfn", self.versions[component], link)
        self.ssh(host, "systemctl", "restart", layout.unit_of(component))
        time.sleep(SETTLE)

    def kubectl(self, *argv: str) -> None:
        call(str(self.cache / "kubectl"), f"--kubeconfig={self.kubeconfig}", *argv)

    def run(self) -> None:
        etcd, control = self.config.with_role("etcd"), self.config.with_role("control-plane")
        for host in etcd:
            self.copy(host, "etcd")
        for host in control:
            for component in CONTROL_PLANE:
                self.copy(host, component)
        for host in etcd:
            self.restart(host, "etcd")
        for component in CONTROL_PLANE:
            for host in control:
                self.restart(host, component)
        for host in self.config.with_role("worker"):
            self.replace(host)

    def replace(self, host: HostConfig) -> None:
        new = f"{host.name}-new"
        lab = ("--name", self.lab)
        image = ("--role", "worker", "--kubernetes", self.kubernetes)
        call(*PAWL, "lab", "machine", "add", new, *image, *lab, quiet=True)
        while subprocess.run(
            [
                str(self.cache / "kubectl"),
                f"--kubeconfig={self.kubeconfig}",
                *("wait", "--for=condition=Ready", f"node/{new}", "--timeout=60s"),
            ],
            capture_output=True,
        ).returncode:
            time.sleep(1)
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s")
        self.kubectl("drain", host.node_name, *flags)
        self.kubectl("delete", "node", host.node_name)
        call(*PAWL, "lab", "machine", "remove", host.name, *lab, quiet=True)


# -- a roll ------------------------------------------------------------------------------------


def pawl(path: Path, etcd: str, kubernetes: str) -> None:
    config = ("--config", str(path))
    plan = path.parent / "plan.json"
    way = ("--strategy", "nodes=replace")
    call(
        *(*PAWL, "plan", *config, "--to", kubernetes, "--etcd", etcd, *way),
        *("--out", str(plan)),
    )
    digest = json.loads(plan.read_text())["digest"]
    call(*PAWL, "approve", digest, "plan", "etcd-last-member", "control-plane-finish", *config)
    call(*PAWL, "run", digest, "--no-probe", *config)


def report(path: Path) -> dict[str, Any]:
    """The run's own report: predicted against actual time, and each step's time."""
    out = subprocess.run(
        [*PAWL, "report", "-o", "json", "--config", str(path)], text=True, stdout=subprocess.PIPE
    )
    return dict(json.loads(out.stdout))


def roll(given: argparse.Namespace, way: str, last: bool, cache: Path) -> dict[str, Any]:
    """One roll from a new lab to its figures; the lab is taken down whatever happens."""
    lab = given.lab
    call(
        *(*PAWL, "lab", "up", "--name", lab),
        *("--kubernetes", given.from_kubernetes, "--etcd", given.from_etcd),
        quiet=True,
    )
    try:
        path = Path(call(*PAWL, "lab", "config", "--name", lab).strip())
        config = read_config(path)
        handle = process.start(path, process.directory(path.parent / config.state))
        try:
            time.sleep(10)
            began = time.time()
            if way == "still":
                time.sleep(STILL)
            elif way == "plain":
                Plain(lab, path, given.etcd, given.kubernetes, cache).run()
            else:
                pawl(path, given.etcd, given.kubernetes)
            ended = time.time()
            time.sleep(5)
        finally:
            process.stop(handle)
        result: dict[str, Any] = {"way": way}
        start, end = began, ended
        if way == "pawl":
            told = report(path)
            start, end = told["start"], told["end"]
            result["phases"] = told["phases"]
            result["steps"] = told["steps"]
            result["settled"] = sum(e["settled"] for e in told["emptied"])
        records, bad = evidence.parse(handle.path.read_bytes().splitlines())
        measured = measure(records, start, end, bad)
        if measured is None:
            raise RuntimeError(f"{handle.path} holds nothing of the roll")
        result["figures"] = figures(measured)
        if way == "pawl" and last:
            result["needs"] = _needs.measure(config, given.kubernetes, _ssh_of(config), lab)
        return result
    finally:
        call(*PAWL, "lab", "down", "--name", lab, quiet=True)


def _ssh_of(config: Config) -> Callable[[HostConfig, str], list[str]]:
    """The argument list that runs a command line on a host."""

    def command(host: HostConfig, line: str) -> list[str]:
        ssh = config.ssh
        return [
            *("ssh", "-i", ssh.key, "-p", str(ssh.port), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={ssh.known_hosts}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "LogLevel=ERROR", f"{ssh.user}@{host.address}", line),
        ]

    return command


def figures(m: Measured) -> dict[str, Any]:
    e, lanes = m.etcd, {lane.name: lane for lane in m.lanes}
    found: dict[str, Any] = {
        "seconds": round(m.end - m.start, 1),
        "seconds not measured": round(sum(h.seconds for h in m.holes), 1),
        "acked etcd writes": e.acked if e else None,
        "acked etcd writes lost": e.lost if e else None,
        "etcd writes failed by their deadline": e.failed if e else None,
        "etcd write gap, worst of a roll (ms)": e.worst_gap_ms if e else None,
        "leader changes": e.leader_changes if e else None,
        "etcd members down at once": e.most_down if e else None,
        "member ids unchanged, HashKV equal": (e.ids_unchanged and e.hashes_equal) if e else None,
        "watch events missed": m.watch.missed if m.watch else None,
        "prober's own worst delay (ms)": m.control_worst_ms,
    }
    api = [lanes[n] for n in ("api new", "api reused") if n in lanes]
    found["api requests failed"] = sum(lane.failed for lane in api) if len(api) == 2 else None
    for lane in api:
        found[f"{lane.name}: requests"] = lane.requests
        found[f"{lane.name}: lost seconds"] = lane.lost_seconds if lane.requests else None
        found[f"{lane.name}: slowest (ms)"] = lane.worst_ms
        found[f"{lane.name}: slow ones"] = [
            (round(s.at - m.start, 1), s.op, round(s.ms), s.control_ms) for s in lane.slowest[:5]
        ]
    for name, lane in lanes.items():
        if name.startswith("service "):
            found[f"{name}: failed"] = lane.failed if lane.requests else None
            found[f"{name}: slowest (ms)"] = lane.worst_ms
    return found


# -- the table ---------------------------------------------------------------------------------


def cell(values: list[Any]) -> str:
    """Median / worst; "not measured" as soon as one roll has no value."""
    if not values or any(v is None for v in values):
        return "not measured"
    if all(isinstance(v, bool) for v in values):
        return "yes" if all(values) else "no"
    middle, worst = statistics.median(values), max(values)
    return f"{middle:g}" if middle == worst else f"{middle:g} / {worst:g}"


def table(results: list[dict[str, Any]]) -> str:
    by_way = {w: [r for r in results if r["way"] == w] for w in WAYS}
    by_way = {w: rs for w, rs in by_way.items() if rs or w == "pawl"}
    heads = [f"{w}, {len(rs)} rolls" for w, rs in by_way.items()]
    lines = [f"| median / worst | target | {' | '.join(heads)} |", "| --- | --- | --- | --- |"]
    for name, target in COUNTS.items():
        cells = [cell([r["figures"].get(name) for r in rs]) for rs in by_way.values()]
        lines.append(f"| {name} | {target} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *predictions(by_way["pawl"]), "", *overhead(by_way["pawl"])])


def predictions(rolls: list[dict[str, Any]]) -> list[str]:
    """Predicted against actual seconds of each phase, without waits for a person."""
    lines = ["| phase | predicted (s) | actual, median (s) | off by |", "| --- | --- | --- | --- |"]
    if not rolls:
        return []
    whole: list[tuple[float, float]] = []
    for i, phase in enumerate(rolls[0]["phases"]):
        actual = statistics.median(r["phases"][i]["actual"] for r in rolls)
        whole.append((phase["predicted"], actual))
        lines.append(_off(phase["name"], phase["predicted"], actual))
    lines.append(_off("run", sum(p for p, _ in whole), sum(a for _, a in whole)))
    return lines


def _off(name: str, predicted: float, actual: float) -> str:
    share = 100 * (actual - predicted) / predicted if predicted else 0.0
    return f"| {name} | {predicted:.0f} | {actual:.0f} | {share:+.0f} % |"


def overhead(rolls: list[dict[str, Any]]) -> list[str]:
    """What a run took beyond what its programs need, by kind of step, soaks left out."""
    needs = next((r["needs"] for r in rolls if "needs" in r), None)
    if needs is None:
        return []
    lines = ["| kind of step | count | needed (s each) | took, median (s each) |"]
    lines.append("| --- | --- | --- | --- |")
    kinds: dict[str, list[float]] = {}
    for r in rolls:
        for step in r["steps"]:
            if step["start"] is not None and step["kind"] not in ("soak", "point-of-no-return"):
                took = step["end"] - step["start"] - step["waited"]
                kinds.setdefault(step["kind"], []).append(took)
    needed = 0.0
    for kind, took in kinds.items():
        count = len(took) / len(rolls)
        # Where the tight loop was slower than pawl, pawl's own time is what is needed.
        each = min(needs.get(kind, 0.0), statistics.median(took))
        needed += each * count
        lines.append(f"| {kind} | {count:g} | {each:.1f} | {statistics.median(took):.1f} |")
    busy = statistics.median(_busy(r) for r in rolls)
    lines.append(f"| whole run, no soak | | {needed:.0f} in all | {busy:.0f} in all |")
    lines += ["", f"pawl's overhead: {100 * (busy / needed - 1):+.0f} % (target ≤ 15 %)"]
    return lines


def _busy(r: dict[str, Any]) -> float:
    """Seconds of the run without soaks, those of providers included, and waits for a person."""
    idle = sum(
        s["end"] - s["start"]
        for s in r["steps"]
        if s["start"] is not None and s["kind"] in ("soak", "point-of-no-return")
    )
    return float(r["figures"]["seconds"] - idle - r["settled"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lab", default="bench", help="name of the lab that is raised")
    parser.add_argument("--ways", default=",".join(WAYS), help="of: %(default)s")
    parser.add_argument("--rolls", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("roll-results.jsonl"))
    parser.add_argument("--table", type=Path, help="print the table of these results, and end")
    parser.add_argument("--from-kubernetes", default="1.36.0")
    parser.add_argument("--from-etcd", default="3.5.33")
    parser.add_argument("--kubernetes", default="1.37.0")
    parser.add_argument("--etcd", default="3.6.14")
    given = parser.parse_args()
    source = given.table or given.results
    results = [json.loads(x) for x in source.read_text().splitlines()] if source.exists() else []
    if given.table:
        print(table(results))
        return
    if os.geteuid() != 0:
        parser.error("a lab needs root")
    with tempfile.TemporaryDirectory() as directory:
        cache = Path(directory)
        for product, version in (("etcd", given.etcd), ("kubernetes", given.kubernetes)):
            into = ("--into", directory)
            call(*PAWL, "artifact", "fetch", product, version, *into, quiet=True)
        for number in range(given.rolls):
            for way in given.ways.split(","):
                if sum(r["way"] == way for r in results) > number:
                    continue
                found = roll(given, way, number == given.rolls - 1, cache)
                results.append(found)
                with given.results.open("a") as file:
                    file.write(json.dumps(found) + "\n")
                said = {"roll": number + 1, "way": way, **found["figures"]}
                print(said, file=sys.stderr, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
