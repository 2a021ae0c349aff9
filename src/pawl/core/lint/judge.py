"""The rules: what a document's apiVersion, kind and fields mean at the target minor.

`Judge` is made once for a target. `interest` is asked for every document by (apiVersion, kind) and
its bytes: one dictionary look-up says that there is nothing to find, or that it must be parsed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from pawl.core.findings import Severity
from pawl.core.knowledge.answer import replacement
from pawl.core.knowledge.rows import Api, Configuration, FieldChange, key
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint.finding import LintFinding
from pawl.core.lint.node import Node, reach

OWNER_KEYS = ("pawl.dev/owner", "owner", "team")
"""Annotations, then labels, that name who owns an object; the first that is there counts."""

_VOLUME_KEYS = {
    "kubernetes.io/cephfs": "cephfs",
    "kubernetes.io/flocker": "flocker",
    "kubernetes.io/git-repo": "gitRepo",
    "kubernetes.io/glusterfs": "glusterfs",
    "kubernetes.io/quobyte": "quobyte",
    "kubernetes.io/rbd": "rbd",
    "kubernetes.io/scaleio": "scaleIO",
    "kubernetes.io/storageos": "storageos",
}
"""Plugins whose volumes no CSI driver takes over: plugin -> its key in a volume source. The others
(cloud disks, vSphere, Portworx) are migrated to CSI and stay valid."""

_INSTEAD = {"gitRepo": "clone it in an init container, into an emptyDir"}
"""What to do, where it is not to move data to a CSI driver."""

_SIBLINGS = {b"pathType": b"backend"}
"""A key that every item of the same list must have, exactly once: when the required one is written
at least as often, no item can lack it. Without it each Ingress would have to be parsed."""

_NO_RESOURCE = (("v1", "Config"), ("v1", "List"), ("v1", "Status"), ("v1", "DeleteOptions"))
"""Kinds of built-in groups that no API server serves as a resource: a kubeconfig, and envelopes."""

_THERE = ("api-deprecated",)
"""Rules on an API that is served all the same."""

_VOLUME_KINDS = ("PersistentVolume", "StorageClass")

_TEMPLATES = ("spec", "spec.template.spec", "spec.jobTemplate.spec.template.spec", "template.spec")


@dataclass(slots=True)
class _Known:
    """What is known at the target about one (apiVersion, kind)."""

    api: tuple[Severity, str] | None = None  # severity and rule
    row: Api | None = None
    configuration: Configuration | None = None
    fields: list[tuple[bytes, str, FieldChange]] = field(default_factory=list)


class Judge:
    """Rules for one target minor ("1.37"), from the tables (and a user's corrections)."""

    def __init__(self, knowledge: Knowledge, target: str) -> None:
        self.knowledge, self.target = knowledge, target
        self._at = key(target)
        self._known: dict[tuple[str, str], _Known] = {}
        self._groups = knowledge.built_in_groups
        self._everywhere: list[tuple[bytes, str, FieldChange]] = []
        for row in knowledge.apis:
            self._known[row.api_version, row.kind] = _Known(api=self._verdict(row), row=row)
        for config in knowledge.configurations:
            if config.removed and key(config.removed) <= self._at:
                entry = self._known.setdefault(
                    (f"{config.group}/{config.version}", config.kind), _Known()
                )
                entry.configuration = config
        for change in knowledge.fields:
            self._add(change)
        self._volumes = {
            _VOLUME_KEYS[row.name]: row
            for row in knowledge.in_tree
            if row.name in _VOLUME_KEYS and row.removed and key(row.removed) <= self._at
        }
        self._volume_words = tuple((k.encode(), r.name.encode()) for k, r in self._volumes.items())

    def _add(self, change: FieldChange) -> None:
        if key(change.minor) > self._at:
            return
        for kind, paths in change.where.items():
            for path in paths:
                if path.startswith("status") or "managedFields" in path or path.endswith(".Raw"):
                    continue  # the controller's or the API server's own
                entry = (change.field.encode(), path, change)
                if kind == "*":
                    self._everywhere.append(entry)
                    continue
                group, version, name = kind.split("/")
                known = self._known.get((f"{group}/{version}" if group else version, name))
                if known:
                    known.fields.append(entry)

    def _verdict(self, row: Api) -> tuple[Severity, str] | None:
        at = self._at
        if row.removed and key(row.removed) <= at:
            return Severity.BLOCKER, "api-removed"
        if row.introduced and key(row.introduced) > at:
            return Severity.BLOCKER, "api-too-new"
        if not row.default_served or (row.served_from and key(row.served_from) > at):
            return Severity.WARNING, "api-off-by-default"
        if row.deprecated and key(row.deprecated) <= at:
            return Severity.WARNING, "api-deprecated"
        return None

    @property
    def served(self) -> tuple[str, ...]:
        """What the target serves by default, as a chart asks for it: "apps/v1",
        "apps/v1/Deployment"."""
        rows = [r for r in self.knowledge.apis if (v := self._verdict(r)) is None or v[1] in _THERE]
        kinds = {f"{r.api_version}/{r.kind}" for r in rows if r.what == "object"}
        return tuple(sorted({r.api_version for r in rows} | kinds))

    def interest(self, api_version: str, kind: str, text: bytes) -> bool:
        """Whether a document of this kind, with these bytes, must be parsed."""
        if kind.endswith("List"):
            return True
        known = self._known.get((api_version, kind))
        if known is None:
            return self._unknown(api_version)
        if known.api or known.configuration:
            return True
        for word, path, change in known.fields:
            gone = change.change == "removed"
            if _may_have(path, word, text) if gone else _may_lack(path, word, text):
                return True
        for word, path, _ in self._everywhere:
            if word in text and _may_have(path, word, text):
                return True
        if b"volumes" in text or kind in _VOLUME_KINDS:
            for word, name in self._volume_words:
                if _named(word, text) or name in text:
                    return True
        return False

    def _unknown(self, api_version: str) -> bool:
        group, _, version = api_version.rpartition("/")
        return bool(version) and group in self._groups

    def judge(self, node: Node, path: str, owner: str = "") -> Iterator[LintFinding]:
        """Findings of one object (or of every item of a List)."""
        kind = node.text("kind")
        items = node.get("items")
        if kind.endswith("List") and items is not None:
            for item in items.items():
                inner = item
                if not item.text("kind") and isinstance(item.value, dict):  # a typed list's items
                    inner = Node(
                        {
                            **item.value,
                            "apiVersion": Node(node.text("apiVersion"), item.line),
                            "kind": Node(kind.removesuffix("List"), item.line),
                        },
                        item.line,
                    )
                yield from self.judge(inner, path, owner)
            return
        api_version = node.text("apiVersion")
        if not (kind and api_version):
            return
        about = _About(node, path, api_version, kind, owner)
        known = self._known.get((api_version, kind))
        if known is None:
            if self._unknown(api_version) and (api_version, kind) not in _NO_RESOURCE:
                oldest, newest = self.knowledge.oldest, self.knowledge.newest
                yield about.finding(
                    "api-unknown",
                    Severity.WARNING,
                    f"no Kubernetes from {oldest} to {newest} served {api_version} {kind}: a "
                    "typing mistake, or a custom resource in a built-in group",
                )
            return
        if known.row and known.api:
            yield self._api(about, known.row, *known.api)
        if known.configuration:
            gone = known.configuration
            yield about.finding(
                "configuration-removed",
                Severity.BLOCKER,
                f"{api_version} {kind} is not read from {gone.removed} on: the component does not "
                "start with it",
                minor=gone.removed,
            )
        yield from self._fields(about, known)
        yield from self._in_tree(about)

    def _api(self, about: _About, row: Api, severity: Severity, rule: str) -> LintFinding:
        best = replacement(row, self.target)
        compatible = bool(best and best.compatible)
        other_kind = bool(best and " " in best.api)
        quiet = not row.behaviour or bool(
            row.only_when_empty
            and (found := list(reach(about.node, row.only_when_empty)))
            and all(not n.empty for n in found)
        )
        match rule:
            case "api-removed":
                message = f"{row.name} is removed in {row.removed}"
                minor = row.removed
            case "api-too-new":
                message = f"{row.name} exists only from {row.introduced} on"
                minor, best = row.introduced, None
            case "api-off-by-default":
                message = f"{row.name} is {row.stage} and off by default in {self.target}"
                if best is None:
                    message += f": the API server needs --runtime-config={row.api_version}=true"
                minor = self.target
            case _:
                message = f"{row.name} is deprecated since {row.deprecated}"
                minor = row.announced
                if row.announced:
                    message += f" and is to be removed in {row.announced}"
        if best:
            message += f"; use {best.api}"
            message += ", only the apiVersion changes" if compatible else ", fields change too"
        elif rule == "api-removed":
            message += " and nothing takes its place"
        return about.finding(
            rule,
            severity,
            message,
            minor=minor,
            replacement=best.api if best else "",
            change="none" if not best else "version" if compatible else "fields",
            fields=best.changes if best and not compatible else (),
            note="" if quiet else row.behaviour,
            fixable=bool(best and compatible and not other_kind and quiet),
        )

    def _fields(self, about: _About, known: _Known) -> Iterator[LintFinding]:
        for _, path, change in [*known.fields, *self._everywhere]:
            if change.change == "removed":
                for node in reach(about.node, path):
                    yield about.finding(
                        "field-removed",
                        Severity.WARNING,
                        f"{path} was removed in {change.minor}: the API server drops it",
                        minor=change.minor,
                        line=node.line,
                        change="fields",
                        fields=(f"{path} is gone",),
                    )
                continue
            parent, _, name = path.rpartition(".")
            for node in reach(about.node, parent) if parent else [about.node]:
                if isinstance(node.value, dict) and name not in node.value:
                    yield about.finding(
                        "field-required",
                        Severity.WARNING,
                        f"{path} must be given from {change.minor} on",
                        minor=change.minor,
                        line=node.line,
                        change="fields",
                        fields=(f"{path} is required",),
                    )

    def _in_tree(self, about: _About) -> Iterator[LintFinding]:
        provisioner = about.node.text("provisioner")
        places = [about.node.get("spec")] if about.kind == "PersistentVolume" else []
        for prefix in _TEMPLATES:
            places += [*reach(about.node, f"{prefix}.volumes[]")]
        for word, row in self._volumes.items():
            lines = [n.line for p in places if p and (n := p.get(word))]
            if provisioner == row.name and (at := about.node.get("provisioner")):
                lines.append(at.line)
            for line in lines:
                yield about.finding(
                    "volume-removed",
                    Severity.BLOCKER,
                    f"the in-tree volume plugin {row.name} was removed in {row.removed}: the "
                    "volume cannot be mounted; "
                    + _INSTEAD.get(word, "move the data to a CSI driver"),
                    minor=row.removed,
                    line=line,
                )


@dataclass(slots=True)
class _About:
    """The object in hand, to make findings about it."""

    node: Node
    path: str
    api_version: str
    kind: str
    owner: str

    def finding(
        self, rule: str, severity: Severity, message: str, *, line: int = 0, **more: object
    ) -> LintFinding:
        at = self.node.get("apiVersion")
        return LintFinding(
            rule=rule,
            severity=severity,
            path=self.path,
            line=line or (at.line if at else self.node.line),
            api_version=self.api_version,
            kind=self.kind,
            namespace=self.node.text("metadata", "namespace"),
            name=self.node.text("metadata", "name") or self.node.text("metadata", "generateName"),
            owner=owner_of(self.node) or self.owner,
            message=message,
            **more,  # type: ignore[arg-type]
        )


def owner_of(node: Node) -> str:
    for place in ("annotations", "labels"):
        for name in OWNER_KEYS:
            if found := node.text("metadata", place, name):
                return found
    return ""


def _named(word: bytes, text: bytes) -> bool:
    """Whether a key is written somewhere in the bytes: bare, quoted, or before a spaced colon."""
    return word in text and (
        word + b":" in text
        or word + b'"' in text
        or word + b"'" in text
        or word + b" :" in text
        or b"? " in text
    )


def _may_have(path: str, word: bytes, text: bytes) -> bool:
    """Whether a removed field may be there: its key and those of all its parents are written."""
    return _named(word, text) and all(_named(part, text) for part in _parents(path))


def _may_lack(path: str, word: bytes, text: bytes) -> bool:
    """Whether a required field may be missing, by the bytes: every parent is named, and the field
    is not, or its parent is a list, of which one item may have it and another not."""
    parents = _parents(path)
    if not parents:
        return b"\n" + word + b":" not in text and b'"' + word + b'"' not in text
    if not all(_named(part, text) for part in parents):
        return False
    if word not in text:
        return True
    if sibling := _SIBLINGS.get(word):
        return text.count(word) < text.count(sibling)
    return "[]" in path or "{}" in path


@functools.cache
def _parents(path: str) -> tuple[bytes, ...]:
    return tuple(part.rstrip("[]{}").encode() for part in path.split(".")[:-1])
