"""Helm charts, judged by what `helm template` makes of them for the target.

    Chart.yaml or name-1.2.3.tgz ──helm template──> documents, each with the template it comes from

helm is a program of the user's, not a part of pawl: without it a chart is not read. It is told
which kinds the target serves, because charts ask ("networking.k8s.io/v1/Ingress"), and helm alone
knows no kind. It cannot be told which versions are gone: its own list of them goes back to
extensions/v1beta1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pawl.core.lint.glance import split

SECONDS = 60.0
PACKED = ".tgz"
_ASKS = re.compile(rb"""Capabilities\.APIVersions\.Has\s+["`]([^"`]+)["`]""")
MAY_DIFFER = (
    "the chart asks which APIs the cluster has, and helm alone says yes to removed ones: in the "
    "cluster it may choose another"
)
_CHART = re.compile(r"[^/]+/Chart\.yaml")
_LIBRARY = re.compile(rb"^type:\s*[\"']?library\b", re.M)
_SOURCE = re.compile(rb"^# Source: [^/\n]+/(\S+)", re.M)
_SAYS_NOTHING = "Use --debug flag"


class Unrendered(Exception):
    """helm has made nothing of the chart; the sentence says why."""


def is_chart(path: str) -> bool:
    """Whether the directory, or the packed file, is a chart."""
    if os.path.isdir(path):
        return os.path.exists(os.path.join(path, "Chart.yaml"))
    if not path.endswith(PACKED):
        return False
    try:
        with tarfile.open(path) as packed:
            return any(_CHART.fullmatch(m.name) for m in packed)
    except (OSError, tarfile.TarError):
        return False


def is_library(path: str) -> bool:
    """A chart of helpers for other charts: it renders to nothing, and helm refuses to try."""
    about = Path(path, "Chart.yaml")
    return about.is_file() and bool(_LIBRARY.search(about.read_bytes()))


def asked(path: str) -> frozenset[str]:
    """The versions ("policy/v1beta1") for which a template of the chart asks whether they are
    served, also those of charts that lie in it."""
    found = {
        match.decode(errors="replace")
        for directory in Path(path).rglob("templates")
        for file in directory.rglob("*")
        if file.is_file()
        for match in _ASKS.findall(file.read_bytes())
    }
    return frozenset("/".join(name.split("/")[:2]) for name in found)


def render(
    helm: str, chart: str, target: str, served: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """(path of the template, one document). `target` is a minor; `served` names what it serves.
    Raises `Unrendered`."""
    program = shutil.which(helm)
    if program is None:
        raise Unrendered("is a Helm chart, and helm is not installed to render it")
    argv = [program, "template", "pawl-lint", chart, "--include-crds"]
    argv += ["--kube-version", f"{target}.0"]
    for name in served:
        argv += ["--api-versions", name]
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unrendered(f"helm template failed: {error}") from error
    if done.returncode:
        raise Unrendered(f"helm template failed: {_reason(done.stderr)}")
    for chunk in split(done.stdout):
        found = _SOURCE.search(chunk.text)
        yield os.path.join(chart, found[1].decode() if found else ""), chunk.text


def _reason(said: bytes) -> str:
    """What stands behind "Error:"; it may go on over several lines, and warnings stand before."""
    text = said.decode(errors="replace")
    _, error, after = text.rpartition("Error: ")
    lines = (after if error else text).splitlines()
    told = [line.strip() for line in lines if line.strip() and _SAYS_NOTHING not in line]
    return " ".join(told) or "no reason"
