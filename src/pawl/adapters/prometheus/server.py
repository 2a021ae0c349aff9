"""`pawl.ports.metrics.Metrics` over the HTTP API of Prometheus (v1), which Thanos, Mimir,
VictoriaMetrics and others serve too.

An answer with warnings is a partial one (a store that did not answer), and a partial answer is no
answer. Warnings of PromQL itself, about how a query is written, are not of that kind.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import httpx2
import msgspec

from pawl.adapters.prometheus.http import Http
from pawl.core.errors import Unreachable
from pawl.core.verify.series import Series, finite
from pawl.ports.metrics import Alert, AlertingRule, MetricsRefused

D = TypeVar("D")
MOST_POINTS = 10_000
"""Prometheus refuses more than 11,000 points in a series; longer ranges are asked for in parts."""


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error_type: str = msgspec.field(name="errorType", default="")
    error: str = ""
    warnings: tuple[str, ...] = ()


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None
    values: tuple[tuple[float, str], ...] = ()


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    kind: str = msgspec.field(name="resultType")
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Rule(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    query: str
    type: str = "alerting"
    state: str = "inactive"
    duration: float = 0.0
    labels: dict[str, str] = {}
    last_error: str = msgspec.field(name="lastError", default="")


class _Group(msgspec.Struct, frozen=True, kw_only=True):
    rules: tuple[_Rule, ...] = ()


class _Groups(msgspec.Struct, frozen=True, kw_only=True):
    groups: tuple[_Group, ...] = ()


class _Alert(msgspec.Struct, frozen=True, kw_only=True):
    labels: dict[str, str]
    state: str
    active_at: Any = msgspec.field(name="activeAt", default="")


class _Alerts(msgspec.Struct, frozen=True, kw_only=True):
    alerts: tuple[_Alert, ...] = ()


class PrometheusMetrics:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def query(self, query: str, at: float) -> tuple[Series, ...]:
        form = {"query": query, "time": f"{at:.3f}"}
        return _series(await self._ask("POST", "/api/v1/query", _Data, form), self._http.who)

    async def range(self, query: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        parts: dict[tuple[tuple[str, str], ...], list[Series]] = {}
        while start <= end:
            until = min(end, start + MOST_POINTS * step)
            form = {
                "query": query,
                "start": f"{start:.3f}",
                "end": f"{until:.3f}",
                "step": f"{step:g}",
            }
            data = await self._ask("POST", "/api/v1/query_range", _Data, form)
            for s in _series(data, self._http.who):
                parts.setdefault(tuple(sorted(s.labels.items())), []).append(s)
            start = until + step
        return tuple(_joined(p) for p in parts.values())

    async def rules(self) -> tuple[AlertingRule, ...]:
        found = await self._ask("GET", "/api/v1/rules?type=alert", _Groups)
        return tuple(
            AlertingRule(
                name=r.name,
                query=r.query,
                state=r.state,
                hold=r.duration,
                labels=r.labels,
                problem=r.last_error,
            )
            for g in found.groups
            for r in g.rules
            if r.type == "alerting"
        )

    async def alerts(self) -> tuple[Alert, ...]:
        found = await self._ask("GET", "/api/v1/alerts", _Alerts)
        return tuple(
            Alert(labels=a.labels, state=a.state, since=_time(a.active_at)) for a in found.alerts
        )

    async def _ask(
        self, method: str, path: str, into: type[D], form: dict[str, str] | None = None
    ) -> D:
        response = await self._http.request(method, path, form=form)
        try:
            envelope = msgspec.json.decode(response.content, type=_Envelope)
        except msgspec.DecodeError as error:
            if response.status_code != 200:
                self._refuse(response, f"HTTP {response.status_code}")
            raise Unreachable(
                f"{self._http.who} at {self._http.url} answered what is not its API: {error}"
            ) from error
        if envelope.status != "success":
            self._refuse(response, envelope.error or envelope.error_type)
        partial = [w for w in envelope.warnings if not w.startswith("PromQL ")]
        if partial:
            raise Unreachable(
                f"{self._http.who} at {self._http.url} gave only a part of the answer: {partial[0]}"
            )
        try:
            return msgspec.json.decode(envelope.data, type=into, strict=False)
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"{self._http.who} at {self._http.url} answered what pawl cannot read: {error}"
            ) from error

    def _refuse(self, response: httpx2.Response, said: str) -> NoReturn:
        """422 and 503 are also Prometheus' timeouts and aborts; they, and any 5xx or 429, pass."""
        status, where = response.status_code, f"{self._http.who} at {self._http.url}"
        if status >= 500 or status == 429 or "timed out" in said or "canceled" in said:
            raise Unreachable(f"{where} could not answer: {said}")
        mend = {
            401: "; check `metrics.token_file`",
            403: "; this account may not query",
            404: "; check `metrics.url`, which must be what stands before /api/v1",
        }.get(status, "")
        raise MetricsRefused(f"{where} refuses (HTTP {status}): {said}{mend}")


def _series(data: _Data, who: str) -> tuple[Series, ...]:
    try:
        if data.kind == "scalar":
            at, value = msgspec.json.decode(data.result, type=tuple[float, str])
            results: tuple[_Result, ...] = (_Result(value=(at, value)),)
        elif data.kind in ("vector", "matrix"):
            results = msgspec.json.decode(data.result, type=tuple[_Result, ...])
        else:
            raise MetricsRefused(f"the query gives a {data.kind}, and not numbers over time")
        made = []
        for r in results:
            points = r.values or ((r.value,) if r.value else ())
            at_, values = finite((t for t, _ in points), (_number(v) for _, v in points))
            if at_:
                made.append(Series(labels=r.metric, at=at_, values=values))
        return tuple(made)
    except (msgspec.DecodeError, ValueError) as error:
        raise Unreachable(f"{who} answered what pawl cannot read: {error}") from error


def _number(text: str) -> float:
    return {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}.get(text) or float(text)


def _joined(parts: list[Series]) -> Series:
    return Series(
        labels=parts[0].labels,
        at=tuple(t for p in parts for t in p.at),
        values=tuple(v for p in parts for v in p.values),
    )


def _time(told: Any) -> float:
    """RFC 3339 as Prometheus writes it, with nanoseconds; 0.0 when it is something else."""
    try:
        return msgspec.convert(told, type=datetime).timestamp()
    except (msgspec.ValidationError, ValueError):
        return 0.0
