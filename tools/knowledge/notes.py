"""Urgent release notes, from the CHANGELOG files in the newest sources.

Only what blocks a plan until somebody has dealt with it is shipped ("urgent", "action required");
`pawl changelog` reads the files themselves for all the rest.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pawl.core.changelog.item import URGENT
from pawl.core.changelog.parse import between, releases
from pawl.core.version import Version

from . import sources
from .releases import CHANGELOG_SOURCES, FIRST

NAME = re.compile(r"CHANGELOG-1\.(\d+)\.md")


def table() -> dict[str, Any]:
    """{"until": minor -> its newest release that was read, "notes": rows}."""
    texts: dict[int, str] = {}
    where: dict[int, str] = {}
    for version in CHANGELOG_SOURCES:
        directory = sources.module("k8s.io/kubernetes", version) / "CHANGELOG"
        for file in sorted(directory.glob("CHANGELOG-1.*.md")):
            match = NAME.fullmatch(file.name)
            if match and int(match[1]) >= FIRST:
                texts[int(match[1])] = file.read_text()
                where[int(match[1])] = f"{file.name} in k8s.io/kubernetes {version}"
    until = {}
    for minor, text in sorted(texts.items()):
        read = [v for v, _ in releases(text) if not v.pre and v.minor == minor]
        until[f"1.{minor}"] = str(max(read))
    newest = max(Version.parse(v) for v in until.values())
    items = between(texts.values(), Version(1, FIRST - 1, 9999), newest)
    rows = [
        {**msgspec.to_builtins(item), "source": where[Version.parse(item.version).minor]}
        for item in items
        if item.category in URGENT
    ]
    return {"until": until, "notes": rows}
