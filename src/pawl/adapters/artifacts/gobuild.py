"""Builds the unmodified upstream commands from Go modules (gomodule.py says how and why).

The build's own caches are private and temporary by default: two Kubernetes minors grow them to
10 GB, while only some 600 MB of binaries stay. They are removed after a successful fetch, and kept
after an interrupted one, so that the next attempt goes on where it stopped; `artifact prune`
removes them too. One build at a time per cache: two at once would only slow each other down.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec

from pawl.adapters.artifacts.catalog import Platform
from pawl.adapters.artifacts.files import FileLock, remove_tree, size_of_tree
from pawl.adapters.artifacts.gomodule import (
    go_at_least,
    go_directive,
    link_flags,
    main_packages,
    throwaway_go_mod,
    upstream_modules,
)
from pawl.adapters.artifacts.gorun import Go, GoFailed, PackageCounter
from pawl.adapters.artifacts.source import GivesWay, Provided, Request
from pawl.core.errors import ArtifactError
from pawl.ports.artifacts import ArtifactProgress, Report

NEEDED = {"kubernetes": 9 << 30, "etcd": 2 << 30, "kube-state-metrics": 2 << 30}
"""Free bytes asked for before a build: private caches of one minor, and the binaries (measured:
Kubernetes 1.36 took 6.5 GB, etcd 3.6 1.2 GB, kube-state-metrics 2.15 1.3 GB; the rest is
margin)."""

MAX_CACHE = 12 << 30
"""Bytes above which kept private caches are emptied before another build."""


_UNVERIFIED = ("SECURITY ERROR", "checksum mismatch", "has been modified")
"""What go says when a module is not what go.sum or the checksum database knows."""


class _Download(msgspec.Struct, rename="pascal"):
    """What `go mod download -json` prints for each module."""

    path: str
    go_mod: str = ""
    dir: str = ""
    error: str = ""


class GoModules:
    name = "build"

    def __init__(
        self, cache_root: Path, *, go_cache: str = "", keep: bool = False, go: str = "go"
    ) -> None:
        """`go_cache`: "" for private caches, "default" for the machine's own (`go env`), or a
        directory whose `mod` and `build` are used; only private ones are ever removed. `keep`
        leaves them for another build soon after; the caller then calls `clean`."""
        self._root = cache_root / "go"
        self._lock = FileLock(cache_root / "build.lock")
        self._go_cache = go_cache
        self._keep = keep
        self._go = go

    @property
    def place(self) -> str:
        return "Go modules"

    async def provide(self, request: Request, into: Path, report: Report) -> Provided:
        if shutil.which(self._go) is None:
            raise GivesWay("there is no `go` in PATH")
        if request.platform != Platform.here():
            raise GivesWay(f"pawl builds for this machine only, not for {request.platform}")
        await self._only_one(report)
        try:
            provided = await self._build(request, into, report)
            if not self._go_cache and not self._keep:
                await anyio.to_thread.run_sync(remove_tree, self._root)
            return provided
        finally:
            self._lock.release()

    def clean(self) -> int:
        """Remove the private caches unless a build is using them; return the bytes freed."""
        if not self._lock.try_acquire():
            return 0
        try:
            freed = size_of_tree(self._root)
            remove_tree(self._root)
            return freed
        finally:
            self._lock.release()

    async def _only_one(self, report: Report) -> None:
        said = False
        while not self._lock.try_acquire():
            if not said:
                report(ArtifactProgress(text=f"another build runs (process {self._lock.holder()})"))
                said = True
            await anyio.sleep(0.5)

    async def _build(self, request: Request, into: Path, report: Report) -> Provided:
        await anyio.to_thread.run_sync(self._make_room, request)
        work = self._root / "work"
        remove_tree(work)
        work.mkdir(parents=True)
        go = Go(self._go, work, self._environment())
        try:
            await self._must_verify(go)
            upstream, sums = await self._upstream(go, request, report)
            await self._must_be_new_enough(go, request, upstream)
            (work / "go.mod").write_text(
                throwaway_go_mod(request.project, request.version, upstream)
            )
            # Upstream's own go.sum: every module it pins is checked against what its authors saw.
            (work / "go.sum").write_text(sums)
            packages = main_packages(request.components)
            report(ArtifactProgress(text=f"building {request} from Go modules"))
            counter = PackageCounter(f"building {request.project} {request.version}", report)
            listed = await go.run(
                *("list", "-mod=mod", "-trimpath", "-deps", "-f", "{{.Stale}}"),
                *packages.values(),
                line=counter.downloading,
            )
            if self._go_cache:
                # A cache that others write to: what lies unpacked there is hashed again.
                await go.run("mod", "verify")
            counter.total = listed.split().count("true")
            made = {name: into / _program_name(package) for name, package in packages.items()}
            async with counter.watching(made):
                await go.run(
                    *("build", "-mod=mod", "-v", "-trimpath", "-buildvcs=false"),
                    *("-ldflags", link_flags(request.project, request.version)),
                    *("-o", f"{into}{os.sep}"),
                    *packages.values(),
                    line=counter.compiled,
                )
        except GoFailed as error:
            if any(sign in str(error) for sign in _UNVERIFIED):
                raise ArtifactError(
                    f"Go refused what it got for {request}: {error}. No other source was asked: "
                    "find out who changed it (a module proxy, a shared module cache)."
                ) from error
            raise GivesWay(f"the build failed: {error}") from error
        finally:
            remove_tree(work)
        return {c.name: {name: made[name] for name in c.binaries} for c in request.components}

    async def _upstream(
        self, go: Go, request: Request, report: Report
    ) -> tuple[dict[str, str], str]:
        """Each upstream module's go.mod, and the go.sum files of all of them joined."""
        modules = upstream_modules(request.project, request.components)
        wanted = [f"{module}@v{request.version}" for module in modules]
        report(ArtifactProgress(text=f"downloading {', '.join(wanted)}"))
        out = await go.run("mod", "download", "-json", *wanted, may_fail=True)
        texts: dict[str, str] = {}
        sums: list[str] = []
        for item in _json_stream(out):
            if item.error or not item.go_mod:
                raise GoFailed(f"module {item.path} v{request.version}: {item.error.strip()}")
            texts[item.path] = await anyio.Path(item.go_mod).read_text()
            sum_file = anyio.Path(item.dir, "go.sum")
            if await sum_file.is_file():
                sums += (await sum_file.read_text()).splitlines()
        if missing := set(modules) - set(texts):
            raise GivesWay(f"Go could not download {', '.join(sorted(missing))}")
        return texts, "".join(f"{line}\n" for line in dict.fromkeys(sums))

    async def _must_be_new_enough(
        self, go: Go, request: Request, upstream: Mapping[str, str]
    ) -> None:
        have = (await go.run("env", "GOVERSION")).strip()
        for text in upstream.values():
            need = go_directive(text)
            if not go_at_least(have, need):
                raise GivesWay(
                    f"{request.project} {request.version} needs Go {need} or newer, and "
                    f"{shutil.which(self._go)} is {have or 'unknown'}: install Go {need}"
                )

    async def _must_verify(self, go: Go) -> None:
        """Refuse to build while Go is told not to check modules against the checksum database."""
        if (await go.run("env", "GOSUMDB")).strip() == "off":
            raise ArtifactError(
                "GOSUMDB is off, so Go would not verify what it downloads, and pawl does not "
                "build unverified code. Unset it (`go env -u GOSUMDB`, `unset GOSUMDB`), or name "
                "the address of a checksum database that you can reach."
            )

    def _make_room(self, request: Request) -> None:
        if not self._go_cache and size_of_tree(self._root) > MAX_CACHE:
            remove_tree(self._root)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        free, need = shutil.disk_usage(self._root).free, NEEDED[request.project]
        if free < need and not self._go_cache:
            raise GivesWay(
                f"a build of {request.project} needs {need >> 30} GiB free below {self._root}, "
                f"and there are {free / (1 << 30):.1f}; free some, or set PAWL_CACHE"
            )

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment |= {
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOFLAGS": "-modcacherw",
            # These name modules that are exempt from verification; no upstream module may be.
            "GOPRIVATE": "none",
            "GONOSUMDB": "none",
            "GOINSECURE": "none",
        }
        if self._go_cache != "default":
            root = Path(self._go_cache) if self._go_cache else self._root
            environment |= {"GOMODCACHE": str(root / "mod"), "GOCACHE": str(root / "build")}
        return environment


def _program_name(package: str) -> str:
    """What `go build` calls the program: the last element that is not a major version."""
    elements = package.split("/")
    return elements[-2] if re.fullmatch(r"v\d+", elements[-1]) else elements[-1]


def _json_stream(text: str) -> list[_Download]:
    """Go prints one JSON object after the other, without separators."""
    import json  # msgspec has no incremental decoder

    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value: Any
        value, at = decoder.raw_decode(text, at)
        found.append(msgspec.convert(value, _Download))
    return found
