"""Helm 3 releases, in Secrets or ConfigMaps, one at a time.

Of each release the deployed revision and the newest one are fetched. Of the payload only the
chart's name, the state and the manifests are decoded; a manifest may hold Secrets, so nothing of it
is kept but what lint says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.helm import PATHS, STORAGES, ChartMeta, Revision, fetch, revisions
from pawl.adapters.manifests.linting import Linter
from pawl.core.errors import PawlError
from pawl.core.lint.finding import LintFinding, NotRead
from pawl.core.lint.judge import Judge
from pawl.core.scan.facts import Missed, Note, Release, ScanFact

IN_USE = ("deployed", "failed", "pending-install", "pending-upgrade", "pending-rollback")
"""States from which a `helm upgrade` starts; superseded and uninstalled ones are history."""


class _Chart(msgspec.Struct):
    metadata: ChartMeta | None = None


class _Info(msgspec.Struct):
    status: str = ""
    last_deployed: str = ""


class _Hook(msgspec.Struct):
    manifest: str = ""


class _Release(msgspec.Struct):
    version: int = 0
    info: _Info | None = None
    chart: _Chart | None = None
    manifest: str = ""
    hooks: tuple[_Hook, ...] | None = None


def in_use(found: Sequence[Revision]) -> list[Revision]:
    """Of each release the newest revision and the newest deployed one, when in a state that an
    upgrade starts from."""
    by_release: dict[tuple[str, str, str], list[Revision]] = defaultdict(list)
    for revision in found:
        by_release[revision.storage, revision.namespace, revision.release].append(revision)
    chosen: list[Revision] = []
    for revisions_ in by_release.values():
        revisions_.sort(key=lambda r: r.number)
        newest = revisions_[-1]
        deployed = [r for r in revisions_ if r.status == "deployed"][-1:]
        picked = {r.object: r for r in (newest, *deployed) if r.status in IN_USE}
        chosen += picked.values()
    return sorted(chosen, key=lambda r: (r.namespace, r.release, r.number))


async def read(client: KubeClient, judge: Judge) -> AsyncIterator[tuple[ScanFact, ...]]:
    """Facts of all releases, one at a time. Never raises PawlError: it becomes a `Missed`."""
    for storage in STORAGES:
        try:
            found = await revisions(client, storage)
        except PawlError as error:
            yield (Missed(where=f"helm/{PATHS[storage]}", why=str(error)),)
            continue
        for revision in in_use(found):
            yield await _one(client, judge, revision)


async def _one(client: KubeClient, judge: Judge, revision: Revision) -> tuple[ScanFact, ...]:
    where = f"helm/{revision.namespace}/{revision.release}"
    try:
        release = await fetch(client, revision, _Release)
    except KubeRefused as error:
        if error.code == 404:
            return (Note(text=f"{where}: revision {revision.number} went while scanning"),)
        return (Missed(where=where, why=str(error)),)
    except PawlError as error:
        return (Missed(where=where, why=str(error)),)
    except ValueError as error:
        why = f"{revision.storage} {revision.object} holds no Helm release: {error}"
        return (Missed(where=where, why=why),)
    findings, unread = _linted(judge, release.manifest, where)
    hooks = "\n---\n".join(h.manifest for h in release.hooks or ())
    hook_findings, hooks_unread = _linted(judge, hooks, where)
    chart = release.chart.metadata if release.chart and release.chart.metadata else ChartMeta()
    fact = Release(
        namespace=revision.namespace,
        name=revision.release,
        revision=revision.number or release.version,
        status=(release.info.status if release.info else "") or revision.status,
        storage=revision.storage,
        chart=chart.name,
        chart_version=chart.version,
        app_version=chart.app_version,
        kube_version=chart.kube_version,
        updated=release.info.last_deployed if release.info else "",
        findings=findings,
        hooks=hook_findings,
    )
    whys = [f"a manifest {n.why}" for n in (*unread, *hooks_unread)]
    return (fact, *(Missed(where=where, why=why) for why in whys))


def _linted(
    judge: Judge, manifest: str, where: str
) -> tuple[tuple[LintFinding, ...], tuple[NotRead, ...]]:
    linter = Linter(judge, helm="")
    linter.data(manifest.encode(), where)
    return tuple(linter.findings), tuple(linter.not_read)
