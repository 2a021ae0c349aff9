"""What a release can read out of etcd: every group, version and kind that its API server's scheme
knows. A version leaves the scheme later than it leaves the API, or with it.

`extracts/scheme.json`: "group/version/Kind" -> [[first minor, last minor], …]. Read from the
packages that install a group (`pkg/apis/GROUP/install`), the versions that they add, and the types
that each of these registers; lists and options, which are never stored, are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .extract import EXTRACTS, GROUP

History = dict[str, list[list[int]]]
FILE = EXTRACTS / "scheme.json"
MODULES = ("k8s.io/kubernetes", "k8s.io/apiextensions-apiserver", "k8s.io/kube-aggregator")
"""What is linked into kube-apiserver and installs API groups."""

_IMPORT = re.compile(r'^\s*(?:(\w+) )?"(k8s\.io/[^"]+)"', re.M)
_ADDED = re.compile(r"(\w+)\.AddToScheme\b")
_TYPE = re.compile(r"&(\w+)\{\}")
_VERSION = re.compile(r"v\d+((alpha|beta)\d+)?")


def kinds(dirs: Mapping[str, Path]) -> list[str]:
    """The kinds that a release reads. `dirs` maps module paths to their source."""
    return sorted({kind for file in _registrations(dirs) for kind in _registered(file)})


def _registrations(dirs: Mapping[str, Path]) -> Iterator[Path]:
    """The file that registers the types, for each version of each group that is installed."""
    for module in MODULES:
        for install in sorted(dirs[module].glob("pkg/apis/*/install/install.go")):
            text = install.read_text()
            imports = {
                alias or path.rpartition("/")[2]: path for alias, path in _IMPORT.findall(text)
            }
            for alias in _ADDED.findall(text):
                where = Path(imports[alias])
                if not _VERSION.fullmatch(where.name):
                    continue  # the internal version
                own = dirs[module] / where.relative_to(module) / "register.go"
                elsewhere = re.search(r'"k8s\.io/api/([^"]+)"', own.read_text())
                yield dirs["k8s.io/api"] / elsewhere[1] / "register.go" if elsewhere else own


def _registered(file: Path) -> Iterator[str]:
    text = file.read_text()
    group = GROUP.search(text)
    if group is None:
        raise LookupError(f"{file} names no group")
    for kind in _TYPE.findall(text):
        if not kind.endswith(("List", "Options")):
            yield f"{group[1]}/{file.parent.name}/{kind}"


def merge(found: Mapping[int, list[str]]) -> History:
    out: History = {}
    for minor, names in sorted(found.items()):
        for name in names:
            spans = out.setdefault(name, [])
            if spans and spans[-1][1] == minor - 1:
                spans[-1][1] = minor
            else:
                spans.append([minor, minor])
    return dict(sorted(out.items()))


def at(history: History, minor: int) -> list[str]:
    return [k for k, spans in history.items() if any(a <= minor <= b for a, b in spans)]


def load() -> History:
    history: History = json.loads(FILE.read_bytes())
    return history
