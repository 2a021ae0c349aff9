"""What the judge says: one reading for each gate and group, and one judgement for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from pawl.core.verify.curve import Curve
from pawl.core.verify.gates import Kind, Unit
from pawl.core.verify.series import Control

Verdict = Literal["pass", "fail", "inconclusive", "absent"]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One gate's answer for one group.

    `why` is a sentence with the numbers. `treated` and `control` are levels in `unit`, None where
    there is none. `p` is before and `q` after the correction for many tests. `smallest` is the
    smallest relative change that these data could have told. `subject` names the worst node of
    a failure that is not the whole group's. `known` marks what was as bad before.
    """

    gate: str
    group: str
    kind: Kind
    unit: Unit
    verdict: Verdict
    why: str
    against: Control = "none"
    subject: str = ""
    treated: float | None = None
    control: float | None = None
    p: float | None = None
    q: float | None = None
    samples: tuple[int, int] = (0, 0)
    smallest: float | None = None
    known: bool = False
    required: bool = False
    limit: float | None = None
    new: Curve | None = None
    old: Curve | None = None

    @property
    def key(self) -> str:
        return f"{self.gate}/{self.group}"

    @property
    def change(self) -> float | None:
        """Relative: 0.2 is 20 % more than the control."""
        if self.treated is None or self.control is None or not self.control:
            return None
        return self.treated / self.control - 1


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All readings of one moment. `errors` are sources that could not be read: never a pass."""

    at: float
    since: float
    verdict: Verdict
    why: str
    readings: tuple[Reading, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Reading, ...]:
        return tuple(r for r in self.readings if r.verdict == "fail")


COVERED = 0.5
"""A gate is told from its workloads when at least this share of them could be judged: a new pod
without a past or a neighbour shall not hold a whole cluster."""


def sum_up(
    readings: Sequence[Reading],
    *,
    at: float,
    since: float,
    errors: Sequence[str] = (),
    accepted: frozenset[str] = frozenset(),
) -> Judgement:
    """One verdict. `accepted` are the keys (gate/group) that a person has taken note of and gone
    on with: recorded, not blamed again."""
    live = [r for r in readings if r.key not in accepted]
    failed = [r for r in live if r.verdict == "fail"]
    verdict: Verdict
    if failed:
        worst = min(failed, key=lambda r: r.q if r.q is not None else 0.0)
        more = f" And {len(failed) - 1} more." if len(failed) > 1 else ""
        verdict, why = "fail", f"{worst.why}{more}"
    elif errors:
        verdict, why = "inconclusive", f"the measurements could not be read: {errors[0]}"
    elif unclear := _unclear(live):
        more = f" And {len(unclear) - 1} more." if len(unclear) > 1 else ""
        verdict, why = "inconclusive", f"{unclear[0]}{more}"
    elif not any(r.verdict == "pass" for r in live):
        verdict = "inconclusive"
        why = "nothing was measured: no gate has data, and no data never passes."
        if readings and len(live) < len(readings) and not live:
            verdict, why = "pass", "all that could be told is accepted."
    else:
        passed = sum(r.verdict == "pass" for r in live)
        gates = len({r.gate for r in live if r.verdict == "pass"})
        verdict, why = "pass", f"{gates} gates pass, over {passed} comparisons."
    return Judgement(
        at=at,
        since=since,
        verdict=verdict,
        why=why,
        readings=tuple(readings),
        errors=tuple(errors),
    )


def _unclear(readings: Sequence[Reading]) -> list[str]:
    """One sentence for each gate that cannot be told."""
    found = []
    for gate in dict.fromkeys(r.gate for r in readings):
        own = [r for r in readings if r.gate == gate]
        open_ones = [r for r in own if r.verdict == "inconclusive"]
        absent = [r for r in own if r.verdict == "absent" and r.required]
        told = sum(r.verdict == "pass" for r in own)
        if absent:
            found.append(absent[0].why)
        elif open_ones and told < COVERED * (told + len(open_ones)):
            found.append(open_ones[0].why)
    return found
