"""`pawl demo`: the whole job on a real cluster, as the commands that a person would type.

The demo has no code path of its own: it runs the public commands one after another, each as a child
process, and shows each before it runs. Ctrl-C goes to the command in the foreground, which stops
safely; then the lab is taken down. Running it again at once works.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pawl.core.errors import PawlError
from pawl.interfaces.cli.options import SWITCH
from pawl.lab.store import LabDir, default_root


class _Stopped(Exception):
    """A child ended with a code other than 0, or a signal asked the demo to end."""

    def __init__(self, code: int) -> None:
        self.code = code


class Narrator:
    """Shows a command, runs it, and remembers how long each took."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.child: subprocess.Popen[bytes] | None = None
        self.stopping = False

    def title(self, text: str) -> None:
        elapsed = time.monotonic() - self.began
        print(f"\n=== {int(elapsed) // 60}:{int(elapsed) % 60:02d}  {text}", flush=True)

    def run(self, *words: str, may_fail: bool = False) -> None:
        """One `pawl` command, shown before it runs."""
        print(f"$ pawl {' '.join(words)}", flush=True)
        self.child = subprocess.Popen([sys.executable, "-m", "pawl", *words], process_group=0)
        code = self.child.wait()
        self.child = None
        if self.stopping:
            raise _Stopped(130)
        if code and not may_fail:
            raise _Stopped(code)

    @contextmanager
    def forwarding_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM reach the child, which stops safely; the demo then cleans up."""

        def forward(_number: int, _frame: object) -> None:
            self.stopping = True
            if self.child is None:
                raise _Stopped(130)
            self.child.send_signal(signal.SIGINT)

        before = {s: signal.signal(s, forward) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def demo(
    *,
    name: str = "demo",
    from_: Annotated[str, Parameter(name="--from")] = "1.36.0",
    to: str = "1.37.0",
    etcd_from: str = "3.5.33",
    etcd_to: str = "3.6.14",
    workers: int = 3,
    node_strategy: Literal["replace", "in-place"] = "replace",
    keep: Annotated[bool, SWITCH] = False,
) -> int:
    """Raise a lab, upgrade it one minor under load, print the report, take the lab down.

    For example:

        pawl demo
        pawl demo --keep                  # leaves the lab for you to look around
        pawl demo --node-strategy in-place --workers 2

    Parameters
    ----------
    name
        The lab's name; several demos may run side by side under different names.
    from_
        The Kubernetes release that the lab starts with.
    to
        The release to go to, one minor up.
    etcd_from
        The etcd release that the lab starts with.
    etcd_to
        The etcd release to go to, one minor up.
    workers
        How many worker machines.
    node_strategy
        `replace` makes new machines, `in-place` switches the kubelet on the old ones.
    keep
        Leave the lab running afterwards.
    """
    if os.geteuid() != 0:
        raise PawlError("the demo makes machines and network namespaces: run it as root")
    narrator = Narrator()
    code = 0
    with narrator.forwarding_signals():
        try:
            _upgrade(narrator, name, (from_, to), (etcd_from, etcd_to), workers, node_strategy)
        except _Stopped as stopped:
            code = stopped.code
            print(f"\nthe demo stopped (exit code {code})", file=sys.stderr)
    if keep:
        print(f"\nthe lab stays: `pawl lab status --name {name}`, `pawl lab down --name {name}`")
        return code
    narrator.title("Clean up")
    narrator.stopping = False
    config = LabDir(default_root(), name).config
    if config.exists():  # an interrupted run leaves its prober on for whoever resumes it
        narrator.run("probe", "stop", "--config", str(config), may_fail=True)
    narrator.run("lab", "down", "--name", name, may_fail=True)
    return code


def _upgrade(
    narrator: Narrator,
    name: str,
    kubernetes: tuple[str, str],
    etcd: tuple[str, str],
    workers: int,
    node_strategy: str,
) -> None:
    narrator.title(f"A real cluster: Kubernetes {kubernetes[0]}, etcd {etcd[0]}")
    narrator.run(
        *("lab", "up", "--name", name, "--kubernetes", kubernetes[0], "--etcd", etcd[0]),
        *("--workers", str(workers), "--monitoring"),
    )
    config = str(LabDir(default_root(), name).config)
    narrator.title("What runs now")
    narrator.run("status", "--config", config)
    narrator.title(f"The plan: to Kubernetes {kubernetes[1]} and etcd {etcd[1]}")
    plan = Path(config).parent / "plan.json"
    narrator.run(
        *("plan", "--config", config, "--to", kubernetes[1], "--etcd", etcd[1]),
        *("--strategy", f"nodes={node_strategy}", "--out", str(plan)),
    )
    digest = json.loads(plan.read_text())["digest"]
    narrator.title("A person approves it (the demo does, on your behalf)")
    approvals = ("plan", "etcd-last-member", "control-plane-finish")
    narrator.run("approve", digest[:12], *approvals, "--config", config)
    narrator.title("The run, with the prober watching from outside")
    narrator.run("run", digest[:12], "--config", config)
    narrator.title("The proof")
    # Its exit code is a verdict on this machine's figures, not on whether the demo worked.
    out = str(Path.cwd() / f"pawl-report-{name}")
    narrator.run("report", "--config", config, "--out", out, may_fail=True)
    print((Path(out) / "report.md").read_text())
