"""Audit records of calls to APIs that go away, folded to one fact for each client and API.

The API server marks a request for a deprecated API itself (annotations `k8s.io/deprecated` and
`k8s.io/removed-release`, since 1.19), so a record is told by its bytes and only those that matter
are parsed. APIs that go away without ever having been marked as deprecated (some alphas) are told
by their group and version as they stand in `objectRef`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from pawl.core.knowledge.rows import key
from pawl.core.scan.facts import Call
from pawl.core.scan.lens import Lens

DEPRECATED = b'"k8s.io/deprecated":"true"'
_TIME = re.compile(rb'"(?:requestReceivedTimestamp|stageTimestamp)":"([^"]{10,40})"')
_KEPT = 5
"""Namespaces and addresses that are remembered for each client: enough to find it."""


def needles(lens: Lens, running: str) -> tuple[bytes, ...]:
    """Byte strings one of which stands in every record that matters, for a cluster that runs
    minor `running` ("" for unknown)."""
    found = {DEPRECATED: None}
    for row in lens.judge.knowledge.apis:
        gone = row.removed and key(row.removed) <= key(lens.target)
        marked = running and row.deprecated and key(row.deprecated) <= key(running)
        if not gone or marked or not row.group or not lens.served(row.api_version, row.kind):
            continue
        # One string serves all of Kubernetes' own groups with the same version.
        group = ".k8s.io" if row.group.endswith(".k8s.io") else f'"apiGroup":"{row.group}'
        found[f'{group}","apiVersion":"{row.version}"'.encode()] = None
    return tuple(found)


def matching(block: bytes, wanted: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a block of whole lines that hold one of the strings, each once."""
    starts: dict[int, int] = {}
    for needle in wanted:
        at = block.find(needle)
        while at >= 0:
            start = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at)
            end = len(block) if end < 0 else end
            starts[start] = end
            at = block.find(needle, end)
    for start, end in sorted(starts.items()):
        yield block[start:end]


def time_of(line: bytes) -> str:
    """When a record was made, without parsing it; "" where it does not say."""
    found = _TIME.findall(line)
    return str(found[-1].decode("ascii", "replace")) if found else ""


class _User(msgspec.Struct):
    username: str = ""


class _Ref(msgspec.Struct, rename="camel"):
    resource: str = ""
    namespace: str = ""
    api_group: str = ""
    api_version: str = ""
    subresource: str = ""


class _Record(msgspec.Struct, rename="camel"):
    stage: str = ""
    verb: str = ""
    user: _User = msgspec.field(default_factory=_User)
    source_ips: tuple[str, ...] = msgspec.field(name="sourceIPs", default=())
    user_agent: str = ""
    object_ref: _Ref | None = None
    received: str = msgspec.field(name="requestReceivedTimestamp", default="")
    annotations: dict[str, str] | None = None


@dataclass(slots=True)
class _Client:
    verbs: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    count: int = 0
    first: str = ""
    last: str = ""
    removed: str = ""


class Calls:
    """Folds records of one host, in memory that depends on the number of clients alone."""

    def __init__(self, host: str, lens: Lens) -> None:
        self._host, self._lens = host, lens
        self._clients: dict[tuple[str, str, str, str, str], _Client] = {}
        self.unparsable = 0

    def add(self, line: bytes) -> None:
        try:
            record = msgspec.json.decode(line, type=_Record)
        except msgspec.DecodeError:
            self.unparsable += 1
            return
        ref = record.object_ref
        if ref is None or record.stage == "RequestReceived":
            return
        api_version = f"{ref.api_group}/{ref.api_version}" if ref.api_group else ref.api_version
        notes = record.annotations or {}
        removed = notes.get("k8s.io/removed-release", "")
        kind = self._lens.kind(api_version, ref.resource)
        if not removed and self._lens.dull(api_version, kind):
            return
        identity = (
            record.user.username,
            record.user_agent[:200],
            api_version,
            ref.resource,
            ref.subresource,
        )
        client = self._clients.setdefault(identity, _Client())
        client.count += 1
        client.verbs.add(record.verb)
        for kept, values in (
            (client.namespaces, (ref.namespace,)),
            (client.addresses, record.source_ips),
        ):
            kept.update(v for v in values if v and len(kept) < _KEPT)
        client.first = min(client.first or record.received, record.received)
        client.last = max(client.last, record.received)
        client.removed = max(client.removed, removed)

    def facts(self) -> tuple[Call, ...]:
        return tuple(
            Call(
                host=self._host,
                user=user,
                agent=agent,
                api_version=api_version,
                resource=resource,
                subresource=subresource,
                verbs=tuple(sorted(c.verbs)),
                namespaces=tuple(sorted(c.namespaces)),
                addresses=tuple(sorted(c.addresses)),
                count=c.count,
                first=c.first,
                last=c.last,
                removed=c.removed,
            )
            for (user, agent, api_version, resource, subresource), c in self._clients.items()
        )
