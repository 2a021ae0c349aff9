"""`pawl probe`: the prober by hand. `pawl run` starts and stops it by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from pawl.core import evidence
from pawl.core.errors import ConfigError
from pawl.interfaces.cli import exits
from pawl.interfaces.cli.options import ConfigFile, Format, Output
from pawl.interfaces.cli.tabular import document
from pawl.interfaces.wiring import find_config
from pawl.probes import process
from pawl.probes.prober import read_config

app = App(
    name="probe",
    help=(
        "Traffic that notices what users notice, written down by a process of its own.\n\n"
        "`pawl run` starts it and ends it; these are for doing so by hand."
    ),
)


def _out_dir(config: Path | None) -> tuple[Path, Path]:
    path = find_config(config)
    return path, process.directory(path.parent / read_config(path).state)


@app.command
def start(
    *,
    max_hours: Annotated[
        float | None, Parameter(help="It ends by itself after this; default probes.max_hours.")
    ] = None,
    config: ConfigFile = None,
) -> int:
    """Start the prober, detached, or adopt the one that runs.

    For example:

        pawl probe start --max-hours 1
    """
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
def stop(*, config: ConfigFile = None) -> int:
    """End the prober; it reads back every acknowledged write first.

    Exit codes: 1 when none runs, 3 when it still reads back.

    For example:

        pawl probe stop
    """
    _, out_dir = _out_dir(config)
    handle = process.running(out_dir)
    if handle is None:
        print("No prober runs.")
        return exits.FINDINGS
    print("Stopping; it reads back what was acknowledged ...", flush=True)
    if not process.stop(handle):
        print(f"Process {handle.pid} still reads back; it ends by itself.")
        return exits.INCOMPLETE
    print(f"Evidence: {handle.path}")
    return 0


@app.command
def status(*, output: Output = "table", config: ConfigFile = None) -> int:
    """Whether it runs, and what it has seen so far. Exit code 1 when it does not run.

    For example:

        pawl probe status -o json
    """
    _, out_dir = _out_dir(config)
    handle = process.running(out_dir)
    if handle is None:
        if output == "table":
            print("No prober runs.")
        else:
            _show({"running": False}, output)
        return exits.FINDINGS
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


def _show(facts: dict[str, object], output: Format) -> None:
    if output != "table":
        print(document(facts, output), end="")
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):24} {'not measured' if value is None else value}")
