"""What the journal holds: one append-only list of events per run, as a tagged union.

The journal gives attribution, attempts and timing. It is never the truth about the cluster: a
lost journal costs a report its history, not a cluster its safety.
"""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """`at` is seconds since the epoch; `run` the run's id; `epoch` the operator's fence."""

    at: float
    run: str
    epoch: int = 0


class RunStarted(Event, frozen=True, kw_only=True, tag="run-started"):
    plan: str
    """Digest of the plan."""
    operator: str
    resumed: bool = False


class Approved(Event, frozen=True, kw_only=True, tag="approved"):
    digest: str
    name: str
    """"plan" or the name of a point of no return."""
    by: str


class StepStarted(Event, frozen=True, kw_only=True, tag="step-started"):
    step: str
    attempt: int
    why: str = ""


class EffectIntended(Event, frozen=True, kw_only=True, tag="effect-intended"):
    """Journalled before the effect: after a crash it may or may not have happened."""

    step: str
    effect: str
    target: str


class EffectDone(Event, frozen=True, kw_only=True, tag="effect-done"):
    step: str
    effect: str
    target: str


class Waiting(Event, frozen=True, kw_only=True, tag="waiting"):
    step: str
    why: str
    trouble: bool = False
    """Whether the cluster is not well enough: then it counts for `policy.patience`."""


class StepDone(Event, frozen=True, kw_only=True, tag="step-done"):
    step: str
    note: str = ""


class StepFailed(Event, frozen=True, kw_only=True, tag="step-failed"):
    step: str
    why: str


class Paused(Event, frozen=True, kw_only=True, tag="paused"):
    why: str
    by: str


class Resumed(Event, frozen=True, kw_only=True, tag="resumed"):
    by: str


class Aborted(Event, frozen=True, kw_only=True, tag="aborted"):
    why: str
    by: str


class RunEnded(Event, frozen=True, kw_only=True, tag="run-ended"):
    outcome: str
    """"done", "paused", "aborted", "failed", "interrupted" or "fenced"."""
    why: str = ""


class Quarantined(Event, frozen=True, kw_only=True, tag="quarantined"):
    """A node that cannot be emptied stays as it is, closed, and the rest goes on."""

    step: str
    node: str
    why: str


class Evidence(Event, frozen=True, kw_only=True, tag="evidence"):
    """A named observation kept for the report (JSON text: before/after inventory, HashKV …)."""

    name: str
    data: str


class GatesWatched(Event, frozen=True, kw_only=True, tag="gates-watched"):
    """From here on measurements are judged. `blocking`: they may stop the run; `why` says why they
    may not."""

    blocking: bool
    why: str = ""


class GatesJudged(Event, frozen=True, kw_only=True, tag="gates-judged"):
    """One look. `failed` are the keys (gate/group) that fail, seen for the second time; `looked_at`
    is when it began: what came later it has not seen."""

    verdict: str
    why: str
    looked_at: float = 0.0
    failed: tuple[str, ...] = ()


AnyEvent = (
    RunStarted
    | Approved
    | StepStarted
    | EffectIntended
    | EffectDone
    | Waiting
    | StepDone
    | StepFailed
    | Paused
    | Resumed
    | Aborted
    | RunEnded
    | Evidence
    | Quarantined
    | GatesWatched
    | GatesJudged
)
