"""`pawl lint --fix` on a file: what could be mended is, and what could not says why."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import msgspec

from pawl.core.lint import fix
from pawl.core.lint.finding import LintFinding

_NOT_PLAIN = (
    "not mended: the apiVersion does not stand there as one plain value for this object alone "
    "(an alias, an escape, several objects on a line, UTF-16)"
)


def mended(path: str, data: bytes, found: Sequence[LintFinding]) -> list[LintFinding]:
    """The findings of a file that was rewritten: each one that could be mended is, or says why
    not."""
    new, places = fix.rewrite(data, found)
    why = _NOT_PLAIN
    if places:
        try:
            _replace(path, new)
        except OSError as error:
            places, why = frozenset(), f"not mended: cannot be written ({error.strerror})"
    return [
        msgspec.structs.replace(f, fixed=True)
        if f.fixable and (f.line, f.api_version) in places
        else left(f, why)
        for f in found
    ]


def left(finding: LintFinding, why: str) -> LintFinding:
    if not finding.fixable:
        return finding
    return msgspec.structs.replace(finding, fixable=False, note=why)


def _replace(path: str, data: bytes) -> None:
    """Write beside and rename, keeping mode and owner; a symbolic link's target is what changes."""
    real = os.path.realpath(path)
    beside = f"{real}.pawl-fix"
    was = os.stat(real)
    try:
        with open(beside, "wb") as handle:
            handle.write(data)
        with contextlib.suppress(PermissionError):
            os.chown(beside, was.st_uid, was.st_gid)
        os.chmod(beside, was.st_mode & 0o7777)
        os.replace(beside, real)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
