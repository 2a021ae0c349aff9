"""Drives the `pawl` command from outside, as a person or a supervisor would.

`Pawl` runs commands against one configuration. `PawlRun` is a `pawl run` in the background whose
NDJSON events are read as they come, so that a test can kill it before or after a chosen effect.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Pawl:
    """The command with `--config` filled in."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def __call__(self, *words: str, ok: tuple[int, ...] = (0,), timeout: float = 600) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pawl", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode in ok, (
            f"pawl {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def json(self, *words: str, ok: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self(*words, "-o", "json", ok=ok))

    def plan(self, *words: str) -> str:
        """Make a plan and give all its approvals; returns the digest."""
        out = self.config.parent / f"plan-{time.monotonic_ns()}.json"
        self("plan", *words, "--out", str(out))
        plan = json.loads(out.read_text())
        digest = str(plan["digest"])
        self("approve", digest, "plan", *{s["approval"] for s in plan["steps"] if s["approval"]})
        return digest


class PawlRun:
    """A `pawl run` in the background."""

    def __init__(self, pawl: Pawl, *words: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pawl", "run", *words),
                *("--config", str(pawl.config), "-o", "json"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.seen: list[Event] = []
        self.errors: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def events(self, timeout: float) -> Iterator[Event]:
        """Events until the process ends; TimeoutError after `timeout` seconds in all."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise TimeoutError(f"no end after {timeout} s; last: {self.seen[-3:]}") from None
            if line is None:
                self.process.wait(30)
                return
            event = json.loads(line)
            self.seen.append(event)
            yield event

    def kill_at(self, chosen: Callable[[Event], bool], timeout: float = 600) -> Event | None:
        """SIGKILL at the first event that `chosen` accepts; None if the run ended before."""
        for event in self.events(timeout):
            if chosen(event):
                self.kill()
                return event
        return None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def finish(self, timeout: float = 900) -> int:
        for _ in self.events(timeout):
            pass
        return self.process.returncode

    def said(self) -> str:
        """All that it told, for an assertion's message."""
        tail = "\n".join(json.dumps(e) for e in self.seen[-15:])
        return f"{tail}\n{''.join(self.errors)}"
