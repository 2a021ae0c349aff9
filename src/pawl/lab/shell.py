"""Running the host's own tools: argv lists only, and errors that say what was run."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from pawl.core.errors import PawlError


class ToolFailed(PawlError):
    """A tool of the host ended with an error."""


def run(
    argv: Sequence[str], *, check: bool = True, timeout: float = 60.0, stdin: str | None = None
) -> str:
    """Run a tool and return its standard output. Raises `ToolFailed` with its complaint."""
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
        )
    except FileNotFoundError:
        raise ToolFailed(f"{argv[0]} is not installed; the lab needs it on this machine") from None
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"`{shlex.join(argv)}` did not end within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ToolFailed(f"`{shlex.join(argv)}` ended with {done.returncode}: {said}")
    return done.stdout
