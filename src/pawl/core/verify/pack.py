"""Verification packs: a user's own scripts, load tests and experiments, in one file format.

    pack: shop
    checks:
      - {name: smoke, when: [before, after], run: [./smoke.sh], fails: [1]}
      - {name: load, when: [during], k6: load.js}
      - {name: a pod dies, when: [after], chaos: pod-kill, selector: app=frontend,
         seconds: 30, run: [./steady.sh]}

Each check is a command, a k6 script, or an experiment, which may have one of them that must hold
while it lasts. What an exit code means is declared, because "the check says no" and
"the check could not be made" are two things: the first is a fail, the second an error, and neither
is a pass.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Phase = Literal["before", "during", "after"]
Experiment = Literal[
    "pod-kill", "node-power-off", "network-delay", "network-loss", "redis-restart", "api-latency"
]
K6_FAILS = {99: "its thresholds have failed", 110: "it marked itself as failed"}
"""k6's exit codes that are a verdict; all others but 0 are errors (k6 errext/exitcodes; each was
seen with k6 1.8.1)."""
K6_THREW = ("source=stacktrace", '"source":"stacktrace"')
"""How k6 logs an exception in an iteration, as text and as JSON. It ends with 0 all the same (seen
with k6 1.8.1), and thresholds over what was never measured hold."""
ON_MACHINE: tuple[Experiment, ...] = ("node-power-off", "network-delay", "network-loss")


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check. `run` and `k6` are relative to the pack's file; no shell is involved.

    `fails` are the exit codes that mean "no". `every` repeats a check of the phase "during".
    Of an experiment: `machine` or `selector` (label=value, in `namespace`) say what it happens to,
    `seconds` how long it lasts, `milliseconds` or `percent` how strong it is.
    """

    name: str
    when: tuple[Phase, ...] = ("before", "after")
    run: tuple[str, ...] = ()
    k6: str = ""
    chaos: Experiment | None = None
    fails: tuple[int, ...] = (1,)
    timeout: Annotated[float, Meta(gt=0)] = 300.0
    every: Annotated[float, Meta(ge=1)] = 60.0
    env: dict[str, str] = {}
    machine: str = ""
    namespace: str = "default"
    selector: str = ""
    seconds: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    milliseconds: Annotated[float, Meta(ge=1, le=60_000)] = 100.0
    percent: Annotated[float, Meta(gt=0, le=100)] = 5.0

    def command(self) -> tuple[str, ...]:
        """What is run, k6 included; () for an experiment alone."""
        return ("k6", "run", "--quiet", self.k6) if self.k6 else self.run


class Pack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pack: str
    checks: tuple[Check, ...]

    def of(self, phase: Phase) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if phase in c.when)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one check said. `output` are its last lines."""

    check: str
    phase: Phase
    verdict: Literal["pass", "fail", "error"]
    why: str
    seconds: float = 0.0
    output: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: `code` as the shell counts it, negative for a signal; None when it was
    not started (`trouble` says why) or was ended at its timeout."""

    code: int | None
    seconds: float
    output: str = ""
    trouble: str = ""


def problems(pack: Pack) -> list[str]:
    """Every mistake in a pack, as sentences."""
    found = []
    names = [c.name for c in pack.checks]
    for name in sorted({n for n in names if names.count(n) > 1}):
        found.append(f"two checks are called {name!r}; give each its own name")
    for c in pack.checks:
        here = f"{c.name}:"
        if c.run and c.k6:
            found.append(f"{here} give `run` or `k6`, not both")
        if not c.run and not c.k6 and c.chaos is None:
            found.append(f"{here} does nothing; give `run`, `k6` or `chaos`")
        if not c.when:
            found.append(f"{here} `when` is empty; write before, during or after")
        if 0 in c.fails:
            found.append(f"{here} exit code 0 is a pass and cannot be in `fails`")
        if c.chaos in ON_MACHINE and not c.machine:
            found.append(f"{here} {c.chaos} needs `machine`")
        if c.chaos == "pod-kill" and not c.selector:
            found.append(f"{here} pod-kill needs `selector` (label=value)")
    return found


def judged(check: Check, phase: Phase, ended: Ended) -> Outcome:
    """The verdict of a command's end."""
    said = f"{check.name}: "
    fails = tuple(K6_FAILS) if check.k6 else check.fails
    verdict: Literal["pass", "fail", "error"]
    if ended.code == 0 and check.k6 and any(sign in ended.output for sign in K6_THREW):
        verdict = "error"
        why = f"{said}it could not be made: its script threw an exception, which k6 passes over."
    elif ended.code == 0:
        verdict, why = "pass", f"{said}it holds."
    elif ended.trouble:
        verdict, why = "error", f"{said}it could not be made: {ended.trouble}"
    elif ended.code in fails:
        what = K6_FAILS[ended.code] if check.k6 else "it says no"
        verdict, why = "fail", f"{said}{what} (exit code {ended.code})."
    elif ended.code is not None and ended.code < 0:
        verdict, why = "error", f"{said}it could not be made: signal {-ended.code} ended it."
    else:
        verdict = "error"
        why = f"{said}it could not be made: exit code {ended.code}, which is not one of {fails}."
    return Outcome(
        check=check.name,
        phase=phase,
        verdict=verdict,
        why=why,
        seconds=ended.seconds,
        output=ended.output,
    )


def worst(outcomes: tuple[Outcome, ...]) -> Literal["pass", "fail", "error", "none"]:
    """One word for all: a fail outweighs an error, and nothing at all is no pass."""
    for verdict in ("fail", "error", "pass"):
        if any(o.verdict == verdict for o in outcomes):
            return verdict
    return "none"
