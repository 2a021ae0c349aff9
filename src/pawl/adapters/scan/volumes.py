"""PersistentVolumes and StorageClasses, in full: metadata does not say which plugin they need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec

from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.objects import ListMeta
from pawl.adapters.manifests.trees import Unparsable, from_json
from pawl.core.errors import PawlError
from pawl.core.lint.finding import LintFinding
from pawl.core.lint.judge import Judge
from pawl.core.lint.node import plain
from pawl.core.scan.facts import Judged, Missed, ScanFact

PATHS = ("/api/v1/persistentvolumes", "/apis/storage.k8s.io/v1/storageclasses")
PAGE = "200"


class _Page(msgspec.Struct):
    metadata: ListMeta = ListMeta()


async def read(client: KubeClient, judge: Judge) -> AsyncIterator[tuple[ScanFact, ...]]:
    """What lint says of each, a page at a time. A list that fails becomes a `Missed`."""
    for path in PATHS:
        query = {"limit": PAGE}
        while True:
            try:
                body = await client.raw(path, query)
                yield (Judged(findings=tuple(_judged(body, judge))),)
                more = msgspec.json.decode(body, type=_Page).metadata.more
            except (PawlError, Unparsable, msgspec.DecodeError) as error:
                name = path.rpartition("/")[2]
                yield (Missed(where=f"live/{name}", why=f"{name} were not read: {error}"),)
                break
            if not more:
                break
            query["continue"] = more


def _judged(body: bytes, judge: Judge) -> Iterator[LintFinding]:
    for head, api, kind, raw in from_json(body):
        if not judge.interest(api, kind, raw):
            continue
        whole = {**msgspec.json.decode(raw), "apiVersion": api, "kind": kind}
        path = f"live/{kind}/{head.text('metadata', 'name')}"
        for finding in judge.judge(plain(whole, 0), path):
            if finding.rule == "volume-removed":
                yield finding
