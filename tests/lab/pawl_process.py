"""Drives the `pawl` command from outside, as a person or a supervisor would.

`Pawl` runs commands against one configuration. `PawlRun` is a `pawl run` in the background whose
NDJSON events are read as they come, so that a test can kill it before or after a chosen effect.
With `hold` it also stands still at chosen instants (held_run.py), so that something can be broken
exactly there.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]
HELD = Path(__file__).with_name("held_run.py")


class Pawl:
    """The command with `--config` filled in."""

    def __init__(self, config: Path, **environment: str) -> None:
        self.config = config
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self.digest = ""
        self.steps: list[dict[str, Any]] = []
        """Of the last plan that was made, which is also what `PawlRun` runs."""

    def __call__(self, *words: str, ok: tuple[int, ...] = (0,), timeout: float = 600) -> str:
        done = subprocess.run(
            self.argv(*words),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.environment,
        )
        assert done.returncode in ok, (
            f"pawl {' '.join(words)} ended with {done.returncode}\n{done.stdout[-3000:]}\n"
            f"{done.stderr}"
        )
        return done.stdout

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pawl", *words, "--config", str(self.config)]

    def json(self, *words: str, ok: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self(*words, "-o", "json", ok=ok))

    def plan(self, *words: str, approve: Sequence[str] | None = None) -> str:
        """Make a plan and give all its approvals (or those named); returns the digest."""
        out = self.config.parent / f"plan-{time.monotonic_ns()}.json"
        self("plan", *words, "--out", str(out))
        plan = json.loads(out.read_text())
        self.digest, self.steps = str(plan["digest"]), plan["steps"]
        if approve is None:
            approve = ("plan", *{s["approval"] for s in plan["steps"] if s["approval"]})
        self("approve", self.digest, *approve)
        return self.digest

    def run(self, *words: str, ok: tuple[int, ...] = (0,), timeout: float = 600) -> str:
        """`pawl run` to its end; returns its last sentence (the reason of its end)."""
        run = PawlRun(self, "--no-probe", *words)
        code = run.finish(timeout)
        assert code in ok, f"ended with {code}\n{run.said()}"
        return run.why()


class PawlRun:
    """A `pawl run` in the background."""

    def __init__(self, pawl: Pawl, *words: str, hold: Sequence[str] = ()) -> None:
        """`hold`: instants such as "before stop etcd-1/" (when, effect, start of its target)."""
        if hold:
            command = [sys.executable, str(HELD), str(pawl.config), pawl.digest, *hold]
        else:
            command = [sys.executable, "-m", "pawl", "run", *words]
            command += [pawl.digest] if pawl.digest else []
            command += ["--config", str(pawl.config), "-o", "json"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=pawl.environment,
        )
        self.seen: list[Event] = []
        self.errors: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._complaints = threading.Thread(target=self._read_errors, daemon=True)
        self._complaints.start()

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
                self._complaints.join(5)
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

    def until(self, chosen: Callable[[Event], bool], timeout: float = 300) -> Event:
        """Read on until an event that `chosen` accepts; the run goes on meanwhile."""
        for event in self.events(timeout):
            if chosen(event):
                return event
        raise AssertionError(f"the run ended before\n{self.said()}")

    def until_held(self, timeout: float = 300) -> Event:
        """Read on until the run stands still at the next instant of `hold`."""
        return self.until(lambda e: e["event"] == "held", timeout)

    def go(self, word: str = "go") -> None:
        """Let a held run go on; "clock 3600" sets its clock forward meanwhile."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def why(self) -> str:
        """The sentence with which it ended: of its last event, or of its error."""
        ends = [str(e["why"]) for e in self.seen if e["event"] == "run-ended"]
        return ends[-1] if ends else "".join(self.errors).strip()

    def done(self, *effects: str) -> list[str]:
        """Targets of these effects (none named: of all) that it has done."""
        return [
            str(e["target"])
            for e in self.seen
            if e["event"] == "effect-done" and e["effect"] in (effects or (e["effect"],))
        ]

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
