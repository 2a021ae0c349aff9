"""One minor's facts, as its own source states them: an extract. Nothing is compared or judged here.

An extract is committed, so that tables can be built without network, and so that deriving it again
must give the same bytes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from . import goread, openapi, sources

EXTRACTS = Path(__file__).resolve().parent / "extracts"

_LIFECYCLE = re.compile(
    r"func \(in \*(\w+)\) APILifecycle(Introduced|Deprecated|Removed)\(\) "
    r"\(major, minor int\) \{\s*return (\d+), (\d+)"
)
_REPLACEMENT = re.compile(
    r"func \(in \*(\w+)\) APILifecycleReplacement\(\) schema\.GroupVersionKind \{\s*"
    r'return schema\.GroupVersionKind\{Group: "([^"]*)", Version: "([^"]*)", Kind: "([^"]*)"'
)
GROUP = re.compile(r'^(?:const )?\s*GroupName\s*=\s*"([^"]*)"', re.M)
_PLUGIN = re.compile(r'\w*[pP]luginName\w*\s*=\s*"(kubernetes\.io/[\w.-]+)"')
_CLOUD = re.compile(
    r'"k8s\.io/(?:legacy-cloud-providers|kubernetes/pkg/cloudprovider/providers)/(\w+)"'
)
_KERNEL = re.compile(r'^const (\w+)KernelVersion = "([\d.]+)"', re.M)


def minor(number: int) -> dict[str, Any]:
    """The extract of 1.`number`."""
    roots = sources.kubernetes(number)
    dirs = sources.directories(number)
    kubernetes = dirs["k8s.io/kubernetes"]
    document = openapi.load(kubernetes)
    controlplane = (
        "pkg/controlplane"
        if (kubernetes / "pkg/controlplane/instance.go").exists()
        else "pkg/master"
    )
    flags = goread.read(
        dirs, "flags", *(f"{name}={','.join(at)}" for name, at in goread.COMPONENTS.items())
    )
    return {
        "sources": {path: version for path, (version, _) in sorted(roots.items())},
        "kinds": openapi.kinds(document),
        "served": _served(goread.read(dirs, "served", f"k8s.io/kubernetes/{controlplane}")),
        "lifecycle": lifecycle(dirs),
        "gates": _gates(goread.read(dirs, "gates", *goread.GATES), number),
        "listed_gates": listed_gates(kubernetes),
        "plugins": goread.read(dirs, "plugins", "k8s.io/kubernetes/pkg/kubeapiserver/options"),
        "configurations": {
            f"{row['group']}/{row['version']}": row["kinds"]
            for row in goread.read(dirs, "kinds", *configuration_packages(dirs))
            if row["group"] != "?"  # the kubeconfig, which has no group
        },
        "flags": {name: _flags(found) for name, found in flags.items()},
        "volumes": volumes(kubernetes),
        "clouds": clouds(kubernetes),
        "etcd": etcd(kubernetes),
        "kernel": kernel(kubernetes),
    }


def _served(answer: dict[str, list[dict[str, str]]]) -> dict[str, list[str]]:
    def text(row: dict[str, str]) -> str:
        return f"{row['group']}/{row['version']}" + (
            f"/{row['resource']}" if row.get("resource") else ""
        )

    return {side: sorted({text(row) for row in rows}) for side, rows in answer.items()}


def lifecycle(dirs: dict[str, Path]) -> dict[str, dict[str, str]]:
    """The APILifecycle functions: "group/version/Kind" -> introduced, deprecated, removed,
    replacement. Lists are left out: they follow their kind."""
    out: dict[str, dict[str, str]] = {}
    for name in ("k8s.io/api", "k8s.io/apiextensions-apiserver", "k8s.io/kube-aggregator"):
        for file in sorted(dirs[name].glob("**/*lifecycle*.go")):
            register = file.parent / "register.go"
            if not register.exists() or not (group := GROUP.search(register.read_text())):
                continue
            text, prefix = file.read_text(), f"{group[1]}/{file.parent.name}"
            for kind, word, major, number in _LIFECYCLE.findall(text):
                out.setdefault(f"{prefix}/{kind}", {})[word.lower()] = f"{major}.{number}"
            for kind, *replacement in _REPLACEMENT.findall(text):
                out.setdefault(f"{prefix}/{kind}", {})["replacement"] = "/".join(replacement)
    return {k: dict(sorted(v.items())) for k, v in sorted(out.items()) if not k.endswith("List")}


def _gates(rows: list[dict[str, Any]], number: int) -> dict[str, dict[str, Any]]:
    """Gate -> package and the stages known at this minor ("" is the version of an old-style gate,
    which has only the stage of its own release)."""
    out: dict[str, dict[str, Any]] = {}
    for row in rows:
        stages = [
            [s.get("version", ""), s["stage"], s["default"], s.get("locked", False)]
            for s in row["specs"]
            if not s.get("version") or _minor_of(s["version"]) <= number
        ]
        if not stages:
            continue
        entry = out.setdefault(row["name"], {"packages": [], "stages": stages})
        owner = goread.GATES[row["package"]]
        if owner not in entry["packages"]:
            entry["packages"] = sorted({*entry["packages"], owner})
    return dict(sorted(out.items()))


def _minor_of(version: str) -> int:
    return int(version.split(".")[1])


def listed_gates(kubernetes: Path) -> list[str]:
    """Names in the project's own reference list (from 1.31), as a second derivation."""
    for place in (
        "test/compatibility_lifecycle/reference/versioned_feature_list.yaml",
        "test/featuregates_linter/test_data/versioned_feature_list.yaml",
    ):
        if (file := kubernetes / place).exists():
            names = set(re.findall(r"^- name: (\S+)", file.read_text(), re.M))
            other = file.with_name("unversioned_feature_list.yaml")
            if other.exists():
                names |= set(re.findall(r"^- name: (\S+)", other.read_text(), re.M))
            return sorted(names)
    return []


def configuration_packages(dirs: dict[str, Path]) -> list[str]:
    """Packages with versioned configuration kinds: everything that registers types in a directory
    named after a version, but the served APIs themselves."""
    out = []
    for name, directory in dirs.items():
        if name in ("k8s.io/api", "k8s.io/apimachinery", "k8s.io/kube-aggregator"):
            continue
        for file in directory.glob("**/register.go"):
            where = file.parent.relative_to(directory).as_posix()
            if not re.fullmatch(r"v\d+((alpha|beta)\d+)?", file.parent.name):
                continue
            if re.search(
                r"(^|/)(test|testing|testdata|example|vendor|staging)|/pkg/apis/(apiextensions|meta)/",
                f"/{where}",
            ):
                continue
            if name == "k8s.io/kubernetes" and where.startswith("pkg/apis/"):
                continue  # conversions of the served APIs
            out.append(f"{name}/{where}")
    return sorted(out)


def _flags(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in sorted(row.items()) if value not in (None, "", False)}
        for name, row in sorted(found.items())
    }


def volumes(kubernetes: Path) -> list[str]:
    """In-tree volume plugins, by the name that each registers."""
    found: set[str] = set()
    for file in (kubernetes / "pkg/volume").glob("*/*.go"):
        if not file.name.endswith("_test.go") and file.parent.name not in ("testing", "util"):
            found |= set(_PLUGIN.findall(file.read_text(errors="replace")))
    return sorted(found)


def clouds(kubernetes: Path) -> list[str]:
    """In-tree cloud providers that the binaries link."""
    found: set[str] = set()
    for file in (kubernetes / "pkg/cloudprovider/providers").glob("*.go"):
        found |= set(_CLOUD.findall(file.read_text()))
    return sorted(found - {"fake"})


def etcd(kubernetes: Path) -> dict[str, str]:
    """What kubeadm and the build of this minor say about etcd."""
    out = {}
    constants = kubernetes / "cmd/kubeadm/app/constants/constants.go"
    text = constants.read_text() if constants.exists() else ""
    if m := re.search(r'MinExternalEtcdVersion = "([\d.]+)"', text):
        out["kubeadm_minimum_external"] = m[1]
    if m := re.search(r'DefaultEtcdVersion = "([\d.]+)', text):
        out["kubeadm_default"] = m[1]
    dependencies = kubernetes / "build/dependencies.yaml"
    if dependencies.exists() and (
        m := re.search(r'- name: "?etcd"?\n\s+version: "?([\d.]+)', dependencies.read_text())
    ):
        out["built_and_tested_with"] = m[1]
    return out


def kernel(kubernetes: Path) -> dict[str, str]:
    file = kubernetes / "pkg/util/kernel/constants.go"
    return dict(sorted(_KERNEL.findall(file.read_text()))) if file.exists() else {}


def etcd_flags(line: str) -> dict[str, Any]:
    """Flags of one etcd minor, with the version read."""
    name, version = sources.ETCD[line]
    directory = sources.module(name, version)
    if line == "3.4":
        at = "go.etcd.io/etcd/etcdmain"
        roots = {"go.etcd.io/etcd": directory}
    else:
        at = "go.etcd.io/etcd/server/v3/etcdmain"
        roots = {"go.etcd.io/etcd/server/v3": directory}
        for also in ("go.etcd.io/etcd/client/pkg/v3", "go.etcd.io/etcd/pkg/v3"):
            roots[also] = sources.module(also, version)
    found = goread.read(roots, "flags", f"etcd={at}:newConfig")
    return {"sources": {name: version}, "flags": _flags(found["etcd"])}


def encode(facts: object) -> bytes:
    """Deterministic JSON, one item a line at the second level, so that diffs are readable."""
    if not isinstance(facts, dict):
        return json.dumps(facts, ensure_ascii=False).encode() + b"\n"
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            inner = ",\n".join(
                f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False, separators=(',', ':'))}"
                for k, v in value.items()
            )
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            lines.append(f" {json.dumps(key)}: {compact}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def path(number: int) -> Path:
    return EXTRACTS / f"1.{number}.json"


def load(number: int) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path(number).read_bytes())
    return facts
