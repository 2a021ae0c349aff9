"""`--fix`: the value of one apiVersion line changes; comments, quotes and line ends stay."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pawl.core.lint.finding import LintFinding


def rewrite(data: bytes, findings: Iterable[LintFinding]) -> tuple[bytes, set[int]]:
    """`data` with the fixable ones of `findings` mended, and the lines that were changed.

    A line is changed only where it holds the apiVersion that the finding names, so a file that
    moved under us is left alone.
    """
    lines = data.split(b"\n")
    changed: set[int] = set()
    for finding in findings:
        if not finding.fixable or finding.line in changed or finding.line > len(lines):
            continue
        pattern = re.compile(
            rb"(apiVersion[\"']?\s*:\s*[\"']?)"
            + re.escape(finding.api_version.encode())
            + rb"(?=[\"'\s,#}]|$)"
        )
        line = lines[finding.line - 1]
        if match := pattern.search(line):
            end = match.end(1) + len(finding.api_version.encode())
            lines[finding.line - 1] = (
                line[: match.end(1)] + finding.replacement.encode() + line[end:]
            )
            changed.add(finding.line)
    return b"\n".join(lines), changed
