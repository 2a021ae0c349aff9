"""Asks a binary for its own version before it may enter the cache.

A directory given by hand, a mirror, or a build gone astray can hold something else than its name
says. Every upstream command prints its version; only binaries for this machine can be asked.
"""

from __future__ import annotations

import re
from pathlib import Path

import anyio

from pawl.adapters.artifacts.catalog import Platform
from pawl.core.errors import ArtifactError
from pawl.core.version import Version

_ARGUMENTS = {
    "kubectl": ("version", "--client"),
    "kubeadm": ("version", "-o", "short"),
    "etcdctl": ("version",),
    "etcdutl": ("version",),
    "kube-state-metrics": ("version",),
}
"""All others answer to --version."""
_FOUND = re.compile(r"\bv?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)")
ANSWER_WITHIN = 30.0
"""Seconds. Large Go programs on a busy machine took up to 2 s."""


async def check_version(name: str, path: Path, version: Version, platform: Platform) -> None:
    """Raise ArtifactError when `path` is not `name` at `version`."""
    if platform != Platform.here():
        return
    arguments = _ARGUMENTS.get(name, ("--version",))
    try:
        with anyio.fail_after(ANSWER_WITHIN):
            done = await anyio.run_process(
                [str(path), *arguments], check=False, env={"PATH": "/usr/bin:/bin", "HOME": "/"}
            )
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {ANSWER_WITHIN:g} s"
        raise ArtifactError(f"{path} does not run as {name}: {reason}.") from error
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    match = _FOUND.search(said)
    if match is None or Version.parse(match[1]) != version:
        first = said.splitlines()[0] if said else "nothing"
        raise ArtifactError(
            f"{path} is not {name} {version}: asked for its version it said {first!r}. "
            "It was not taken; name the directory that holds the right one."
        )
