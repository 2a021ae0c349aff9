"""Release dates, patches and end of life, from module timestamps and the CHANGELOG files.

What a module's timestamp gives is the day of the release commit. Patches are the union of two
lists, each incomplete alone: the module versions served, and the headings of the CHANGELOG files in
the newest source. End of life is the project's published rule, and marked as derived: from 1.19 a
minor has 12 months of support and 2 of maintenance, ending on the 28th of the month (the rule gives
the published date for every minor from 1.19 to 1.33). Before, it ended with its last patch.
"""

from __future__ import annotations

import re
from typing import Any

from . import sources

_HEADING = re.compile(r"^# v1\.(\d+)\.(\d+)\s*$", re.M)
FIRST = 16
CHANGELOG_SOURCES = ("v1.37.0", "v1.37.2")
"""Read for the CHANGELOG files: a .0 carries those of all older minors, a patch its own only."""


def months_after(day: str, months: int) -> str:
    """The 28th of the month that lies `months` after a day "2026-08-19"."""
    year, month, _ = (int(part) for part in day.split("-"))
    month += months
    return f"{year + (month - 1) // 12:04d}-{(month - 1) % 12 + 1:02d}-28"


def patches() -> dict[int, dict[int, str]]:
    """minor -> patch -> where it is known from."""
    found: dict[int, dict[int, str]] = {}
    for name in ("kubernetes", "api", "client-go"):
        for version in sources.versions(f"k8s.io/{name}"):
            major, minor, patch = version[1:].split(".")
            if (major == "1" or name != "kubernetes") and int(minor) >= FIRST:
                found.setdefault(int(minor), {}).setdefault(int(patch), f"module k8s.io/{name}")
    for version in CHANGELOG_SOURCES:
        changelogs = sources.module("k8s.io/kubernetes", version) / "CHANGELOG"
        for file in sorted(changelogs.glob("CHANGELOG-1.*.md")):
            for minor, patch in _HEADING.findall(file.read_text()):
                if int(minor) >= FIRST:
                    known = found.setdefault(int(minor), {})
                    known.setdefault(int(patch), f"CHANGELOG-1.{minor}.md")
    return found


def day(minor: int, patch: int) -> str:
    """The day of a release: the commit time of its module, or of one of its siblings."""
    for name, version in (
        ("k8s.io/kubernetes", f"v1.{minor}.{patch}"),
        ("k8s.io/api", f"v0.{minor}.{patch}"),
        ("k8s.io/client-go", f"v0.{minor}.{patch}"),
    ):
        if found := sources.released(name, version):
            return found
    return ""


def table() -> dict[str, Any]:
    rows = []
    for minor, known in sorted(patches().items()):
        if minor > sources.LAST_MINOR:
            continue
        latest = max(known)
        first = day(minor, 0)
        last = day(minor, latest)
        modern = minor >= 19
        rows.append(
            {
                "project": "kubernetes",
                "minor": f"1.{minor}",
                "released": first,
                "maintenance": months_after(first, 12) if modern and first else "",
                "end_of_life": months_after(first, 14) if modern and first else last,
                "end_of_life_from": "derived: 14 months, 28th" if modern else "derived: last patch",
                "latest": f"1.{minor}.{latest}",
                "latest_released": last,
                "source": f"{known[latest]}; days from module timestamps",
            }
        )
    for line in sources.ETCD:
        name, _ = sources.ETCD[line]
        own = [v for v in sources.versions(name) if v.startswith(f"v{line}.")]
        latest_version = own[-1] if own else ""
        rows.append(
            {
                "project": "etcd",
                "minor": line,
                "released": sources.released(name, f"v{line}.0") if own else "2019-08-30",
                "maintenance": "",
                "end_of_life": "",
                "end_of_life_from": "not published as a date: the two newest minors are maintained",
                "latest": latest_version.lstrip("v") or "3.4.45",
                "latest_released": sources.released(name, latest_version) if own else "",
                "source": f"module {name}"
                if own
                else "etcd releases page (3.4 has no module versions)",
            }
        )
    newest = max(row["latest_released"] for row in rows)
    return {"as_of": newest, "rows": rows}
