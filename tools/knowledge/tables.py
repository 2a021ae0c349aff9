"""From extracts to the shipped tables: compares minors, judges nothing that it cannot derive.

Where two derivations disagree (a lifecycle tag against what the release serves, the release's own
list of gates against its source, a second set of schemas) the release's behaviour is taken and the
disagreement becomes a row of `disagreements.json`: reported, never merged silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import extract, history, openapi, scheme
from .sources import ETCD, FIRST_MINOR, LAST_MINOR

Row = dict[str, Any]
DATA = Path(__file__).resolve().parents[2] / "src/pawl/core/knowledge/data"
CURATED = Path(__file__).resolve().parent / "curated"
MINORS = range(FIRST_MINOR, LAST_MINOR + 1)

ALWAYS_ON = ("apiextensions.k8s.io", "apiregistration.k8s.io")
"""Groups that the API server adds outside its resource configuration: served when present."""

_DEFINITION = {
    "": "core",
    "apiextensions.k8s.io": "apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "kube-aggregator.pkg.apis.apiregistration",
    "internal.apiserver.k8s.io": "apiserverinternal",
}

NO_DEFAULT = re.compile(
    r"^kube-apiserver (audit-(log|webhook)-batch-|requestheader-)"
    r"|^kube-controller-manager controllers$"
)
"""Flags whose options struct is shared with other defaults: the source alone does not tell which
one the component takes (seen by comparing with the binaries' own --help)."""


LIMITED = {"kubeadm", "controller-manager"}
"""Feature packages that not every component links (by the binaries' own --help: a kube-scheduler
of 1.36 and 1.37 knows no gate of controller-manager; in 1.25 only the controller managers do)."""

SWITCHED = {"kubernetes.io/git-repo": "GitRepoVolumeDriver"}
"""Volume plugin -> the gate that switches it off. As an API that was on by default, it counts as
removed when it is off by default."""


def stage(version: str) -> str:
    return "alpha" if "alpha" in version else "beta" if "beta" in version else "GA"


def text(minor: int | None) -> str:
    return "" if minor is None else f"1.{minor}"


class Builder:
    """Holds the extracts while the tables are made; `build` returns file name -> rows."""

    def __init__(self) -> None:
        self.facts = {n: extract.load(n) for n in MINORS}
        self.history = history.load()
        self.schemas = {n: history.at(self.history, n) for n in MINORS}
        self.scheme = scheme.load()
        self.validate: dict[str, list[int]] = json.loads(
            (extract.EXTRACTS / "validate.json").read_bytes()
        )
        self.releases: dict[str, Any] = json.loads(
            (extract.EXTRACTS / "releases.json").read_bytes()
        )
        self.notes: dict[str, Any] = json.loads((extract.EXTRACTS / "notes.json").read_bytes())
        self.disagreements: list[Row] = []

    def build(self) -> dict[str, list[Row]]:
        tables = {
            "apis": self.apis(),
            "fields": self.fields(),
            "gates": self.gates(),
            "flags": self.flags(),
            "plugins": self.plugins(),
            "configurations": self.configurations(),
            "in_tree": self.in_tree(),
            "demands": self.demands(),
            "releases": self.releases_table(),
            "notes": self.notes["notes"],
        }
        tables["disagreements"] = sorted(
            self.disagreements, key=lambda r: (r["table"], r["subject"], r["minor"])
        )
        return tables

    # -- APIs ------------------------------------------------------------------------------------

    def served(self, kind: str, minor: int) -> bool:
        """Whether a kind is served with no --runtime-config at this minor."""
        row = self.facts[minor]["kinds"].get(kind)
        if row is None:
            return False
        group, version, _ = kind.split("/")
        if group in ALWAYS_ON:
            return True
        lists = self.facts[minor]["served"]
        resource = f"{group}/{version}/{row['resource']}"
        if resource in lists["on"]:
            return True
        return f"{group}/{version}" in lists["on"] and resource not in lists["off"]

    def definition(self, kind: str, minor: int) -> str | None:
        group, version, name = kind.split("/")
        prefix = _DEFINITION.get(group, group.split(".")[0])
        full = f"{prefix}.{version}.{name}"
        return full if full in self.schemas[minor] else None

    def apis(self) -> list[Row]:
        names = sorted({kind for n in MINORS for kind in self.facts[n]["kinds"]})
        self._life = {kind: self._lifetime(kind) for kind in names}
        rows = [self._api(kind) for kind in names]
        self._compare_second(names)
        return [r for r in rows if r["removed"] == "" or int(r["removed"][2:]) > FIRST_MINOR]

    def _lifetime(self, kind: str) -> Row:
        there = [n for n in MINORS if kind in self.facts[n]["kinds"]]
        default = [n for n in MINORS if self.served(kind, n)]
        gone = max(default or there) + 1
        what = self.facts[there[-1]]["kinds"][kind]["what"]
        tagged = self._tags(kind)[1].get("removed", "")
        if what == "subresource" and tagged and int(tagged[2:]) > gone:
            # One path, several types (policy/v1 and v1beta1 Eviction): openapi names the newest
            # only, while the server decodes the others until their tag says otherwise.
            self._disagree(
                "apis",
                kind,
                text(gone),
                "openapi names another type from this minor on",
                f"the lifecycle tag: removed in {tagged}",
            )
            gone = int(tagged[2:])
        # An API that was on by default counts as removed when it is no longer: what can be had
        # with --runtime-config for some minors more is named in the row's source.
        return {
            "there": there,
            "default": default,
            "removed": gone if gone <= LAST_MINOR else None,
            "what": what,
            "resource": self.facts[there[-1]]["kinds"][kind]["resource"],
        }

    def _tags(self, kind: str) -> tuple[int | None, dict[str, str]]:
        """The newest lifecycle tags of a kind: dates were moved later more than once."""
        for n in reversed(MINORS):
            if kind in self.facts[n]["lifecycle"]:
                return n, self.facts[n]["lifecycle"][kind]
        return None, {}

    def _api(self, kind: str) -> Row:
        group, version, name = kind.split("/")
        life = self._life[kind]
        seen, tags = self._tags(kind)
        removed = life["removed"]
        first = life["there"][0]
        source = [f"openapi v1.{life['there'][-1]}.0"]
        if removed:
            source.append(f"absent v1.{removed}.0")
            if life["default"] and life["there"][-1] >= removed:
                source = [
                    f"off by default from v1.{removed}.0 (resource configuration), "
                    f"gone from openapi in v1.{life['there'][-1] + 1}.0"
                ]
        introduced = text(first) if first > FIRST_MINOR else tags.get("introduced", "")
        if not introduced and (known := self.validate.get(kind)) and known[0] > 11:
            introduced = text(known[0])
        if seen:
            source.append(f"lifecycle tags v1.{seen}.0")
        announced = tags.get("removed", "")
        if removed and announced and announced != text(removed):
            self._disagree(
                "apis",
                kind,
                text(removed),
                f"lifecycle tag says removed in {announced}",
                f"the release serves it last in 1.{removed - 1}",
            )
        if first > FIRST_MINOR and tags.get("introduced", text(first)) != text(first):
            self._disagree(
                "apis",
                kind,
                text(first),
                f"lifecycle tag says introduced in {tags['introduced']}",
                f"the release serves it first in {text(first)}",
            )
        candidates = self._candidates(kind) if removed or tags.get("deprecated") else []
        best = next((c for c in candidates if not c["until"]), None)
        behaviour = self._behaviour(kind)
        return {
            "group": group,
            "version": version,
            "kind": name,
            "resource": life["resource"],
            "what": life["what"],
            "stage": stage(version),
            "default_served": bool(life["default"]),
            "introduced": introduced,
            "served_from": text(life["default"][0]) if life["default"] else "",
            "deprecated": tags.get("deprecated", ""),
            "removed": text(removed),
            "announced": announced if not removed else "",
            "unreadable": text(self._unreadable(kind)) if life["what"] == "object" else "",
            "replacement": best["api"] if best else "",
            "field_compatible": best["compatible"] if best else None,
            "candidates": candidates,
            "behaviour": behaviour.get("behaviour", ""),
            "only_when_empty": behaviour.get("only_when_empty", ""),
            "source": "; ".join(source),
        }

    def _unreadable(self, kind: str) -> int | None:
        """The first minor whose scheme lacks the version: what is stored in it cannot be read."""
        spans = self.scheme.get(kind)
        return spans[-1][1] + 1 if spans and spans[-1][1] < LAST_MINOR else None

    def _behaviour(self, kind: str) -> dict[str, str]:
        curated: list[dict[str, str]] = json.loads((CURATED / "behaviour.json").read_bytes())
        return next((row for row in curated if row["kind"] == kind), {})

    def _candidates(self, kind: str) -> list[Row]:
        """Every API that could take a kind's place, best first: stable before beta, new before
        old. `from`/`until` bound the minors that serve it by default, so that a chain of
        replacements that were themselves removed resolves at any target."""
        group, version, name = kind.split("/")
        wanted = {k for k in self._life if k.split("/")[0] == group and k.split("/")[2] == name}
        step, hops = kind, 0
        while hops < 6:  # follow the tags, for replacements in another group
            _, tags = self._tags(step)
            replacement = tags.get("replacement", "")
            if replacement.endswith("List"):  # the tag of IngressClass v1beta1 is wrong
                replacement = replacement.removesuffix("List")
            if not replacement or replacement not in self._life:
                break
            wanted |= {
                k
                for k in self._life
                if k.split("/")[0] == replacement.split("/")[0]
                and k.split("/")[2] == replacement.split("/")[2]
            }
            step, hops = replacement, hops + 1
        wanted.discard(kind)
        order = {"GA": 2, "beta": 1, "alpha": 0}
        out = []
        for other in wanted:
            life = self._life[other]
            other_group, other_version, other_kind = other.split("/")
            if not life["default"] or life["what"] == "subresource" != self._life[kind]["what"]:
                continue
            gv = f"{other_group}/{other_version}" if other_group else other_version
            if life["default"][0] <= self._life[kind]["there"][0] and (
                order[stage(other_version)] < order[stage(version)]
            ):
                continue
            compatible, changes = self._compatible(kind, other)
            out.append(
                (
                    (-order[stage(other_version)], -life["default"][0], other),
                    {
                        "api": gv if other_kind == name else f"{gv} {other_kind}",
                        "from": text(life["default"][0]),
                        "until": text(life["removed"]),
                        "compatible": compatible,
                        "changes": changes,
                    },
                )
            )
        return [row for _, row in sorted(out, key=lambda pair: pair[0])]

    def _compatible(self, old: str, new: str) -> tuple[bool | None, list[str]]:
        """Compared in the last minor whose schema holds both, or else the old kind's last minor
        with the new kind's first after it; None when a schema is missing."""
        first: tuple[int, str] | None = None
        for n in reversed(MINORS):
            a, b = self.definition(old, n), self.definition(new, n)
            if b:
                first = (n, b)
            if a and first:
                at, name = (n, b) if b else first
                changes = openapi.differences(self.schemas[n], a, self.schemas[at], name)
                return not changes, changes
        return None, []

    def _compare_second(self, names: Iterable[str]) -> None:
        for kind in sorted({*names, *self.validate}):
            for n in MINORS:
                mine, second = (
                    self.definition(kind, n) is not None,
                    n in self.validate.get(kind, ()),
                )
                if mine != second and kind in self._life:
                    self._disagree(
                        "apis",
                        kind,
                        text(n),
                        "kubernetes-validate " + ("defines it" if second else "does not define it"),
                        "the release's own openapi " + ("does" if mine else "does not"),
                    )

    def _disagree(self, table: str, subject: str, minor: str, one: str, other: str) -> None:
        self.disagreements.append(
            {"table": table, "subject": subject, "minor": minor, "one": one, "taken": other}
        )

    # -- fields ----------------------------------------------------------------------------------

    def fields(self) -> list[Row]:
        rows = []
        for n in list(MINORS)[1:]:
            before, after = self.schemas[n - 1], self.schemas[n]
            for definition in sorted(before.keys() & after.keys()):
                old, new = before[definition], after[definition]
                changed = [(f, "removed", n - 1) for f in old.keys() - new.keys()]
                changed += [
                    (f, "required", n)
                    for f, kind in new.items()
                    if kind.endswith("!") and not old.get(f, "").endswith("!")
                ]
                for field, change, look in sorted(changed):
                    where = self._where(definition, field, look, n)
                    if where:
                        rows.append(
                            {
                                "minor": text(n),
                                "change": change,
                                "definition": definition,
                                "field": field,
                                "type": (old if change == "removed" else new)[field].rstrip("!"),
                                "where": where,
                                "source": f"openapi v1.{n - 1}.0 against v1.{n}.0",
                            }
                        )
        return rows

    def _where(self, definition: str, field: str, look: int, n: int) -> dict[str, list[str]]:
        """ "group/version/Kind" -> paths. "*" when it is in the metadata of every kind."""
        if definition.endswith("meta.v1.ObjectMeta"):
            return {"*": [f"metadata.{field}"]}
        if definition.endswith(".meta.v1.ListMeta"):
            return {}
        where = {}
        for kind in sorted(self.facts[n]["kinds"].keys() & self.facts[n - 1]["kinds"].keys()):
            root = self.definition(kind, look)
            if (
                root
                and (
                    paths := sorted(openapi.paths_to(self.schemas[look], root, (definition, field)))
                )
                and (kept := [p for p in paths if not p.startswith("metadata.")])
            ):
                where[kind] = kept
        return where

    # -- gates -----------------------------------------------------------------------------------

    def gates(self) -> list[Row]:
        rows = []
        names = sorted({g for n in MINORS for g in self.facts[n]["gates"]})
        for name in names:
            there = [n for n in MINORS if name in self.facts[n]["gates"]]
            stages: list[Row] = []
            locked = ""
            packages: set[str] = set()
            for n in there:
                entry = self.facts[n]["gates"][name]
                packages |= set(entry["packages"])
                _, what, default, lock = entry["stages"][-1]
                if not stages or (stages[-1]["stage"], stages[-1]["default"]) != (what, default):
                    stages.append({"minor": text(n), "stage": what, "default": default})
                if lock and not locked:
                    locked = text(n)
                elif not lock:
                    locked = ""
            last = self._last_everywhere(name, there)
            removed = last + 1 if last < LAST_MINOR else None
            if gaps := [n for n in range(there[0], there[-1]) if n not in there]:
                self._disagree(
                    "gates",
                    name,
                    text(gaps[0]),
                    "not declared in this minor",
                    f"declared again in {text(next(n for n in there if n > gaps[0]))}",
                )
            rows.append(
                {
                    "name": name,
                    "components": components_of(packages),
                    "stages": stages,
                    "locked": locked,
                    "removed": text(removed),
                    "source": f"{', '.join(sorted(packages))} features v1.{there[0]}.0–v1.{last}.0",
                }
            )
        for n in MINORS:
            listed = set(self.facts[n]["listed_gates"])
            if listed:
                mine = {
                    g
                    for g, e in self.facts[n]["gates"].items()
                    if set(e["packages"]) - {"client-go", "kubeadm"}
                }
                for name in sorted(listed ^ mine):
                    self._disagree(
                        "gates",
                        name,
                        text(n),
                        "the release's own gate list "
                        + ("has it" if name in listed else "lacks it"),
                        "its source " + ("declares it" if name in mine else "does not declare it"),
                    )
        return rows

    def _last_everywhere(self, name: str, there: list[int]) -> int:
        """The last minor at which every component that had a gate takes it: what kubeadm or the
        shared part of the controller managers keeps longer, a kubelet refuses."""
        packages = {n: set(self.facts[n]["gates"][name]["packages"]) for n in there}
        last = max((n for n in there if packages[n] - LIMITED), default=there[-1])
        if last < there[-1]:
            self._disagree(
                "gates",
                name,
                text(last + 1),
                f"{', '.join(sorted(packages[there[-1]]))} declares it until {text(there[-1])}",
                "removed: the other components refuse it",
            )
        return last

    # -- flags -----------------------------------------------------------------------------------

    def flags(self) -> list[Row]:
        rows = []
        for component in sorted(self.facts[FIRST_MINOR]["flags"]):
            rows += self._component_flags(
                component, {n: self.facts[n]["flags"][component] for n in MINORS}, text
            )
        curated: list[Row] = json.loads((CURATED / "flags.json").read_bytes())
        derived = {(row["component"], row["flag"]) for row in rows}
        rows += [row for row in curated if (row["component"], row["flag"]) not in derived]
        lines = sorted(ETCD)
        etcd = {i: extract_etcd(line)["flags"] for i, line in enumerate(lines)}
        rows += self._component_flags("etcd", etcd, lambda i: "" if i is None else lines[i])
        return rows

    def _component_flags(
        self, component: str, by: dict[int, Any], name_of: Callable[[int | None], str]
    ) -> list[Row]:
        rows = []
        last = max(by)
        for flag in sorted({f for found in by.values() for f in found}):
            there = [n for n in sorted(by) if flag in by[n]]
            defaults: list[Row] = []
            note, deprecated = "", None
            for n in there:
                row = by[n][flag]
                default = row.get("default")
                if NO_DEFAULT.match(f"{component} {flag}"):
                    default = None
                if default is not None and (not defaults or defaults[-1]["default"] != default):
                    defaults.append({"minor": name_of(n), "default": default})
                if "deprecated" in row:
                    note = row["deprecated"]
                    deprecated = n if deprecated is None else deprecated
                else:
                    deprecated, note = None, ""
            gaps = [n for n in range(there[0], there[-1]) if n not in there]
            if gaps:
                self._disagree(
                    "flags",
                    f"{component} --{flag}",
                    name_of(gaps[0]),
                    "not registered here",
                    f"registered again in {name_of(next(n for n in there if n > gaps[0]))}",
                )
            newest = by[there[-1]][flag]
            rows.append(
                {
                    "component": component,
                    "flag": flag,
                    "type": newest["type"],
                    "added": name_of(there[0]) if there[0] != min(by) else "",
                    "deprecated": name_of(deprecated),
                    "note": note,
                    "removed": name_of(there[-1] + 1) if there[-1] != last else "",
                    "defaults": defaults,
                    "source": f"{newest['file']} {name_of(there[-1])}",
                }
            )
        return rows

    # -- the rest --------------------------------------------------------------------------------

    def _spans(self, values: Callable[[int], Iterable[str]]) -> list[tuple[str, list[int]]]:
        found: dict[str, list[int]] = {}
        for n in MINORS:
            for value in values(n):
                found.setdefault(value, []).append(n)
        return sorted(found.items())

    def _bounds(self, there: list[int]) -> dict[str, str]:
        return {
            "added": text(there[0]) if there[0] != FIRST_MINOR else "",
            "removed": text(there[-1] + 1) if there[-1] != LAST_MINOR else "",
        }

    def plugins(self) -> list[Row]:
        rows = []
        for name, there in self._spans(lambda n: self.facts[n]["plugins"]["all"]):
            changes: list[Row] = []
            for n in there:
                on = name in self.facts[n]["plugins"]["on_by_default"]
                if not changes or changes[-1]["on"] != on:
                    changes.append({"minor": text(n), "on": on})
            rows.append(
                {
                    "plugin": name,
                    **self._bounds(there),
                    "default": changes,
                    "source": f"pkg/kubeapiserver/options/plugins.go v1.{there[-1]}.0",
                }
            )
        return rows

    def configurations(self) -> list[Row]:
        def kinds(n: int) -> Iterable[str]:
            for api, names in self.facts[n]["configurations"].items():
                yield from (f"{api}/{kind}" for kind in names)

        return [
            {
                "group": name.split("/")[0],
                "version": name.split("/")[1],
                "kind": name.split("/")[2],
                **self._bounds(there),
                "source": f"scheme registration v1.{there[-1]}.0",
            }
            for name, there in self._spans(kinds)
        ]

    def in_tree(self) -> list[Row]:
        rows = []
        for what, key in (("volume plugin", "volumes"), ("cloud provider", "clouds")):
            for name, there in self._spans(lambda n, key=key: self.facts[n][key]):
                row = {
                    "what": what,
                    "name": name,
                    **self._bounds(there),
                    "source": f"k8s.io/kubernetes v1.{there[-1]}.0 "
                    + ("pkg/volume" if key == "volumes" else "pkg/cloudprovider/providers"),
                }
                rows.append(row | self._switched_off(name))
        return rows

    def _switched_off(self, plugin: str) -> Row:
        """What the gate of a plugin says of its end, where it has one."""
        gate = SWITCHED.get(plugin, "")
        stages = {n: g["stages"][-1] for n in MINORS if (g := self.facts[n]["gates"].get(gate))}
        off = [n for n, (_, _, on, _) in stages.items() if not on]
        if not off:
            return {}
        locked = next((n for n in off if stages[n][3]), None)
        told = f"off by default from v1.{off[0]}.0 (feature gate {gate})"
        if locked:
            told += f", locked off from v1.{locked}.0"
        return {"removed": text(off[0]), "source": told}

    def demands(self) -> list[Row]:
        rows: list[Row] = json.loads((CURATED / "demands.json").read_bytes())
        for n in MINORS:
            for key, value in self.facts[n]["etcd"].items():
                rows.append(
                    {
                        "on": "etcd",
                        "minor": text(n),
                        "demand": key.replace("_", " "),
                        "value": value,
                        "source": f"k8s.io/kubernetes v1.{n}.0",
                    }
                )
            before = self.facts[n - 1]["kernel"] if n > FIRST_MINOR else {}
            for key, value in self.facts[n]["kernel"].items():
                if before.get(key) != value:
                    rows.append(
                        {
                            "on": "kernel",
                            "minor": text(n),
                            "demand": words(key),
                            "value": value,
                            "source": f"pkg/util/kernel/constants.go v1.{n}.0",
                        }
                    )
        return rows

    def releases_table(self) -> list[Row]:
        rows: list[Row] = self.releases["rows"]
        return rows


def words(camel: str) -> str:
    """ "TCPFinTimeoutNamespaced" -> "TCP fin timeout namespaced": only acronyms stay."""
    parts = re.findall(r"NFTables|QoS|[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z0-9]*|[A-Z]+", camel)
    first, *rest = ("nftables" if part == "NFTables" else part for part in parts)
    return " ".join([first, *(p if p.isupper() or p == "QoS" else p.lower() for p in rest)])


def components_of(packages: set[str]) -> list[str]:
    """Who accepts a gate, by the package that registers it. The components share one gate registry
    and all link the common feature packages (checked against the binaries of the newest minors)."""
    if packages == {"kubeadm"}:
        return ["kubeadm"]
    if packages == {"controller-manager"}:
        return ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kubelet"]
    out = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"]
    return [*out, "kubeadm"] if "kubeadm" in packages else out


def extract_etcd(line: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((extract.EXTRACTS / f"etcd-{line}.json").read_bytes())
    return facts


def encode(rows: list[Row]) -> bytes:
    """One row a line: small, and its history in git is readable."""
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()
