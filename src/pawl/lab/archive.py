"""Container images without a registry: one docker archive, made by hand.

The archive holds the pause image, the HTTP application, the backend, and redis. The first three are
one static Go program (its source is shipped beside this file); redis is the binary of the host's
distribution with the libraries it links. The archive's name is the digest of its inputs.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from pawl.core.errors import ArtifactError
from pawl.lab.shell import run
from pawl.lab.store import flock, write

IMAGES: dict[str, tuple[str, Sequence[str]]] = {
    "pawl.lab/pause:1": ("app", ("/labapp", "pause")),
    "pawl.lab/web:1": ("app", ("/labapp", "web")),
    "pawl.lab/backend:1": ("app", ("/labapp", "backend")),
    "pawl.lab/redis:1": ("redis", ("/usr/bin/redis-server", "--protected-mode", "no")),
}
"""Image -> its layer and entry point."""

_REDIS = Path("/usr/bin/redis-server")


def ensure(cache: Path) -> Path:
    """The archive for this machine's redis and this source; made when the cache has none.

    Raises `ArtifactError` when Go or redis is missing here.
    """
    source = Path(str(resources.files("pawl.lab") / "images" / "labapp"))
    if not _REDIS.is_file():
        raise ArtifactError(f"{_REDIS} is missing; install the package redis-server for the lab")
    digest = hashlib.sha256(json.dumps(IMAGES).encode())
    for path in (*sorted(source.iterdir()), *sorted(_closure(_REDIS))):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    archive = cache / "containers" / f"lab-{digest.hexdigest()[:20]}.tar"
    with flock(cache / "containers" / ".lock"):
        if not archive.exists():
            program = _compile(source, cache)
            write(program_of(archive), program, 0o755)
            layers = {
                "app": _layer({"/labapp": program}),
                "redis": _layer({str(p): p.read_bytes() for p in _closure(_REDIS)}),
            }
            write(archive, _archive(layers))
    return archive


def program_of(archive: Path) -> Path:
    """The small program by itself, for what runs on a machine rather than in a pod."""
    return archive.with_suffix("")


def _compile(source: Path, cache: Path) -> bytes:
    if shutil.which("go") is None:
        raise ArtifactError("the Go toolchain is missing; the lab compiles its small program")
    with tempfile.TemporaryDirectory(dir=cache) as work:
        # Compiled in a copy: the installed package may be read-only.
        shutil.copytree(source, Path(work, "labapp"))
        out = Path(work, "out")
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-buildvcs=false",
        }
        done = subprocess.run(
            ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(out), "."],
            cwd=Path(work, "labapp"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ArtifactError(f"the lab's container program does not compile: {done.stderr}")
        return out.read_bytes()


def _closure(binary: Path) -> Iterable[Path]:
    """The binary and every library that the loader would map, the loader included."""
    found = [binary]
    for line in run(["ldd", str(binary)]).splitlines():
        words = line.split()
        path = words[2] if "=>" in words else words[0]
        if path.startswith("/"):
            found.append(Path(path))
    return found


def _layer(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        directories: set[str] = set()
        for name, content in sorted(files.items()):
            for parent in reversed(Path(name).parents):
                text = str(parent).lstrip("/")
                if text and text not in directories:
                    directories.add(text)
                    entry = tarfile.TarInfo(text)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.mode, entry.size = 0o755, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _archive(layers: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    manifest = []
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o644, len(content)
            tar.addfile(entry, io.BytesIO(content))

        for name, layer in layers.items():
            add(f"{name}/layer.tar", layer)
        for tag, (layer_name, entry_point) in IMAGES.items():
            diff = hashlib.sha256(layers[layer_name]).hexdigest()
            config = json.dumps(
                {
                    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
                    "os": "linux",
                    "config": {"Entrypoint": list(entry_point), "WorkingDir": "/"},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
                    "history": [{"created_by": "pawl lab"}],
                }
            ).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            add(config_name, config)
            manifest.append(
                {"Config": config_name, "RepoTags": [tag], "Layers": [f"{layer_name}/layer.tar"]}
            )
        add("manifest.json", json.dumps(manifest).encode())
    return buffer.getvalue()
