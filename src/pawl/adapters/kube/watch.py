"""Kubernetes watches: a list, then its changes for as long as anybody listens.

    list at version V ──> watch from V ──> events, bookmarks (V moves on) ──> the server ends it
         ^                   ^                                                      │
         │ 410 Gone          └────────────── again from V, nothing is missed ───────┘

A connection that says nothing for `SILENCE` is taken for lost: with bookmarks a living one speaks
about once a minute.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import anyio
import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import Attachment, BudgetObject, DrainPod, Failure, NodeObject
from pawl.adapters.kube.pods import node_of, pod_of
from pawl.core.errors import Unreachable
from pawl.ports.watch import Blind, BudgetNow, Change, Gone, Item, Listed, Put, VolumeNow, What

SILENCE = 100.0
SERVED = 300
"""Seconds after which the server is asked to end a watch, so that load spreads over servers."""
FIRST_WAIT, LAST_WAIT = 0.2, 10.0
"""Seconds between tries while the API does not answer: each up to three times the one before."""
GONE = 410

_KINDS: tuple[tuple[What, str, Any], ...] = (
    ("nodes", "/api/v1/nodes", NodeObject),
    ("budgets", "/apis/policy/v1/poddisruptionbudgets", BudgetObject),
    ("volumes", "/apis/storage.k8s.io/v1/volumeattachments", Attachment),
    ("pods", "/api/v1/pods", DrainPod),
)
Tell = Callable[[Change], None]


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    object: msgspec.Raw


class _Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    resource_version: str = ""


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    metadata: _Meta


async def watch(client: KubeClient, tell: Tell) -> None:
    """All kinds side by side, until cancelled."""
    async with anyio.create_task_group() as group:
        for what, path, kind in _KINDS:
            group.start_soon(_Watch(client, tell, what, path, kind).run)


class _Watch:
    """One kind's list and watch."""

    def __init__(self, client: KubeClient, tell: Tell, what: What, path: str, kind: Any) -> None:
        self._client, self._tell = client, tell
        self._what, self._path, self._kind = what, path, kind
        self._version = ""
        self._turn = 0

    async def run(self) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                if not self._version:
                    found, self._version = await self._client.listed(self._path, self._kind)
                    self._tell(Listed(what=self._what, items=tuple(_item(o) for o in found)))
                await self._follow()
                wait = FIRST_WAIT
                continue  # the server has ended it in order
            except KubeRefused as refused:
                if refused.code == GONE:
                    self._version = ""
                    continue
                self._tell(Blind(what=self._what, why=str(refused)))
            except Unreachable as lost:
                self._tell(Blind(what=self._what, why=str(lost)))
            await anyio.sleep(wait)
            wait = min(LAST_WAIT, random.uniform(FIRST_WAIT, wait * 3))
            self._turn += 1

    async def _follow(self) -> None:
        asked = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(SERVED),
        }
        addresses = self._client.addresses
        base = addresses[self._turn % len(addresses)]
        async with aclosing(self._client.lines(self._path, base, asked, SILENCE)) as lines:
            async for line in lines:
                try:
                    self._event(msgspec.json.decode(line, type=_Event))
                except msgspec.DecodeError as error:
                    raise Unreachable(f"{self._path} sent what is no event: {error}") from error

    def _event(self, event: _Event) -> None:
        if event.type == "ERROR":
            failure = msgspec.json.decode(event.object, type=Failure)
            said = f"the API ended the watch of {self._path}: {failure.message}"
            raise KubeRefused(said, failure.code, failure)
        if event.type != "BOOKMARK":
            item = _item(msgspec.json.decode(event.object, type=self._kind))
            change = Gone if event.type == "DELETED" else Put
            self._tell(change(what=self._what, item=item))
        seen = msgspec.json.decode(event.object, type=_Version)
        self._version = seen.metadata.resource_version


def _item(o: object) -> Item:
    match o:
        case DrainPod():
            return pod_of(o)
        case NodeObject():
            return node_of(o)
        case BudgetObject():
            return BudgetNow(
                namespace=o.metadata.namespace,
                name=o.metadata.name,
                allowed=o.status.disruptions_allowed,
            )
        case Attachment():
            return VolumeNow(name=o.metadata.name, node=o.spec.node_name)
    raise TypeError(f"{type(o).__name__} is not watched")
