"""Stand-ins for what lies behind artefact sources: programs, a release place, the go command.

They are small real things (shell scripts, an HTTP server on loopback), not patches, so that the
sources under test run their whole way.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any


def program_text(name: str, version: str) -> str:
    """A script that answers as `name` does when asked for its version, whatever it is asked."""
    said = {
        "etcd": f"etcd Version: {version}",
        "etcdctl": f"etcdctl version: {version}",
        "etcdutl": f"etcdutl version: {version}",
        "kubectl": f"Client Version: v{version}",
        "kubeadm": f"v{version}",
    }.get(name, f"Kubernetes v{version}")
    return f"#!/bin/sh\necho '{said}'\n"


def write_programs(directory: Path, names: Iterable[str], version: str) -> dict[str, Path]:
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / name for name in names}
    for name, path in paths.items():
        path.write_text(program_text(name, version))
        path.chmod(0o755)
    return paths


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def release_place(directory: Path) -> Iterator[str]:
    """Serve `directory` over HTTP on loopback; gives the address."""
    handler = partial(_Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> str:
    """An address on loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def silent_port() -> Iterator[str]:
    """An address that accepts connections and never answers: a black hole behind a firewall."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def publish_kubernetes(
    place: Path, version: str, names: Iterable[str], platform: tuple[str, str]
) -> None:
    """Lay out binaries and checksums as the Kubernetes release place does."""
    folder = place / f"v{version}" / "bin" / platform[0] / platform[1]
    for name, path in write_programs(folder, names, version).items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / f"{name}.sha256").write_text(digest)


def publish_etcd(place: Path, version: str, platform: tuple[str, str]) -> Path:
    """Lay out an archive and SHA256SUMS as etcd's release pages do; gives the archive."""
    folder = place / f"v{version}"
    folder.mkdir(parents=True)
    release = f"etcd-v{version}-{platform[0]}-{platform[1]}"
    archive = folder / f"{release}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("etcd", "etcdctl", "etcdutl"):
            data = program_text(name, version).encode()
            member = tarfile.TarInfo(f"{release}/{name}")
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {archive.name}\n")
    return archive


_GO = """#!/bin/sh
# Answers like the go command as far as pawl asks it. Settings stand in the files beside it.
here={here}
case "$1 $2" in
"env GOSUMDB") cat $here/gosumdb ;;
"env GOVERSION") cat $here/goversion ;;
"mod download")
  shift 3
  for wanted in "$@"; do
    module=${{wanted%@*}} version=${{wanted#*@}}
    if [ "$version" != "$(cat $here/version)" ]; then
      echo '{{"Path":"'$module'","Error":"unknown revision '$version'"}}'
    else
      echo '{{"Path":"'$module'","GoMod":"'$here/go.mod'","Dir":"'$here'"}}'
    fi
  done ;;
"list "*) cat $here/list-error >&2; echo true; [ ! -s $here/list-error ] ;;
"mod verify") ;;
"build "*)
  while [ "$1" != -o ]; do shift; done
  into=$2; shift 2
  for package in "$@"; do
    echo "$package" >&2
    name=${{package%/v3}}; name=${{name##*/}}
    cp $here/programs/$name "$into/$name"
  done ;;
*) echo "go: unknown command $*" >&2; exit 2 ;;
esac
"""


def write_go(
    directory: Path,
    version: str,
    *,
    go_version: str = "go1.99.0",
    settings: Mapping[str, str] | None = None,
) -> Path:
    """A go command that "builds" programs of one upstream version. `settings` replaces files:
    "gosumdb", "goversion", "list-error" (what `go list` prints before it fails), "go.mod"."""
    names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"]
    names += ["kube-proxy", "kubectl", "kubeadm", "etcd", "etcdctl", "etcdutl"]
    programs = write_programs(directory / "programs", names, version)
    programs["etcd"].rename(directory / "programs" / "server")
    files = {
        "version": f"v{version}\n",
        "gosumdb": "sum.example\n",
        "goversion": f"{go_version}\n",
        "list-error": "",
        "go.mod": "module upstream\n\ngo 1.26.0\n",
        "go.sum": "",
    }
    for name, text in (files | dict(settings or {})).items():
        (directory / name).write_text(text)
    go = directory / "go"
    go.write_text(_GO.format(here=directory))
    go.chmod(0o755)
    return go
