"""Puts the resolver together from settings.

Environment: `PAWL_CACHE` (default `$XDG_CACHE_HOME/pawl`, else `~/.cache/pawl`) is where the cache
lies; `PAWL_GO_CACHE` is the default of the setting `go_cache`; `PAWL_KUBERNETES_RELEASES` and
`PAWL_ETCD_RELEASES` name mirrors that are laid out like the official release places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pawl.adapters.artifacts.cache import Cache
from pawl.adapters.artifacts.download import ETCD_RELEASES, KUBERNETES_RELEASES, OfficialRelease
from pawl.adapters.artifacts.gobuild import GoModules
from pawl.adapters.artifacts.local import LocalDirectory
from pawl.adapters.artifacts.reach import Reach
from pawl.adapters.artifacts.resolver import CACHE, Resolver
from pawl.adapters.artifacts.source import Source
from pawl.core.config import ArtifactsConfig
from pawl.core.errors import ConfigError

GIGABYTE = 10**9


def cache_home(environment: Mapping[str, str] = os.environ) -> Path:
    """pawl's cache directory, outside of any checkout."""
    if own := environment.get("PAWL_CACHE"):
        return Path(own)
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pawl"


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """The resolver with the parts that housekeeping needs."""

    resolver: Resolver
    cache: Cache
    builder: GoModules
    max_bytes: int


def artifact_store(
    config: ArtifactsConfig | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    keep_go_cache: bool = False,
) -> ArtifactStore:
    """The store that `config` describes. Raises ConfigError."""
    config = config or ArtifactsConfig()
    root = cache_home(environment) / "artifacts"
    if not root.is_absolute():
        raise ConfigError("PAWL_CACHE", [f"{root} is not an absolute path"])
    cache = Cache(root)
    builder = GoModules(
        root, go_cache=config.go_cache or environment.get("PAWL_GO_CACHE", ""), keep=keep_go_cache
    )
    known: dict[str, Source | str] = {
        CACHE: CACHE,
        "build": builder,
        "download": OfficialRelease(
            Reach(root / "reach.json"),
            kubernetes=environment.get("PAWL_KUBERNETES_RELEASES", KUBERNETES_RELEASES),
            etcd=environment.get("PAWL_ETCD_RELEASES", ETCD_RELEASES),
        ),
    }
    if config.local:
        known["local"] = LocalDirectory(Path(config.local).expanduser())
    order = [known[name] for name in config.sources if name in known]
    max_bytes = int(config.max_cache_gb * GIGABYTE)
    return ArtifactStore(Resolver(cache, order, max_bytes=max_bytes), cache, builder, max_bytes)
