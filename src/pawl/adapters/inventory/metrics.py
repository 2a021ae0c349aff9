"""Deprecated APIs that were asked for, by each API server's own metric: that, not by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pawl.adapters.kube.client import KubeClient
from pawl.adapters.scan import metrics
from pawl.core.inventory.facts import Requested
from pawl.core.model import Unread
from pawl.core.scan import facts as scanned

Answer = tuple[tuple[Requested, ...], tuple[Unread, ...]]


async def read(client: KubeClient, servers: Sequence[tuple[str, str]]) -> Answer:
    """`servers` are (host, URL): each counts for itself since its start."""
    answers = await asyncio.gather(*(metrics.read(client, host, url) for host, url in servers))
    found: list[Requested] = []
    unread: list[Unread] = []
    for fact in (fact for answer in answers for fact in answer):
        match fact:
            case scanned.Requested():
                group, _, version = fact.api_version.rpartition("/")
                found.append(
                    Requested(
                        server=fact.host,
                        group=group,
                        version=version,
                        resource=fact.resource,
                        removed=fact.removed,
                    )
                )
            case scanned.Missed():
                unread.append(Unread(source=fact.where, why=fact.why))
    return tuple(found), tuple(unread)
