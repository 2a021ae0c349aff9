"""What a command's exit code says. Stable: pipelines branch on it (docs/README.md)."""

from __future__ import annotations

DONE = 0
FINDINGS = 1
"""Warnings, or a gate, a figure or an approval that is not there."""
REFUSED = 2
"""Blockers: nothing was touched."""
INCOMPLETE = 3
"""Something could not be read, and what is not read is not clean."""
ERROR = 4
"""Usage, configuration, a run that failed, or a bug."""
INTERRUPTED = 130
"""Stopped safely by a signal."""
NOBODY_READS = 141
"""As a program that SIGPIPE ends."""
