"""Who calls an API that goes away: the API servers' metric joined with the hosts' audit logs.

`apiserver_requested_deprecated_apis` says since an API server's start that somebody called, not
who; the garbage collector and the namespace controller set it too. An audit record says who and
when. So a record of a client is proven, a metric that no record explains is likely (stale where
Kubernetes' own controllers set it by themselves), and one that only they explain is nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from pawl.core.lint.finding import Grade, LintFinding
from pawl.core.scan.facts import Audited, Call, Requested
from pawl.core.scan.lens import Lens
from pawl.core.scan.objects import OWN_MANAGERS, seconds
from pawl.core.scan.rules import lowered

AUDIT_DAYS = 7.0
"""A call older than this is a hint only: whoever made it may be mended since (a scan that holds
every old record against a cluster for 30 days is the complaint about others)."""

OWN_AGENT = "pawl/"
_NAMES = 3


def own_call(user: str, agent: str) -> bool:
    """Kubernetes itself, by agent and identity together (an agent alone is anybody's word), or a
    scan of pawl."""
    if agent.startswith(OWN_AGENT):
        return True
    return user.startswith("system:") and agent.partition("/")[0] in OWN_MANAGERS


class Requests:
    """Collects calls and metrics, and joins them at the end."""

    def __init__(self, lens: Lens, now: float, audit_days: float = AUDIT_DAYS) -> None:
        self._lens, self._now, self._days = lens, now, audit_days
        self._calls: dict[tuple[str, str, str, str], list[Call]] = defaultdict(list)
        self._own: set[tuple[str, str, str]] = set()
        self._metrics: dict[tuple[str, str], dict[str, Requested]] = defaultdict(dict)
        self._audited: dict[str, list[Audited]] = defaultdict(list)

    def call(self, call: Call) -> None:
        if own_call(call.user, call.agent):
            self._own.add((call.host, call.api_version, call.resource))
        else:
            found = (call.user, call.agent, call.api_version, call.resource)
            self._calls[found].append(call)

    def requested(self, fact: Requested) -> None:
        self._metrics[fact.api_version, fact.resource][fact.host] = fact

    def audited(self, fact: Audited) -> None:
        self._audited[fact.host].append(fact)

    def findings(self) -> Iterator[LintFinding]:
        for (_, _, api_version, resource), calls in sorted(self._calls.items()):
            hosts = self._metrics.get((api_version, resource), {})
            if found := self._client(calls, sorted(hosts)):
                yield found
        for (api_version, resource), hosts in sorted(self._metrics.items()):
            if any(c[2:] == (api_version, resource) for c in self._calls):
                continue
            unexplained = [
                f for h, f in sorted(hosts.items()) if (h, api_version, resource) not in self._own
            ]
            if unexplained and (found := self._unnamed(unexplained)):
                yield found

    def _verdict(self, api_version: str, resource: str, removed: str) -> LintFinding | None:
        kind = self._lens.kind(api_version, resource)
        verdict = self._lens.verdict(api_version, kind)
        return verdict or self._lens.announced(api_version, kind, removed)

    def _client(self, calls: list[Call], metric: list[str]) -> LintFinding | None:
        first = calls[0]
        removed = max(c.removed for c in calls)
        verdict = self._verdict(first.api_version, first.resource, removed)
        if verdict is None:
            return None
        last = max(c.last for c in calls)
        old = self._now - seconds(last) > self._days * 86400
        grade: Grade = "stale" if old else "proven"
        verbs = sorted({v for c in calls for v in c.verbs})
        count = sum(c.count for c in calls)
        hosts = sorted({c.host for c in calls})
        evidence = [
            f"{count} requests ({', '.join(verbs)}), last {_when(last)}, in the audit log of "
            + _some(hosts, 5)
        ]
        namespaces = sorted({n for c in calls for n in c.namespaces})
        addresses = sorted({a for c in calls for a in c.addresses})
        if addresses:
            evidence.append(f"from {_some(addresses)}")
        if namespaces:
            evidence.append(f"in namespace {_some(namespaces)}")
        if old:
            evidence.append(f"older than {self._days:g} days: it may be mended since")
        if metric:
            evidence.append(f"counted by the API server on {_some(metric, 5)} too")
        return msgspec.structs.replace(
            verdict,
            severity=lowered(verdict.severity) if old else verdict.severity,
            path=f"clients/{first.user}",
            name="",
            message=f"{verdict.message}; {first.agent or 'a client'} calls it as {first.user}",
            grade=grade,
            evidence=tuple(evidence),
        )

    def _unnamed(self, facts: list[Requested]) -> LintFinding | None:
        first = facts[0]
        verdict = self._verdict(first.api_version, first.resource, max(f.removed for f in facts))
        if verdict is None:
            return None
        hosts = [f.host for f in facts]
        evidence = [f"apiserver_requested_deprecated_apis on {_some(hosts, 5)}"]
        quiet = True
        swept = self._lens.preferred(first.api_version, first.resource)
        if swept:
            evidence.append(
                "Kubernetes' own garbage collector lists it in this version, so the metric alone "
                "says nothing"
            )
        for host in hosts:
            logs = self._audited.get(host, [])
            start = min((a.first for a in logs if a.first), default="")
            if start:
                evidence.append(f"the audit log of {host} has no record of it since {_when(start)}")
                quiet = quiet and self._now - seconds(start) > self._days * 86400
            else:
                quiet = False
                evidence.append(
                    f"no audit log of {host} was read, so the client is not known: an audit policy "
                    "at level Metadata for a day names it"
                )
        quiet = quiet or swept
        group, _, version = first.api_version.rpartition("/")
        name = ".".join(p for p in (first.resource, version, group) if p)
        return msgspec.structs.replace(
            verdict,
            severity=lowered(verdict.severity) if quiet else verdict.severity,
            path=f"requests/{name}",
            message=f"{verdict.message}; somebody has called it since the API server's start",
            grade="stale" if quiet else "likely",
            evidence=tuple(evidence),
        )


def _some(names: list[str], most: int = _NAMES) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _when(time: str) -> str:
    return time[:16].replace("T", " ") or "at an unknown time"
