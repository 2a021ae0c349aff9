"""A `pawl run` that stands still at chosen instants, and goes on when it is told to.

    python held_run.py CONFIG PLAN "before stop etcd-1/" "after switch etcd-2/" …

It takes the command's own path, with a hook around each effect and a clock that can be set. At an
instant that was named (when, effect, start of its target; each once) it prints one line more than
`pawl run -o json` does, {"event": "held", …}, and reads a line: "go", or "clock SECONDS" to set
its clock by so much first. Meanwhile it lives: its Lease is renewed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from pawl.adapters.clock import SystemClock
from pawl.core.errors import PawlError
from pawl.engine.effects import Effect
from pawl.interfaces.cli.choosing import choose
from pawl.interfaces.cli.main import exit_code
from pawl.interfaces.cli.run import drive
from pawl.interfaces.wiring import open_session


class MovableClock(SystemClock):
    """The machine's time and an offset, as after somebody has set the clock."""

    offset = 0.0

    def now(self) -> float:
        return super().now() + self.offset


class Hold:
    def __init__(self, instants: list[str], clock: MovableClock) -> None:
        self._instants = instants
        self._clock = clock

    async def before(self, effect: Effect) -> None:
        await self._at("before", effect)

    async def after(self, effect: Effect) -> None:
        await self._at("after", effect)

    async def _at(self, when: str, effect: Effect) -> None:
        here = f"{when} {effect.name} {effect.target}"
        found = next((i for i in self._instants if here.startswith(i)), None)
        if found is None:
            return
        self._instants.remove(found)
        event = {"event": "held", "when": when, "effect": effect.name, "target": effect.target}
        print(json.dumps(event), flush=True)
        while (word := (await self._line()).strip()) != "go":
            what, _, seconds = word.partition(" ")
            assert what == "clock", word
            self._clock.offset += float(seconds)

    @staticmethod
    async def _line() -> str:
        line = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line:
            raise SystemExit("whoever held this run is gone")
        return line


async def main(config: Path, what: str, instants: list[str]) -> int:
    clock = MovableClock()
    async with open_session(config) as session:
        session.clock = clock  # before anything else of the session is made
        plan, run = choose(session.journal, what)
        return await drive(session, plan, run, False, "json", Hold(instants, clock), checked=True)


if __name__ == "__main__":
    try:
        code = anyio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except PawlError as error:
        print(f"pawl: {error}", file=sys.stderr)
        code = exit_code(error)
    raise SystemExit(code)
