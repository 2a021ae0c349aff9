"""`pawl.ports.silences.Silences` over Alertmanager's API v2.

Alertmanager keeps an id when only the end of a living silence moves, and makes a new one otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx2
import msgspec

from pawl.adapters.prometheus.http import Http
from pawl.core.errors import Unreachable
from pawl.ports.silences import Matcher, Silence

GONE = ("not found", "already expired")
"""Ends in 500 with this text, where 404 would do (seen with 0.25)."""


class _Matcher(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    state: str = ""


class _Silence(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    matchers: tuple[_Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    id: str = ""
    status: _Status = _Status()


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    id: str = msgspec.field(name="silenceID")


class AlertmanagerSilences:
    def __init__(self, http: Http) -> None:
        self._http = http

    async def active(self, by: str) -> tuple[Silence, ...]:
        response = await self._http.request("GET", "/api/v2/silences")
        found = self._decoded(response, tuple[_Silence, ...])
        return tuple(
            Silence(
                id=s.id,
                matchers=tuple(
                    Matcher(name=m.name, value=m.value, regex=m.is_regex) for m in s.matchers
                ),
                starts=s.starts_at.timestamp(),
                ends=s.ends_at.timestamp(),
                by=s.created_by,
                comment=s.comment,
            )
            for s in found
            if s.created_by == by and s.status.state in ("active", "pending")
        )

    async def hold(self, wanted: Silence) -> Silence:
        body = _Silence(
            id=wanted.id,
            matchers=tuple(
                _Matcher(name=m.name, value=m.value, is_regex=m.regex, is_equal=True)
                for m in wanted.matchers
            ),
            starts_at=datetime.fromtimestamp(wanted.starts, UTC),
            ends_at=datetime.fromtimestamp(wanted.ends, UTC),
            created_by=wanted.by,
            comment=wanted.comment or "no comment",
        )
        response = await self._http.request(
            "POST", "/api/v2/silences", body=msgspec.json.encode(body)
        )
        if response.status_code == 404 and wanted.id:  # it was removed meanwhile: make it anew
            return await self.hold(msgspec.structs.replace(wanted, id=""))
        made = self._decoded(response, _Made)
        return msgspec.structs.replace(wanted, id=made.id)

    async def end(self, silence_id: str) -> None:
        response = await self._http.request("DELETE", f"/api/v2/silence/{silence_id}")
        if response.status_code in (200, 404) or any(t in response.text for t in GONE):
            return
        self._decoded(response, dict)

    def _decoded(self, response: httpx2.Response, into: Any) -> Any:
        where = f"{self._http.who} at {self._http.url}"
        if response.status_code != 200:
            said = " ".join(response.text.split())[:200]
            raise Unreachable(f"{where} refuses (HTTP {response.status_code}): {said}")
        try:
            return msgspec.json.decode(response.content, type=into)
        except msgspec.DecodeError as error:
            raise Unreachable(f"{where} answered what pawl cannot read: {error}") from error
