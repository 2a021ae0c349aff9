"""`--fix`: the value of one apiVersion line changes; comments, quotes and line ends stay."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from pawl.core.lint.finding import LintFinding

Place = tuple[int, str]
"""The line of an apiVersion, and its value."""


def rewrite(data: bytes, findings: Iterable[LintFinding]) -> tuple[bytes, frozenset[Place]]:
    """`data` with the fixable ones of `findings` mended, and the places that were.

    A line is changed only where it holds the apiVersion as often as findings name it, and each of
    them may be mended in the same way: of two objects on a line one may have to stay, and a file
    that moved under us is left alone. An object that aliases repeat has a finding for each.
    """
    lines = data.split(b"\n")
    by: dict[Place, list[LintFinding]] = defaultdict(list)
    for finding in findings:
        if finding.rule.startswith("api-"):
            by[finding.line, finding.api_version].append(finding)
    mended = set()
    for (number, api), found in by.items():
        to = {f.replacement for f in found}
        if number > len(lines) or len(to) != 1 or not all(f.fixable for f in found):
            continue
        written, line = _written(api), lines[number - 1]
        if len(written.findall(line)) in (len(found), len(set(found))):
            new = to.pop().encode().replace(b"\\", b"\\\\")
            lines[number - 1] = written.sub(rb"\g<1>" + new, line)
            mended.add((number, api))
    return b"\n".join(lines), frozenset(mended)


def _written(api_version: str) -> re.Pattern[bytes]:
    """The key with this value: bare or quoted, in block or flow style."""
    return re.compile(
        rb"((?<![\w.-])apiVersion[\"']?\s*:\s*[\"']?)"
        + re.escape(api_version.encode())
        + rb"(?=[\"'\s,#}\]]|$)"
    )
