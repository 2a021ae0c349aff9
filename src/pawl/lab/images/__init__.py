"""Container images without a registry: docker archives made by hand, byte for byte the same.

The lab needs four images: `pause`, `web` and `backend` are one static Go program (`app/main.go`,
built with the machine's Go), `redis` is the host distribution's redis-server with the libraries
that it links. An archive is what `docker save` writes (manifest.json, a configuration, one layer),
which `ctr -n k8s.io images import` reads. Times and owners are fixed, so the same content gives
the same archive and the same digest.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pawl.core.errors import ArtifactError

REPOSITORY = "pawl.local"
APP = f"{REPOSITORY}/app:1"
PAUSE = f"{REPOSITORY}/pause:1"
REDIS = f"{REPOSITORY}/redis:1"

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
_SOURCE = Path(__file__).parent / "app"
_LIBRARY = re.compile(r"(/\S+) \(0x")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an image: its path inside (no leading slash), content and mode."""

    path: str
    data: bytes
    mode: int = 0o755


def build_all(directory: Path) -> tuple[Path, ...]:
    """Make the archives that `directory` lacks and return all of them.

    The name of an archive holds a hash of its inputs, so a changed source makes a new one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(_SOURCE.iterdir()))).hexdigest()
    made = [directory / f"app-{source[:16]}.tar"]
    if not made[0].exists():
        program = File(path="app", data=_compile(directory))
        _write(
            made[0],
            archive([program], APP, entrypoint=["/app"], also=[(PAUSE, ["/app", "pause"])]),
        )
    server = _redis_server()
    made.append(directory / f"redis-{hashlib.sha256(server.read_bytes()).hexdigest()[:16]}.tar")
    if not made[1].exists():
        _write(made[1], archive(list(_with_libraries(server)), REDIS, ["/usr/bin/redis-server"]))
    return tuple(made)


def archive(
    files: Iterable[File],
    tag: str,
    entrypoint: list[str],
    also: Iterable[tuple[str, list[str]]] = (),
) -> bytes:
    """A docker archive of one layer; `also` adds further tags over the same layer."""
    layer = _tar([*files])
    digest = hashlib.sha256(layer).hexdigest()
    entries = [File(path=f"{digest}/layer.tar", data=layer, mode=0o644)]
    manifest = []
    for name, command in [(tag, entrypoint), *also]:
        config = msgspec.json.encode(
            {
                "architecture": _ARCHITECTURE,
                "os": "linux",
                "config": {"Entrypoint": command, "WorkingDir": "/"},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "pawl lab"}],
                "created": "1970-01-01T00:00:00Z",
            }
        )
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        entries.append(File(path=config_name, data=config, mode=0o644))
        manifest.append(
            {"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}
        )
    entries.append(File(path="manifest.json", data=msgspec.json.encode(manifest), mode=0o644))
    return _tar(entries)


def _tar(files: list[File]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted({str(p) for f in files for p in Path(f.path).parents} - {"."}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = len(file.data), file.mode
            tar.addfile(entry, io.BytesIO(file.data))
    return out.getvalue()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _compile(directory: Path) -> bytes:
    if (go := shutil.which("go")) is None:
        raise ArtifactError("the lab's workload image needs Go: install it and repeat")
    target = directory / f".app-{os.getpid()}"
    build = subprocess.run(
        [go, "build", "-trimpath", "-ldflags=-s -w", "-buildvcs=false", "-o", target, "."],
        cwd=_SOURCE,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode:
        raise ArtifactError(f"the lab's workload program does not build: {build.stderr.strip()}")
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def _redis_server() -> Path:
    if (found := shutil.which("redis-server")) is None:
        raise ArtifactError("the lab's redis image needs redis-server: install the package")
    return Path(found).resolve()


def _with_libraries(program: Path) -> Iterable[File]:
    """The program under its usual name, with each library at the path that the loader uses."""
    yield File(path="usr/bin/redis-server", data=program.read_bytes())
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in sorted(set(_LIBRARY.findall(linked))):
        yield File(path=library.lstrip("/"), data=Path(library).read_bytes())
    yield File(path="data/.keep", data=b"", mode=0o644)
