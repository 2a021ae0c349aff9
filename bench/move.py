"""Measure what a roll of all nodes does to the pods and users of a lab, pawl's and the plain ways.

    python bench/move.py                       # one roll of each way, about 12 min, needs root
    python bench/move.py --rolls 3
    python bench/move.py --ways pawl
    python bench/move.py --table results.jsonl # print the table of an earlier session again

For each roll a lab of one API server, one etcd and two old workers is raised anew, everything is
watched from outside (_movewatch.py), and all nodes are replaced by new machines:

`pawl`      plan (`--only nodes --strategy nodes=replace`), approve, run.
`drain`     what a careful person types: for each node a new machine, `kubectl drain` in a loop, the
            old node deleted and its machine removed.
`restart`   new machines for all, the old nodes cordoned, `kubectl rollout restart` of everything at
            once, then the old machines removed.

The lab's workloads: `web` (3 replicas, its websocket too), `backend` (2, on redis), redis (one
StatefulSet pod, which cannot surge), and `solo`: one replica, and a budget that never allows an
eviction. The ways by hand have to delete that budget before they begin, or they would never end.

The lower bound is worked out afterwards by pawl's own formula from the times that were measured,
the shortest of each: a machine's order until its node is Ready, each workload's start until Ready,
its pods' ends, a machine's removal; and from the hand-over and settling that the policy demands.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from _movewatch import NAMESPACE, Api, Measurement, fixtures

from pawl.core.pace import Pace
from pawl.core.workloads.bound import lower_bound
from pawl.core.workloads.schedule import Job
from pawl.interfaces.labs import open_lab
from pawl.lab.cluster import Lab
from pawl.lab.probe import NotReady, wait
from pawl.lab.roles.load_balancer import NODE_PORTS
from pawl.lab.spec import LabSpec
from pawl.lab.versions import resolve

PAWL = (sys.executable, "-m", "pawl")
OLD, NEW, ETCD = resolve("kubernetes", "1.36"), resolve("kubernetes", "1.37"), "3.6"
SURGING = ("web", "backend", "solo")
AFTER = 8.0
"""Seconds that are still watched after the last machine has gone."""
FIGURES: dict[str, str] = {
    "pod starts / pods that had to move": "1.00",
    "missing pod-seconds of what can surge": "0",
    "http failed": "0",
    "redis-backed failed": "0",
    "single replica failed": "0",
    "websocket failed": "0",
    "budget breaches": "0",
    "moves onto an old node": "0",
    "peak starts in flight / cap": "≤ 1",
    "redis: peak new connections a second": "well under half",
    "lower bound / actual time": "≥ 0.8",
    "seconds": "-",
    "requests and messages sent": "-",
    "missing pod-seconds of redis": "-",
}
"""Figure -> target, in the order of the table."""
Way = Callable[["Roll"], None]


def call(*argv: str, quiet: bool = False) -> str:
    return subprocess.run(
        argv,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
    ).stdout


class Roll:
    """One lab from its raising to its figures. Use `with`."""

    def __init__(self, lab: Lab, workers: int = 2) -> None:
        self.lab = lab
        self.old = [f"worker-{i + 1}" for i in range(workers)]
        self.events: list[dict[str, Any]] = []
        """What `pawl run` said, where it was pawl."""
        self.cap = 0
        self.boots: list[float] = []
        self.tails: list[float] = []
        """Seconds until each new node was Ready, and of each removal, by hand."""

    def __enter__(self) -> Roll:
        up(self.lab, self.old)
        self.api = Api(self.lab)
        self.api.apply(fixtures())
        self.api.settled()
        self.api.doors_open()
        self.redis_is_known()
        return self

    def __exit__(self, *error: object) -> None:
        self.lab.down()

    def redis_is_known(self) -> None:
        """Each backend has a connection, as it would after a day."""
        address = f"{self.lab.spec.network.load_balancer}:{NODE_PORTS['backend']}"

        def asked() -> bool:
            try:
                for _ in range(6):
                    url = f"http://{address}/"
                    httpx.get(url, timeout=10, trust_env=False).raise_for_status()
            except httpx.HTTPError as error:
                raise NotReady(str(error)) from error
            return True

        wait("the backend to answer", asked)

    @property
    def config(self) -> str:
        return str(self.lab.dir.config)

    def measure(self, way: Way) -> Measurement:
        found = Measurement(self.lab, self.api, self.old, SURGING)
        found.start()
        try:
            time.sleep(3)
            self.began = time.time()
            way(self)
            self.ended = time.time()
            time.sleep(AFTER)
        finally:
            found.stop()
        return found

    # -- the ways

    def pawl(self) -> None:
        plan = self.lab.dir.path / "move-plan.json"
        config = ("--config", self.config)
        self.cap = json.loads(
            subprocess.run(
                [*PAWL, "workloads", "--surge", "all", "-o", "json", *config],
                text=True,
                stdout=subprocess.PIPE,
            ).stdout
        )["starts_at_once"]
        only = ("--only", "nodes", "--strategy", "nodes=replace")
        words = (*PAWL, "plan", "--to", NEW, *only, *config, "--out", str(plan))
        # A lab that was just raised may not be well enough at the first look.
        wait("a plan", lambda: subprocess.run(words, stdout=subprocess.PIPE).returncode == 0)
        digest = json.loads(plan.read_text())["digest"]
        call(*PAWL, "approve", digest, "plan", *config)
        self.began = time.time()
        out = subprocess.run(
            [*PAWL, "run", digest, "--no-probe", "-o", "json", *config],
            text=True,
            stdout=subprocess.PIPE,
        )
        self.events = [json.loads(line) for line in out.stdout.splitlines()]
        if out.returncode:
            raise RuntimeError(f"pawl run ended with {out.returncode}: {self.events[-3:]}")

    def drain(self) -> None:
        self._unbudget()
        for name in self.old:
            self._new(name)
            flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s")
            self.kubectl("drain", name, *flags)
            self._gone(name)

    def restart(self) -> None:
        self._unbudget()
        for name in self.old:
            self._new(name)
        self.kubectl("cordon", *self.old)
        everything = ("deployment,statefulset", "-n", NAMESPACE)
        self.kubectl("rollout", "restart", *everything)
        for kind in ("deployment", "statefulset"):
            self.kubectl("rollout", "status", kind, "-n", NAMESPACE, "--timeout=300s")
        for name in self.old:
            self._gone(name)

    def _unbudget(self) -> None:
        """What a person has to do by hand: no drain ends while this budget stands."""
        self.kubectl("delete", "pdb", "solo", "-n", NAMESPACE)

    def kubectl(self, *argv: str) -> str:
        program = self.lab.dir.path / "bin" / "kubectl"
        if not program.exists():
            into = ("--into", str(program.parent))
            call(*PAWL, "artifact", "fetch", "kubectl", NEW, *into, quiet=True)
        return call(str(program), f"--kubeconfig={self.lab.dir.kubeconfig}", *argv)

    def _new(self, name: str) -> None:
        began = time.monotonic()
        self.lab.add(f"{name}-new", "worker", versions={"kubernetes": NEW})
        self.kubectl("wait", "--for=create", f"node/{name}-new", "--timeout=60s")
        self.kubectl("wait", "--for=condition=Ready", f"node/{name}-new", "--timeout=60s")
        self.boots.append(time.monotonic() - began)

    def _gone(self, name: str) -> None:
        began = time.monotonic()
        self.kubectl("delete", "node", name)
        self.lab.remove(name)
        self.tails.append(time.monotonic() - began)


def up(lab: Lab, old: list[str]) -> None:
    """An API server of the new minor, and workers of the old one, which may follow."""
    versions = {"kubernetes": NEW, "etcd": resolve("etcd", ETCD)}
    lab.up(
        LabSpec(
            name=lab.name, index=0, versions=versions, control_planes=1, etcd_members=1, workers=0
        )
    )
    for name in old:
        lab.add(name, "worker", versions={"kubernetes": OLD})
    lab.up()  # the workloads follow the workers


# -- figures -----------------------------------------------------------------------------------


def figures(roll: Roll, m: Measurement) -> dict[str, Any]:
    move, lanes = m.movement, m.lanes
    cap = roll.cap or Pace().starts(move.moving)
    actual = roll.ended - roll.began - _soaked(roll.events)
    return {
        "pod starts / pods that had to move": round(move.amplification, 2),
        "missing pod-seconds of what can surge": round(move.dip, 1),
        "http failed": lanes["web"].failed,
        "redis-backed failed": lanes["backend"].failed,
        "single replica failed": lanes["solo"].failed,
        "websocket failed": lanes["websocket"].failed,
        "budget breaches": len(move.breaches),
        "moves onto an old node": len(move.back),
        "peak starts in flight / cap": round(move.peak / cap, 2),
        "redis: peak new connections a second": m.redis.peak,
        "lower bound / actual time": round(_least(roll, m) / actual, 2),
        "seconds": round(actual, 1),
        "requests and messages sent": sum(lane.sent for lane in lanes.values()),
        "missing pod-seconds of redis": round(move.missing["redis"], 1),
    }


def told(m: Measurement) -> dict[str, Any]:
    """What stands behind the figures, for whoever asks why."""
    return {
        "moving": m.movement.moving,
        "starts": m.movement.starts,
        "peak": m.movement.peak,
        "breaches": m.movement.breaches,
        "back": m.movement.back,
        "missing": {k: round(v, 1) for k, v in m.movement.missing.items()},
        "seconds": {k: [round(s, 1) for s in v] for k, v in m.movement.seconds.items()},
        "ends": {k: [round(s, 1) for s in v] for k, v in m.movement.ends.items()},
        "errors": {k: dict(v.errors) for k, v in m.lanes.items() if v.errors},
        "redis samples": len(m.redis.samples),
        "watches that had to go on": m.holes,
        "seconds in which this machine stood still": round(sum(b - a for a, b in m.still), 1),
    }


def _soaked(events: list[dict[str, Any]]) -> float:
    """Seconds in steps that only let time pass."""
    began: dict[str, float] = {}
    total = 0.0
    for e in events:
        if e["event"] == "step-started" and e["step"].endswith("/soak"):
            began[e["step"]] = e["at"]
        elif e["event"] == "step-done" and e["step"] in began:
            total += e["at"] - began.pop(e["step"])
    return total


def _spans(roll: Roll, m: Measurement) -> tuple[float, float]:
    """Shortest seconds from a machine's order to its node being Ready, and of a removal."""
    if not roll.events:
        return min(roll.boots), min(roll.tails)
    at: dict[tuple[str, str], float] = {}
    boots, tails = [], []
    for e in roll.events:
        key = (e.get("effect", ""), e.get("target", ""))
        if e["event"] == "effect-intended":
            at[key] = e["at"]
            if key[0] == "add-machine":
                boots.append(m.joined[key[1]] - e["at"])
        elif e["event"] == "effect-done" and key[0] == "remove-machine":
            tails.append(e["at"] - at[key])
    return min(boots), min(tails)


def _least(roll: Roll, m: Measurement) -> float:
    """The lower bound over the waves, one old node each."""
    boot, tail = _spans(roll, m)
    move, pace = m.movement, Pace()
    total = 0.0
    for node in roll.old:
        going = Counter(a for n, a in m.placed if n == node and move.seconds.get(a))
        jobs = [
            _job(app, count, m, after=("redis",) if "redis" in going else ())
            for app, count in sorted(going.items(), key=lambda x: x[0] != "redis")
        ]
        clients, cap = {"redis": move.desired["backend"]}, roll.cap or pace.starts(move.moving)
        total += boot + lower_bound(jobs, pace, clients, cap=cap).seconds + tail
    return total


def _job(app: str, count: int, m: Measurement, after: tuple[str, ...]) -> Job:
    """redis has a name: it ends before it starts again. The others stay until then."""
    start, end = min(m.movement.seconds[app]), min(m.movement.ends.get(app, [0.0]))
    hold = Pace().handover if app == "solo" else 0.0
    return Job(
        workload=app,
        rank=0,
        moves=count,
        at_once=1,
        seconds=start + end if app == "redis" else start,
        hold=hold,
        gone=end if app == "redis" else start + hold + end,
        after=after if app == "backend" else (),
        providers=("redis",) if app == "backend" else (),
    )


# -- the table ---------------------------------------------------------------------------------

WAYS: dict[str, Way] = {"pawl": Roll.pawl, "drain": Roll.drain, "restart": Roll.restart}


def table(results: list[dict[str, Any]]) -> str:
    by_way = {w: [r["figures"] for r in results if r["way"] == w] for w in WAYS}
    heads = [f"{w}, {len(rs)}" for w, rs in by_way.items()]
    lines = [f"| median / worst | target | {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for name, target in FIGURES.items():
        cells = [_cell([f[name] for f in rs], name) for rs in by_way.values()]
        lines.append(f"| {name} | {target} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float], name: str) -> str:
    if not values:
        return "not measured"
    worst = min(values) if name.startswith("lower bound") else max(values)
    middle = statistics.median(values)
    return f"{middle:g}" if middle == worst else f"{middle:g} / {worst:g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lab", default="move", help="name of the lab that is raised")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rolls", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("move-results.jsonl"))
    parser.add_argument("--table", type=Path, help="print the table of these results and end")
    given = parser.parse_args()
    if given.table:
        print(table([json.loads(line) for line in given.table.read_text().splitlines()]))
        return
    if os.geteuid() != 0:
        sys.exit("bench/move.py raises labs, and that needs root")
    results = []
    with given.results.open("a") as out:
        for number in range(given.rolls):
            for way in given.ways.split(","):
                print(f"roll {number + 1} of {given.rolls}: {way}", file=sys.stderr)
                with Roll(open_lab(given.lab)) as roll:
                    seen = roll.measure(WAYS[way])
                    result = {"way": way, "figures": figures(roll, seen), "told": told(seen)}
                results.append(result)
                out.write(json.dumps(result) + "\n")
                out.flush()
    print(table(results))


if __name__ == "__main__":
    main()
