"""What a workload's method is decided from, beside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pawl.core.workloads.budgets import Budgets
from pawl.core.workloads.facts import (
    Autoscaler,
    Budget,
    Claim,
    Hook,
    Part,
    Policy,
    Quota,
    Service,
    Volume,
)

Method = Literal["surge", "surge-restart", "evict", "operator", "wait", "decide", "stay"]
METHODS: tuple[Method, ...] = (
    "surge", "surge-restart", "evict", "operator", "wait", "decide", "stay",
)  # fmt: skip


class Surroundings(Part, frozen=True, kw_only=True):
    """Everything around a workload that its method depends on."""

    budgets: Budgets
    budget_objects: Mapping[str, Budget]
    claims: Mapping[str, Claim]
    volumes: Mapping[str, Volume]
    autoscalers: Mapping[str, Autoscaler]
    services: Mapping[str, Sequence[Service]]
    """By namespace."""
    policies: Mapping[str, Sequence[Policy]]
    quotas: Mapping[str, Sequence[Quota]]
    hooks: Sequence[Hook]
    behind: Mapping[str, Sequence[str]]
    """A Service's key to the workloads behind it."""
    patience: float
    """Seconds that a drain waits for one pod."""
