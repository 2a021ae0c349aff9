"""What one API server counts: deprecated APIs that were requested, and stored objects.

Each server counts for itself since its start, so each is asked at its own address: through the load
balancer one would see a different third each time. The body is several megabytes on a busy server;
families stand in the order of their names, so reading stops behind the last that is wanted.
"""

from __future__ import annotations

import re
from contextlib import aclosing

from pawl.adapters.kube.client import KubeClient
from pawl.core.errors import PawlError
from pawl.core.scan.facts import Counted, Missed, Requested, ScanFact, Stored

REQUESTED = "apiserver_requested_deprecated_apis"
STORED = ("apiserver_resource_objects", "apiserver_storage_objects")
"""The count of stored objects, by its name since 1.34 and before (a server may have both)."""
_LAST = STORED[1]
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


async def read(client: KubeClient, host: str, url: str) -> tuple[ScanFact, ...]:
    facts: dict[tuple[str, ...], ScanFact] = {}
    try:
        async with aclosing(client.lines("/metrics", url)) as lines:
            async for line in lines:
                if line.startswith("#"):
                    if line.startswith("# HELP ") and line[7:] > f"{_LAST} ~":
                        break
                    continue
                if line.startswith(REQUESTED) and not line.endswith(" 0"):
                    fact = _requested(host, line)
                    facts[fact.api_version, fact.resource, fact.subresource] = fact
                elif line.startswith(STORED) and (stored := _stored(line)):
                    facts["stored", stored.resource, stored.group] = stored
    except PawlError as error:
        return (
            Missed(
                where=f"requests/{host}",
                why=f"the API server's metrics were not read: {error}",
            ),
        )
    return (Counted(what="API servers", objects=1), *facts.values())


def _requested(host: str, line: str) -> Requested:
    labels = dict(_LABEL.findall(line))
    group, version = labels.get("group", ""), labels.get("version", "")
    return Requested(
        host=host,
        api_version=f"{group}/{version}" if group else version,
        resource=labels.get("resource", ""),
        subresource=labels.get("subresource", ""),
        removed=labels.get("removed_release", ""),
    )


def _stored(line: str) -> Stored | None:
    labels = dict(_LABEL.findall(line))
    name, own = labels.get("resource", ""), labels.get("group")
    if own is None:
        resource, _, group = name.partition(".")
    else:
        resource, group = name, own
    try:
        count = int(float(line.rsplit(" ", 1)[1]))
    except ValueError:
        return None
    return Stored(resource=resource, group=group, count=count) if count > 0 else None
