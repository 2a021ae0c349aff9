"""`pawl artifact`: fetch, import, list and prune the binaries that pawl installs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from cyclopts import App, Parameter
from rich.console import Console

from pawl.adapters.artifacts.cache import IN_USE, Listed
from pawl.adapters.artifacts.catalog import BUNDLES, COMPONENTS
from pawl.adapters.artifacts.factory import artifact_store
from pawl.adapters.artifacts.local import LocalDirectory
from pawl.core.config import ArtifactsConfig
from pawl.core.errors import ArtifactError, ConfigError
from pawl.interfaces.artifact_progress import ProgressLines
from pawl.interfaces.cli.options import Format, Output
from pawl.interfaces.cli.tabular import cell, document, lines
from pawl.ports.artifacts import Artifact

SourceName = Literal["cache", "download", "build"]

app = App(
    name="artifact",
    help="Fetch and keep the binaries of Kubernetes and etcd, each verified by its SHA-256.",
)


@app.command
def fetch(
    component: Annotated[str, Parameter(help="kubernetes, etcd, or one component.")],
    versions: Annotated[list[str], Parameter(help="One release or several: 1.36.0 1.37.0.")],
    /,
    *,
    from_: Annotated[
        Path | None, Parameter(name="--from", help="Look into this directory first.")
    ] = None,
    source: Annotated[
        tuple[SourceName, ...],
        Parameter(help="Ask only these sources, in this order.", negative=()),
    ] = ("cache", "download", "build"),
    into: Annotated[
        Path | None, Parameter(help="Also put the binaries here, under their names.")
    ] = None,
    go_cache: Annotated[
        str,
        Parameter(help="For a build: `default` (the machine's own Go caches) or a directory."),
    ] = "",
    keep_go_cache: Annotated[
        bool, Parameter(help="Keep the build's private Go caches (up to 10 GB).", negative=())
    ] = False,
    output: Output = "table",
) -> None:
    """Have binaries in the cache: from there, the official release, or a build.

    Names: kubernetes (all but kubeadm), etcd (with etcdctl and etcdutl), or one component.

    For example:

        pawl artifact fetch kubernetes 1.37.0
        pawl artifact fetch etcd 3.5.33 3.6.14
        pawl artifact fetch kube-apiserver 1.37.0 --source build --go-cache default
        pawl artifact fetch kubernetes 1.37.0 --from /mnt/usb/kubernetes-1.37.0
    """
    if not versions:
        raise ArtifactError(f"name the release of {component} too, for example 1.37.0")
    config = ArtifactsConfig(
        local=str(from_) if from_ else "",
        sources=(("local", *source) if from_ else source),
        go_cache=go_cache,
    )
    store = artifact_store(config, keep_go_cache=True)

    async def run() -> list[Artifact]:
        with ProgressLines() as lines:
            got = [
                await store.resolver.fetch(component, version, progress=lines)
                for version in versions
            ]
        return got

    got = anyio.run(run)
    if not keep_go_cache:
        store.builder.clean()
    for artifact in got:
        if into is not None:
            place(artifact, into if len(got) == 1 else into / str(artifact.version))
    _show_artifacts(got, output)


@app.command(name="import")
def import_(
    directory: Annotated[Path, Parameter(help="Where they lie, each under its own name.")],
    component: Annotated[str, Parameter(help="kubernetes, etcd, or one component.")],
    version: Annotated[str, Parameter(help="Their exact release: 1.37.0.")],
    /,
    *,
    output: Output = "table",
) -> None:
    """Take binaries from a directory into the cache, replacing what is there.

    For example:

        pawl artifact import ./kubernetes-1.37.0/bin kubernetes 1.37.0
    """
    store = artifact_store()
    source = LocalDirectory(directory.resolve())

    async def run() -> Artifact:
        with ProgressLines() as lines:
            return await store.resolver.take(component, version, source, progress=lines)

    _show_artifacts([anyio.run(run)], output)


@app.command(name="list")
def list_(
    *,
    known: Annotated[
        bool, Parameter(help="List what can be fetched instead of what is there.", negative=())
    ] = False,
    output: Output = "table",
) -> None:
    """List what the cache holds, the latest used first.

    For example:

        pawl artifact list
        pawl artifact list -o json
        pawl artifact list --known
    """
    if known:
        rows = [
            {"name": name, "binaries": [b for p in parts for b in COMPONENTS[p].binaries]}
            for name, parts in (BUNDLES | {c: (c,) for c in COMPONENTS}).items()
        ]
        _show(rows, ("name", "binaries"), output)
        return
    store = artifact_store()
    items = store.cache.entries()
    _show([_row(item) for item in reversed(items)], _COLUMNS, output)
    if output == "table":
        total = sum(item.size for item in items)
        cap = store.max_bytes
        Console(stderr=True).print(
            f"{_megabytes(total)} of at most {_megabytes(cap)} in {store.cache.root}"
        )


@app.command
def prune(
    *,
    max_gb: Annotated[
        float | None, Parameter(help="Keep at most this many gigabytes; 0 removes everything.")
    ] = None,
    now: Annotated[
        bool, Parameter(help="Also what was used within the last hour.", negative=())
    ] = False,
    output: Output = "table",
) -> None:
    """Remove what was not used for the longest time, and what broken-off builds left.

    For example:

        pawl artifact prune
        pawl artifact prune --max-gb 2
    """
    if max_gb is not None and not 0 <= max_gb < float("inf"):
        raise ConfigError("--max-gb", [f"{max_gb:g} is no size; 0 removes everything"])
    store = artifact_store()
    store.cache.prepare()
    limit = store.max_bytes if max_gb is None else int(max_gb * 10**9)
    removed = store.cache.prune(limit, grace=0.0 if now else IN_USE)
    freed = store.builder.clean()
    _show([_row(item) for item in removed], _COLUMNS, output)
    if output == "table":
        Console(stderr=True).print(
            f"{len(removed)} artefacts removed, {_megabytes(freed)} of build caches"
        )


def place(artifact: Artifact, directory: Path) -> None:
    """Put the binaries into a directory under their names, each complete or not there."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in artifact.files:
        temporary = directory / f".{file.name}.{os.getpid()}"
        try:
            shutil.copyfile(file.path, temporary)
            temporary.chmod(0o755)
            temporary.replace(directory / file.name)
        finally:
            temporary.unlink(missing_ok=True)


_COLUMNS = ("component", "version", "platform", "size", "used", "source")


def _row(item: Listed) -> dict[str, Any]:
    entry = item.entry
    return {
        "component": entry.component,
        "version": entry.version,
        "platform": entry.platform,
        "size": item.size,
        "stored": _moment(entry.stored),
        "used": _moment(item.used),
        "source": entry.source,
        "files": {name: held.sha256 for name, held in entry.files.items()},
    }


def _show_artifacts(artifacts: list[Artifact], output: Format) -> None:
    rows = [
        {
            "name": file.name,
            "version": str(artifact.version),
            "size": file.size,
            "sha256": file.sha256,
            "path": str(file.path),
            "source": artifact.source,
        }
        for artifact in artifacts
        for file in artifact.files
    ]
    _show(rows, ("name", "version", "size", "sha256"), output)


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], output: Format) -> None:
    if output != "table":
        print(document(rows, output), end="")
        return
    sized = [{**row, "size": _megabytes(row["size"])} if "size" in row else row for row in rows]
    lines([[cell(row[name]) for name in columns] for row in sized], columns)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
