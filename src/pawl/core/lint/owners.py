"""Who owns a file: CODEOWNERS as GitHub and GitLab read it (the last pattern that matches wins)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Owners:
    rules: tuple[tuple[re.Pattern[str], str], ...] = ()

    def of(self, path: str) -> str:
        """Owners of a path relative to the repository's root; "" for none."""
        for pattern, who in reversed(self.rules):
            if pattern.search(path):
                return who
        return ""


def parse(text: str) -> Owners:
    rules = []
    for raw in text.splitlines():
        line = raw.split(" #")[0].strip()
        if not line or line.startswith(("#", "[")):
            continue
        pattern, *who = line.split()
        rules.append((_regex(pattern), " ".join(who)))
    return Owners(tuple(rules))


def _regex(pattern: str) -> re.Pattern[str]:
    anchored = pattern.startswith("/") or "/" in pattern.rstrip("/")
    body = pattern.strip("/")
    out = ""
    i = 0
    while i < len(body):
        if body.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif body.startswith("**", i):
            out, i = out + ".*", i + 2
        elif body[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif body[i] == "?":
            out, i = out + "[^/]", i + 1
        else:
            out, i = out + re.escape(body[i]), i + 1
    return re.compile(("^" if anchored else "(?:^|/)") + out + r"(?:/|$)")
