"""`python -m pawl.lab`: the lab with binaries from plain directories, for work on the lab itself.

`pawl lab` is the same with the artefact resolver. PAWL_LAB_BINARIES names directories
PRODUCT=VERSION=DIRECTORY, separated by colons; their checksums are computed, not verified.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

from pawl.core.errors import PawlError
from pawl.core.version import Version
from pawl.lab.cluster import Lab
from pawl.lab.spec import LabSpec
from pawl.lab.versions import resolve
from pawl.ports.artifacts import Artifact, ArtifactFile


def directories(product: str, version: str) -> Artifact:
    """Programs of the directory that the environment names."""
    for entry in os.environ.get("PAWL_LAB_BINARIES", "").split(":"):
        if entry.startswith(f"{product}={version}="):
            files = []
            for path in sorted(Path(entry.split("=", 2)[2]).iterdir()):
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = path.stat().st_size
                files.append(ArtifactFile(name=path.name, path=path, sha256=digest, size=size))
            return Artifact(
                component=product,
                version=Version.parse(version),
                files=tuple(files),
                source="local",
            )
    raise PawlError(f"PAWL_LAB_BINARIES names no directory for {product} {version}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pawl.lab", description=__doc__)
    parser.add_argument("verb", choices=("up", "down"))
    parser.add_argument("--name", default="lab")
    parser.add_argument("--kubernetes", default="1.36")
    parser.add_argument("--etcd", default="3.5")
    parser.add_argument("--control-planes", type=int, default=3)
    parser.add_argument("--etcd-members", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--topology", default="external", choices=("external", "stacked"))
    given = parser.parse_args()
    cache = Path(os.environ.get("PAWL_CACHE", Path.home() / ".cache" / "pawl")) / "lab"
    lab = Lab(given.name, fetch=directories, cache=cache, say=lambda line: print(line, flush=True))
    try:
        if given.verb == "down":
            lab.down()
        else:
            lab.up(
                LabSpec(
                    name=given.name,
                    index=0,
                    versions={
                        "kubernetes": resolve("kubernetes", given.kubernetes),
                        "etcd": resolve("etcd", given.etcd),
                    },
                    topology=given.topology,
                    control_planes=given.control_planes,
                    etcd_members=given.etcd_members,
                    workers=given.workers,
                )
            )
    except PawlError as error:
        print(error, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
