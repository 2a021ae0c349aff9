"""`pawl probe`: the prober by hand. `pawl run` starts and stops it by itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from cyclopts import App, Parameter

from pawl.core import evidence
from pawl.core.errors import ConfigError
from pawl.interfaces.wiring import find_config
from pawl.probes import process
from pawl.probes.prober import read_config

app = App(
    name="probe",
    help=(
        "Traffic that notices what users notice, written down by a process of its own.\n\n"
        "Examples:\n\n"
        "  pawl probe start              # detached; ends by itself after probes.max_hours\n\n"
        "  pawl probe status -o json\n\n"
        "  pawl probe stop               # reads every acknowledged write back, then ends"
    ),
)

ConfigPath = Annotated[Path | None, Parameter(name=["--config", "-c"], help="pawl.yaml to use.")]
Output = Annotated[
    Literal["table", "json", "yaml"], Parameter(name=["--output", "-o"], help="Format.")
]


def _out_dir(config: Path | None) -> tuple[Path, Path]:
    path = find_config(config)
    return path, process.directory(path.parent / read_config(path).state)


@app.command
def start(
    *,
    config: ConfigPath = None,
    max_hours: Annotated[float | None, Parameter(help="End by itself after this.")] = None,
) -> int:
    """Start the prober, or adopt the one that runs."""
    if max_hours is not None and max_hours <= 0:
        raise ConfigError(
            "--max-hours", [f"{max_hours:g} is no time; leave it out for the default"]
        )
    path, out_dir = _out_dir(config)
    adopted = process.running(out_dir)
    handle = adopted or process.start(path, out_dir, max_hours)
    verb = "runs already" if adopted else "measures"
    print(f"The prober {verb}: process {handle.pid}, evidence in {handle.path}")
    return 0


@app.command
def stop(*, config: ConfigPath = None) -> int:
    """End the prober; it reads back every acknowledged write first."""
    _, out_dir = _out_dir(config)
    handle = process.running(out_dir)
    if handle is None:
        print("No prober runs.")
        return 1
    print("Stopping; it reads back what was acknowledged ...", flush=True)
    if not process.stop(handle):
        print(f"Process {handle.pid} still reads back; it ends by itself.")
        return 3
    print(f"Evidence: {handle.path}")
    return 0


@app.command
def status(*, config: ConfigPath = None, output: Output = "table") -> int:
    """Whether it runs, and what it has seen so far. Exit code 1 when it does not run."""
    _, out_dir = _out_dir(config)
    handle = process.running(out_dir)
    if handle is None:
        if output == "table":
            print("No prober runs.")
        else:
            _show({"running": False}, output)
        return 1
    records, unreadable = evidence.parse(handle.path.read_bytes().splitlines())
    requests = [r for r in records if isinstance(r, evidence.Request)]
    writes = [r for r in records if isinstance(r, evidence.EtcdWrite)]
    ticks = [r for r in records if isinstance(r, evidence.Tick)]
    facts = {
        "running": True,
        "pid": handle.pid,
        "file": str(handle.path),
        "seconds": round(time.time() - records[0].at) if records else 0,
        "requests": len(requests),
        "requests_failed": sum(not r.ok for r in requests),
        "requests_slowest_ms": max((r.ms for r in requests), default=None),
        "etcd_writes": len(writes),
        "etcd_writes_failed": sum(not w.ok for w in writes),
        "watch_events_missed": sum(r.missed for r in records if isinstance(r, evidence.WatchSeen)),
        "cpu_seconds": ticks[-1].cpu if ticks else None,
        "unreadable_lines": unreadable,
    }
    _show(facts, output)
    return 0


def _show(facts: dict[str, object], output: str) -> None:
    if output == "json":
        print(msgspec.json.encode(facts).decode())
    elif output == "yaml":
        yaml.safe_dump(facts, sys.stdout, sort_keys=False)
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):24} {'not measured' if value is None else value}")
