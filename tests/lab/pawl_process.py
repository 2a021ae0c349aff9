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
HANG = 1800.0
"""Seconds after which a command hangs: whole runs take minutes, and several times that where the
machine is shared."""
NOT_YET = (2, 3)
"""Exit codes of a plan that is refused, or for which not everything could be read."""
SETTLES = 180.0
"""Seconds in which a cluster that was broken on purpose, or stalled, is well again."""
RUNNING: list[subprocess.Popen[str]] = []
"""Runs of this session; what a failed test leaves of them is ended (`end_all`)."""


def end_all() -> None:
    while RUNNING:
        process = RUNNING.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


class Pawl:
    """The command with `--config` filled in."""

    def __init__(self, config: Path, **environment: str) -> None:
        self.config = config
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self.digest = ""
        self.steps: list[dict[str, Any]] = []
        """Of the last plan that was made, which is also what `PawlRun` runs."""

    def __call__(self, *words: str, ok: tuple[int, ...] = (0,)) -> str:
        done = self.ended(*words)
        assert done.returncode in ok, _told(words, done)
        return done.stdout

    def ended(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
            env=self.environment,
        )

    def once(
        self, well: Callable[[subprocess.CompletedProcess[str]], bool], *words: str
    ) -> subprocess.CompletedProcess[str]:
        """The command's end, once it is as it should be: it reads a cluster in which an election,
        a probe that timed out or pods that start may be met, and says so."""
        end = time.monotonic() + SETTLES
        while not well(done := self.ended(*words)):
            assert time.monotonic() < end, _told(words, done)
            time.sleep(1)
        return done

    def whole(self) -> Any:
        """`pawl status`, once all of it could be read."""
        done = self.once(
            lambda d: d.returncode in (0, 1) and not json.loads(d.stdout)["unread"],
            *("status", "-o", "json"),
        )
        return json.loads(done.stdout)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pawl", *words, "--config", str(self.config)]

    def json(self, *words: str, ok: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self(*words, "-o", "json", ok=ok))

    def plan(self, *words: str, approve: Sequence[str] | None = None) -> str:
        """Make a plan, as soon as the cluster is well enough for it, and give all its approvals (or
        those named); returns the digest."""
        out = self.config.parent / f"plan-{time.monotonic_ns()}.json"
        made = self.once(lambda d: d.returncode not in NOT_YET, "plan", *words, "--out", str(out))
        assert made.returncode == 0, _told(words, made)
        plan = json.loads(out.read_text())
        self.digest, self.steps = str(plan["digest"]), plan["steps"]
        if approve is None:
            approve = ("plan", *{s["approval"] for s in plan["steps"] if s["approval"]})
        self("approve", self.digest, *approve)
        return self.digest

    def run(self, *words: str, ok: tuple[int, ...] = (0,)) -> str:
        """`pawl run` to its end; returns its last sentence (the reason of its end)."""
        run = PawlRun(self, "--no-probe", *words)
        code = run.finish()
        assert code in ok, f"ended with {code}\n{run.said()}"
        return run.why()


def _told(words: Sequence[str], done: subprocess.CompletedProcess[str]) -> str:
    said = f"{done.stdout[-3000:]}\n{done.stderr}"
    return f"pawl {' '.join(words)} ended with {done.returncode}\n{said}"


def held(event: Event) -> bool:
    return bool(event["event"] == "held")


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
        RUNNING.append(self.process)
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

    def events(self, timeout: float = HANG) -> Iterator[Event]:
        """Events until the process ends; TimeoutError after `timeout` seconds in all."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise TimeoutError(f"no end after {timeout} s; last: {self.seen[-3:]}") from None
            if line is None:
                self._lines.put(None)  # for whoever reads on
                self.process.wait(HANG)
                self._complaints.join(HANG)
                return
            event = json.loads(line)
            self.seen.append(event)
            yield event

    def kill_at(self, chosen: Callable[[Event], bool]) -> Event | None:
        """SIGKILL at the first event that `chosen` accepts; None if the run ended before."""
        found = self.meets(chosen)
        if found is not None:
            self.kill()
        return found

    def meets(self, chosen: Callable[[Event], bool]) -> Event | None:
        """Read on until an event that `chosen` accepts, None if the run ended before; the run goes
        on meanwhile."""
        return next((event for event in self.events() if chosen(event)), None)

    def until(self, chosen: Callable[[Event], bool]) -> Event:
        """As `meets`, where the run must come there."""
        found = self.meets(chosen)
        assert found is not None, f"the run ended before\n{self.said()}"
        return found

    def until_held(self) -> Event:
        """Read on until the run stands still at the next instant of `hold`."""
        return self.until(held)

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

    def told(self) -> str:
        """Every sentence with which it waited, and that of its end: where two causes are true, the
        one that is met first, or last, is chance."""
        waits = [str(e["why"]) for e in self.seen if e["event"] == "waiting"]
        return "\n".join([*waits, self.why()])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(HANG)

    def finish(self, timeout: float = HANG) -> int:
        for _ in self.events(timeout):
            pass
        return self.process.returncode

    def said(self) -> str:
        """All that it told, for an assertion's message."""
        tail = "\n".join(json.dumps(e) for e in self.seen[-15:])
        return f"{tail}\n{''.join(self.errors)}"
