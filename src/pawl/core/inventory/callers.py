"""Who called the API at all, from audit records: one line for each user and user agent.

Records are not parsed: the few fields stand in a fixed order and are found by their bytes. Only a
record that the API server itself marked as deprecated is decoded. Memory depends on the number of
clients. pawl's own calls are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec

from pawl.core.inventory.facts import Call

_USER = re.compile(rb'"user":\{"username":"((?:[^"\\]|\\.)*)"')
_AGENT = re.compile(rb'"userAgent":"((?:[^"\\]|\\.)*)"')
_TIME = re.compile(rb'"requestReceivedTimestamp":"([^"]*)"')
_EARLY = b'"stage":"RequestReceived"'
_MARKED = b'"k8s.io/deprecated":"true"'
OWN = "pawl/"
LONGEST = 200
"""Characters of a user agent that are kept: it is free text from clients."""


class _Ref(msgspec.Struct, rename="camel"):
    resource: str = ""
    api_group: str = ""
    api_version: str = ""


class _Record(msgspec.Struct, rename="camel"):
    object_ref: _Ref | None = None
    annotations: dict[str, str] | None = None


@dataclass(slots=True)
class _Client:
    count: int = 0
    last: str = ""
    deprecated: dict[str, str] = field(default_factory=dict)


class Callers:
    """Folds audit logs of any number of hosts together."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], _Client] = {}
        self.records = 0
        self.unparsable = 0

    def line(self, line: bytes) -> None:
        """One record as it stands in the file."""
        if not line.strip() or _EARLY in line:
            return
        user = _USER.search(line)
        if user is None:
            self.unparsable += 1
            return
        agent = _AGENT.search(line)
        time = _TIME.search(line)
        api = removed = ""
        if _MARKED in line:
            api, removed = self._api(line)
        self.add(
            _text(user[1]),
            _text(agent[1]) if agent else "",
            1,
            _text(time[1]) if time else "",
            {api: removed} if api else {},
        )

    def add(self, user: str, agent: str, count: int, last: str, deprecated: dict[str, str]) -> None:
        """What another reader has folded already."""
        if agent.startswith(OWN):
            return
        self.records += count
        client = self._clients.setdefault((user, agent[:LONGEST]), _Client())
        client.count += count
        client.last = max(client.last, last)
        client.deprecated.update(deprecated)

    def calls(self) -> tuple[Call, ...]:
        return tuple(
            Call(
                user=user,
                agent=agent,
                count=client.count,
                last=client.last,
                deprecated=tuple(sorted(client.deprecated.items())),
            )
            for (user, agent), client in self._clients.items()
        )

    def _api(self, line: bytes) -> tuple[str, str]:
        try:
            record = msgspec.json.decode(line, type=_Record)
        except msgspec.DecodeError:
            self.unparsable += 1
            return "", ""
        ref = record.object_ref
        if ref is None:
            return "", ""
        parts = (ref.api_group, ref.api_version, ref.resource)
        removed = (record.annotations or {}).get("k8s.io/removed-release", "")
        return "/".join(p for p in parts if p), removed


def _text(raw: bytes) -> str:
    """A JSON string's content."""
    if b"\\" not in raw:
        return raw.decode("utf-8", "replace")
    try:
        return msgspec.json.decode(b'"' + raw + b'"', type=str)
    except msgspec.DecodeError:
        return raw.decode("utf-8", "replace")
