"""Go build information of a local file: an executable, or every executable in an image archive."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pawl.core.errors import ConfigError
from pawl.core.inventory import gobuild
from pawl.core.inventory.facts import Binary

MOST = 2_000
"""Files of one image that are looked at."""


def binaries(path: Path) -> tuple[Binary, ...]:
    """Of an executable, or of a tar archive: a file system, or an image as `docker save` and
    `ctr images export` write it (layers are archives within). Raises ConfigError when there is no
    Go program in it."""
    try:
        with path.open("rb") as file:
            if tarfile.is_tarfile(file):
                file.seek(0)
                found = tuple(_archive(file, str(path)))
                if found:
                    return found
                raise ConfigError(str(path), ["there is no Go program in this archive"])
            file.seek(0)
            return (fact(pull(file), str(path)),)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror or error}"]) from error
    except tarfile.TarError as error:
        raise ConfigError(str(path), [f"is a damaged archive: {error}"]) from error
    except gobuild.NotGo as error:
        raise ConfigError(str(path), [f"{error}"]) from error


def pull(file: BinaryIO) -> gobuild.BuildInfo:
    """Drive the reader over a seekable file. Raises NotGo."""
    reading = gobuild.read()
    wanted = next(reading)
    while True:
        at, length = wanted
        file.seek(at)
        try:
            wanted = reading.send(file.read(length))
        except StopIteration as done:
            info: gobuild.BuildInfo = done.value
            return info


def fact(info: gobuild.BuildInfo, path: str, workload: str = "", where: str = "") -> Binary:
    return Binary(
        workload=workload,
        path=path,
        go=info.go,
        main=info.main or info.path,
        main_version=info.main_version,
        client_go=info.client_go,
        controller_runtime=info.controller_runtime,
        where=where,
    )


def _archive(file: BinaryIO, name: str, depth: int = 0) -> Iterator[Binary]:
    seen = 0
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in archive:
            if not member.isfile() or member.size < 64:
                continue
            seen += 1
            if seen > MOST:
                return
            inner = archive.extractfile(member)
            if inner is None:
                continue
            head = inner.read(4)
            inner.seek(0)
            where = f"{name}:{member.name}"
            if head == b"\x7fELF":
                # A compressed archive seeks by reading anew: hold this one file instead.
                try:
                    yield fact(pull(io.BytesIO(inner.read())), where)
                except gobuild.NotGo:
                    continue
            elif depth == 0 and _layer(member.name):
                layer = io.BytesIO(inner.read())
                if tarfile.is_tarfile(layer):
                    layer.seek(0)
                    yield from _archive(layer, where, depth + 1)


def _layer(name: str) -> bool:
    return name.endswith((".tar", ".tar.gz", ".tgz")) or name.startswith("blobs/")
