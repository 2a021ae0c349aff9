"""CHANGELOG-1.N.md files: from a file, a directory, a cache, or a URL over verified TLS."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx

from pawl.adapters.config.semantics import is_loopback
from pawl.core.errors import Unreachable

OFFICIAL = "https://raw.githubusercontent.com/kubernetes/kubernetes/master/CHANGELOG"
SECONDS = 20.0
LARGEST = 8_000_000
"""Bytes. The largest CHANGELOG so far (1.20) has about 0.5 MB."""


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pawl" / "changelog"


def read(minor: str, source: str = "", *, refresh: bool = False) -> tuple[str, str]:
    """(text, where it came from) of one minor's CHANGELOG.

    `source` is a file, a directory that holds CHANGELOG-1.N.md, or a base URL; "" takes the cache
    and then the official place. Raises Unreachable with a sentence when it cannot be had.
    """
    name = f"CHANGELOG-{minor}.md"
    if source and not source.startswith(("https://", "http://")):
        path = Path(source)
        path = path / name if path.is_dir() else path
        if not path.is_dir() and path.name != name and not _holds(path, minor):
            raise Unreachable(f"{path} holds no notes of Kubernetes {minor}")
        return _text(path), str(path)
    if source.startswith("http://") and not is_loopback(httpx.URL(source).host):
        raise Unreachable(f"{source} is not read: anybody on the way could change it; use https")
    kept = cache_directory() / name
    if not source and not refresh and kept.exists():
        return _text(kept), str(kept)
    base = source or OFFICIAL
    url = base if base.endswith(".md") else f"{base.rstrip('/')}/{name}"
    try:
        answer = httpx.get(url, timeout=SECONDS, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Unreachable(
            f"{url} could not be read ({error}): give --source with a file or directory"
        ) from error
    if len(answer.content) > LARGEST:
        raise Unreachable(f"{url} is larger than {LARGEST} bytes: not a CHANGELOG")
    if not source:
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(f".{os.getpid()}")
        beside.write_text(answer.text, encoding="utf-8")
        beside.replace(kept)
    return answer.text, url


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Unreachable(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unreachable(f"{path} is not UTF-8") from error


def _holds(path: Path, minor: str) -> bool:
    return path.is_file() and bool(re.search(rf"^# v{re.escape(minor)}\.", _text(path), re.M))
