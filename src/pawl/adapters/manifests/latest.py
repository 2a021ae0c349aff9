"""Newest patches, asked of the official release site, kept beside the shipped table."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from pawl.core.errors import Unreachable
from pawl.core.knowledge.rows import Release, key
from pawl.core.version import Version

OFFICIAL = "https://dl.k8s.io/release"
SECONDS = 5.0


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh found, and on which day."""

    day: str
    rows: tuple[Release, ...]


def cache_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pawl" / "releases.json"


def kept() -> Refreshed | None:
    """The last refresh; None when there is none that can be read."""
    try:
        return msgspec.json.decode(cache_file().read_bytes(), type=Refreshed)
    except (OSError, msgspec.DecodeError):
        return None


def refresh(rows: Sequence[Release], today: str, base: str = OFFICIAL) -> Refreshed:
    """Ask for the newest patch of each minor that is supported today, and of the next one.

    Raises Unreachable with the first failure; what is kept from before stays.
    """
    found = []
    kubernetes = [r for r in rows if r.project == "kubernetes"]
    with httpx.Client(timeout=SECONDS, follow_redirects=True) as client:
        for row in kubernetes:
            if row.end_of_life and row.end_of_life < today:
                continue
            version = _stable(client, base, row.minor)
            if version and (not row.latest or Version.parse(version) > Version.parse(row.latest)):
                found.append(
                    msgspec.structs.replace(
                        row, latest=version, latest_released=today, source=f"{base}, {today}"
                    )
                )
        number = key(kubernetes[-1].minor)[1] + 1
        if version := _stable(client, base, f"1.{number}"):
            found.append(
                Release(
                    project="kubernetes",
                    minor=f"1.{number}",
                    released=today,
                    latest=version,
                    latest_released=today,
                    source=f"{base}, first seen {today}",
                )
            )
    answer = Refreshed(day=today, rows=tuple(found))
    place = cache_file()
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(f".{os.getpid()}")
    beside.write_bytes(msgspec.json.encode(answer))
    beside.replace(place)
    return answer


def _stable(client: httpx.Client, base: str, minor: str) -> str:
    try:
        answer = client.get(f"{base}/stable-{minor}.txt")
        if answer.status_code == 404:
            return ""
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Unreachable(f"{base} could not be read ({error}); the shipped data stands") from error
    text = answer.text.strip()
    if not re.fullmatch(rf"v{re.escape(minor)}\.\d+", text):
        raise Unreachable(f"{base}/stable-{minor}.txt holds {text[:40]!r}, which is no release")
    return text[1:]
