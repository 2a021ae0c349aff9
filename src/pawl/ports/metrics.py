"""A Prometheus-compatible server, as far as the gates read it. Nothing is ever written there.

A source that cannot be read raises `Unreachable`: it may pass, and it is never an answer. A query
that the server refuses raises `MetricsRefused` with the server's own words: a person must mend it.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from pawl.core.errors import PawlError
from pawl.core.verify.series import Series


class MetricsRefused(PawlError):
    """The server understood the request and will not answer it: a wrong query, no permission."""


class AlertingRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that the server evaluates. `state` is "inactive", "pending" or "firing"; `hold` its
    `for` in seconds; `problem` why its last evaluation failed, "" when it did not."""

    name: str
    query: str
    state: str = "inactive"
    hold: float = 0.0
    labels: dict[str, str] = {}
    problem: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is pending or firing, since when (seconds since the epoch)."""

    labels: dict[str, str]
    state: str
    since: float


class Metrics(Protocol):
    async def query(self, query: str, at: float) -> tuple[Series, ...]:
        """The instant vector at a time, one point in each series."""
        ...

    async def range(self, query: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        """The query's values from `start` to `end` each `step` seconds; without NaN."""
        ...

    async def rules(self) -> tuple[AlertingRule, ...]: ...

    async def alerts(self) -> tuple[Alert, ...]: ...
