"""A report as text, Markdown, SARIF 2.1.0 and JUnit. JSON is the report itself."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import msgspec

from pawl.core.findings import Severity
from pawl.core.lint.finding import RULES, LintFinding, Report

_SARIF_LEVEL = {Severity.BLOCKER: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


SOURCE_ROOT = "%SRCROOT%"
"""Code scanning's own word for the root of the repository."""


def _one_line(text: str) -> str:
    """What a manifest says, safe to print: no line of its own in a CI's log, no escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _mark(f: LintFinding) -> str:
    mark = "fixed" if f.fixed else "waived" if f.waived else str(f.severity)
    return f"{mark} ({f.grade})" if f.grade else mark


def text(report: Report) -> str:
    """file:line first, as editors and CI logs link it."""
    out = []
    for f in report.findings:
        owner = f" [{f.owner}]" if f.owner else ""
        out.append(f"{f.place}: {_mark(f)}: {f.object}{owner}: {f.message} ({f.rule})")
        out += [f"    {word}" for word in f.evidence]
        out += [f"    {change}" for change in f.fields[:8]]
        if len(f.fields) > 8:
            out.append(f"    and {len(f.fields) - 8} more")
        if f.note:
            out.append(f"    note: {f.note}")
        if f.waived:
            out.append(f"    {f.waived}")
    for n in report.not_read:
        out.append(f"{n.path}{f':{n.line}' if n.line else ''}: not read: {n.why}")
    out += [f"note: {note}" for note in report.notes]
    return "\n".join(_one_line(line) for line in [*out, report.verdict]) + "\n"


def markdown(report: Report) -> str:
    out = [f"## {report.tool}: {report.verdict}", ""]
    if report.findings:
        out += ["| | Where | Object | Owner | What | Change |", "|---|---|---|---|---|---|"]
    for f in report.findings:
        change = "; ".join(f.fields[:5]) if f.fields else f.change
        said = (f.message, *f.evidence, *([f.waived] if f.waived else []))
        cells = (_mark(f), f"`{f.place}`", f.object, f.owner or "-", "; ".join(said), change)
        out.append("| " + " | ".join(_one_line(c).replace("|", "\\|") for c in cells) + " |")
    if report.not_read:
        out += ["", "### Not read", ""]
        out += [
            _one_line(f"- `{n.path}`{f' line {n.line}' if n.line else ''}: {n.why}")
            for n in report.not_read
        ]
    out += ["", *(_one_line(f"- {note}") for note in report.notes)] if report.notes else []
    return "\n".join(out) + "\n"


def sarif(
    report: Report, version: str, rules: Mapping[str, str] = RULES, *, root: str = "", at: str = ""
) -> str:
    """SARIF 2.1.0, as code scanning of GitHub and others reads it. `rules`: code -> meaning.

    `root` is the absolute directory that code scanning takes a file's place from, the root of the
    repository, and `at` the one that the report's paths start from; without them places are no
    files.
    """

    def place(path: str, line: int) -> dict[str, Any]:
        artifact = _artifact(path, root, at) if root and path != "-" else {"uri": quote(path)}
        region = {"startLine": max(line, 1)}
        return {"physicalLocation": {"artifactLocation": artifact, "region": region}}

    results: list[dict[str, Any]] = []
    for f in report.findings:
        if f.fixed:
            continue
        result: dict[str, Any] = {
            "ruleId": f.rule,
            "level": _SARIF_LEVEL[f.severity],
            "message": {"text": "; ".join([f"{f.object}: {f.message}", *f.evidence])},
            "locations": [place(f.path, f.line)],
            "partialFingerprints": {"pawl/v1": f"{f.rule}:{f.api_version}:{f.object}"},
            "properties": {"minor": f.minor, "replacement": f.replacement, "owner": f.owner},
        }
        if f.grade:
            result["properties"]["grade"] = f.grade
        if f.waived:
            result["suppressions"] = [{"kind": "external", "justification": f.waived}]
        results.append(result)
    notifications = [
        {
            "level": "error",
            "message": {"text": f"not read: {n.why}"},
            "locations": [place(n.path, n.line)],
        }
        for n in report.not_read
    ]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": report.tool,
                "version": version,
                "rules": [
                    {"id": rule, "shortDescription": {"text": what}} for rule, what in rules.items()
                ],
            }
        },
        "results": results,
        "invocations": [
            {
                "executionSuccessful": not report.not_read,
                "toolExecutionNotifications": notifications,
            }
        ],
    }
    if root:
        named = {"description": {"text": "the root of the repository"}}
        run["originalUriBaseIds"] = {SOURCE_ROOT: named}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _artifact(path: str, root: str, at: str) -> dict[str, str]:
    """Relative to the root where the file lies below it: an absolute place matches no file of a
    repository that is checked out elsewhere."""
    whole = posixpath.normpath(posixpath.join(at, path))
    below = posixpath.relpath(whole, root)
    if below == ".." or below.startswith("../"):
        return {"uri": f"file://{quote(whole)}"}
    return {"uri": quote(below), "uriBaseId": SOURCE_ROOT}


def junit(report: Report) -> str:
    """One test case for each finding; what was not read is an error; waived is skipped."""
    cases = [_case(f) for f in report.findings if not f.fixed]
    failures = sum("<failure" in c for c in cases)
    skipped = sum("<skipped" in c for c in cases)
    cases += [
        f'  <testcase classname={_attribute(n.path)} name="read">'
        f"<error message={_attribute(n.why)}/></testcase>"
        for n in report.not_read
    ]
    if not cases:
        cases = [
            f"  <testcase classname={quoteattr(report.tool.replace(' ', '.'))} "
            f'name="Kubernetes {report.target}"/>'
        ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuite name="{report.tool}" tests="{len(cases)}" failures="{failures}" '
        f'errors="{len(report.not_read)}" skipped="{skipped}">\n'
        + "\n".join(cases)
        + "\n</testsuite>\n"
    )


def _attribute(text: str) -> str:
    return quoteattr(_one_line(text))


def _case(f: LintFinding) -> str:
    head = f"  <testcase classname={_attribute(f.path)} name={_attribute(f'{f.rule} {f.object}')}"
    head += f' file={_attribute(f.path)} line="{f.line}">' if f.line else ">"
    if f.waived:
        return f"{head}<skipped message={_attribute(f.waived)}/></testcase>"
    said = [f"{f.place}: {f.message}", *f.evidence, *f.fields]
    body = escape("\n".join(_one_line(line) for line in said))
    if f.severity is Severity.BLOCKER:
        return f"{head}<failure message={_attribute(f.message)}>{body}</failure></testcase>"
    return f"{head}<system-out>{escape(f'{f.severity}: ')}{body}</system-out></testcase>"
