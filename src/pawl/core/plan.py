"""The plan: immutable data with a digest, reviewed by a person, run by nobody else's rules.

`Plan.digest` is the SHA-256 of the canonical JSON (sorted keys, no spaces) of everything in the
plan but the digest itself. An approval names this digest, so a changed plan never runs silently.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from pawl.core.accept import Waiver
from pawl.core.actions import AnyAction
from pawl.core.beforehand import LeftOut
from pawl.core.changelog.item import Judged
from pawl.core.findings import Finding
from pawl.core.loosening import Loosening
from pawl.core.pace import Pace

Phase = Literal["preflight", "etcd", "control-plane", "nodes", "add-ons", "landed"]
SCHEMA = 5


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest way back that is open once this step is done.

    `name` is what `pawl rollback` calls it ("old-binary", "emulation", "re-open-nodes", "snapshot",
    "none"); `how` a sentence; `seconds` the predicted cost of taking it.
    """

    name: str
    how: str
    seconds: float = 0.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One guarded step. `id` is stable across re-plans of the same work ("etcd/swap/etcd-1").

    `seconds` is the predicted time, `disruption` a sentence on who notices, `why` why here.
    `approval` names the extra approval that must stand before it starts ("" for none).
    """

    id: str
    phase: Phase
    action: AnyAction
    after: tuple[str, ...] = ()
    why: str = ""
    risk: str = ""
    disruption: str = ""
    seconds: float = 0.0
    exit: Exit = Exit(name="none", how="")
    approval: str = ""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: exact releases; empty where a part stays as it is."""

    kubernetes: str = ""
    etcd: str = ""
    etcd_strategy: Literal["in-place", "replace"] = "in-place"
    control_plane_strategy: Literal["in-place", "replace"] = "in-place"
    node_strategy: Literal["in-place", "replace"] = "in-place"
    two_step: bool = True
    only: tuple[Literal["etcd", "control-plane", "nodes"], ...] = ()
    pool: str = ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan was computed from. `fingerprint` is the SHA-256 of the plan-relevant facts."""

    taken_at: float
    fingerprint: str
    versions: dict[str, tuple[str, ...]]
    members: dict[str, str] = {}
    """etcd's member ids by host: they must be the same at the end, unless a member was rebuilt."""
    disks: dict[str, str] = {}
    """`Host.etcd_data` by host: a machine that is made anew must come back with the same."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An ordered, acyclic list of steps. Steps run one at a time in list order unless `after`
    allows more; `after` names only earlier steps.

    What was known when it was made is part of it, and of its digest: `findings` (waived ones too),
    the `waivers` that were used, every urgent release note on the way with its verdict and who
    has acknowledged it, the binaries that were `asked`, and what was `left_out`.
    """

    schema: int = SCHEMA
    cluster: str
    target: Target
    source: Source
    findings: tuple[Finding, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    notes: tuple[Judged, ...] = ()
    asked: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    loosens: tuple[Loosening, ...] = ()
    """All that is loosened while workloads move; nothing else is."""
    pace: Pace = Pace()
    """How fast they may move."""
    steps: tuple[Step, ...] = ()
    digest: str = ""

    def step(self, step_id: str) -> Step:
        for s in self.steps:
            if s.id == step_id:
                return s
        raise KeyError(step_id)

    @property
    def goes_back(self) -> bool:
        """Whether it takes back another plan: then neither gates nor packs may stop it."""
        return any(s.id.startswith("back/") for s in self.steps)

    def sealed(self) -> Plan:
        """The same plan with its digest filled in (numbers as their types say: 1 becomes 1.0)."""
        plan = msgspec.json.decode(msgspec.json.encode(self), type=Plan)
        return msgspec.structs.replace(plan, digest=digest_of(plan))


def digest_of(plan: Plan) -> str:
    """SHA-256 (hex) over the canonical JSON of the plan without its digest."""
    bare = msgspec.structs.replace(plan, digest="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def encode(plan: Plan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan, order="sorted"), indent=2) + b"\n"


def decode(data: bytes) -> Plan:
    """Decode and verify the digest. Raises ValueError that says what is wrong and where."""
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except msgspec.DecodeError as error:  # ValidationError carries the path
        raise ValueError(f"not a plan that this pawl can run: {error}") from error
    if plan.schema != SCHEMA:
        raise ValueError(f"plan schema {plan.schema}, this pawl reads schema {SCHEMA}")
    if plan.digest != digest_of(plan):
        raise ValueError(
            f"the plan was changed after it was made: its digest says {plan.digest[:12]}, "
            f"its content is {digest_of(plan)[:12]}; make a new plan"
        )
    return plan
