"""Runs the rules over files, directories, charts and standard input, and mends where asked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pawl.adapters.manifests import charts, kustomize
from pawl.adapters.manifests.mending import left, mended
from pawl.adapters.manifests.trees import (
    Unparsable,
    from_json,
    from_yaml,
    stream,
    unrendered,
    utf8,
    whole,
)
from pawl.core.errors import ConfigError
from pawl.core.lint.finding import LintFinding, NotRead
from pawl.core.lint.glance import Chunk, Lines, blank, look, split
from pawl.core.lint.judge import Judge
from pawl.core.lint.node import Node
from pawl.core.lint.owners import Owners

SUFFIXES = (".yaml", ".yml", ".json")
SKIPPED = (".git", "node_modules", ".terraform", "__pycache__", ".venv", "vendor")
_TEMPLATE = re.compile(rb"\{\{")
_IS_TEMPLATE = "is a template: lint what it renders to (helm template … | pawl lint -)"


class Linter:
    """Collects findings over any number of inputs. Paths are reported as they were given."""

    def __init__(
        self,
        judge: Judge,
        owners: Owners | None = None,
        *,
        root: Path = Path(),
        mend: bool = False,
        helm: str = "helm",
    ) -> None:
        """`root` is the directory that the patterns of `owners` start from."""
        self._judge, self._owners, self._mend = judge, owners or Owners(), mend
        self._root = root.resolve()
        self._helm = helm
        self.findings: list[LintFinding] = []
        self.not_read: list[NotRead] = []
        self._roots: list[str] = []
        self._links: list[str] = []
        self._kustomizations: list[str] = []
        self.files = self.documents = self.objects = 0

    def named(self, path: str) -> None:
        """A path that a person gave: as `path`, but a directory that holds nothing to read is no
        clean answer. It is what a moved directory leaves in a CI job."""
        before = self.files, len(self.not_read)
        self._roots.append(os.path.realpath(path))
        self.path(path)
        if before == (self.files, len(self.not_read)) and not charts.is_chart(path):
            self._unread(path, f"holds no file that ends in {', '.join(SUFFIXES)}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What lies beside that which was read, a sentence each. The exit code ignores it."""
        out = []
        for link in self._links:
            real = os.path.realpath(link)
            if not any(os.path.commonpath([real, root]) == root for root in self._roots):
                out.append(
                    f"{_shown(link)} leads to another directory and was not followed: name it"
                )
        if self._kustomizations:
            first, more = self._kustomizations[0], len(self._kustomizations) - 1
            out.append(
                f"{_shown(first)}{f' and {more} more' if more else ''}: patches, charts and remote "
                f"resources are only in what it builds: kustomize build "
                f"{_shown(os.path.dirname(first)) or '.'} | pawl lint -"
            )
        return tuple(out)

    def path(self, path: str) -> None:
        """A file or a directory (recursively); one with Chart.yaml, or packed, is a chart."""
        if charts.is_chart(path):
            self._chart(path)
        elif os.path.isdir(path):
            self._directory(path)
        elif path.endswith(charts.PACKED) and os.path.exists(path):
            self._unread(path, "is no packed chart that can be read")
        elif os.path.exists(path):
            self.file(path)
        else:
            raise ConfigError(path, ["there is no such file or directory"])

    def _directory(self, directory: str) -> None:
        try:
            entries = sorted(os.scandir(directory), key=lambda e: e.name)
        except OSError as error:
            self._unread(directory, f"cannot be listed: {error.strerror}")
            return
        for entry in entries:
            path = entry.path.removeprefix("./")
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED:
                    self.path(path)
            elif entry.is_dir():
                self._links.append(path)
            elif charts.is_chart(path):
                self._chart(path)
            elif entry.name.endswith(SUFFIXES):
                if os.path.exists(path) and not os.path.isfile(path):
                    self._unread(path, "is no regular file")  # a pipe would be waited for
                else:
                    self.file(path)

    def standard_input(self, data: bytes) -> None:
        """What another program wrote into the pipe. Nothing at all is no clean answer: it is what a
        failed `helm template` writes."""
        if data.strip():
            before = len(self.findings)
            self.data(data, "-")
            if self._mend:
                self.findings[before:] = [
                    left(f, "not mended: standard input") for f in self.findings[before:]
                ]
        else:
            self._unread("-", "nothing came: the program that writes into the pipe may have failed")

    def file(self, path: str) -> None:
        try:
            with open(path, "rb") as handle:
                data = handle.read()
        except OSError as error:
            self._unread(path, f"cannot be read: {error.strerror}")
            return
        if kustomize.builds(path, data):
            self._kustomizations.append(path)
        before = len(self.findings)
        self.data(data, path)
        found = self.findings[before:]
        if any(f.rule == "field-required" for f in found) and kustomize.is_patch(path):
            self.findings[before:] = [f for f in found if f.rule != "field-required"]
        if self._mend:
            self.findings[before:] = mended(path, data, self.findings[before:])

    def data(self, data: bytes, path: str, *, rendered: str = "") -> None:
        """Judge one stream. `rendered` names the chart that it comes from, which is not mended."""
        self.files += 1
        try:
            data = utf8(data)
        except Unparsable as error:
            self._unread(path, str(error), error.line)
            return
        before = len(self.findings)
        if data.lstrip()[:1] in (b"{", b"["):
            self._json(data, path)
        else:
            lines = Lines(data)
            for chunk in split(data):
                self._chunk(chunk, path, lines)
        if rendered:
            self.findings[before:] = [
                msgspec.structs.replace(f, fixable=False, note=f.note or f"in chart {rendered}")
                for f in self.findings[before:]
            ]

    def _chunk(self, chunk: Chunk, path: str, lines: Lines) -> None:
        seen = look(chunk)
        self.documents += 1
        if seen.api_version:
            if not self._judge.interest(seen.api_version, seen.kind, chunk.text):
                self.objects += 1
                return
        elif not seen.parse and blank(chunk):
            return
        self._parsed(chunk, path, lines)  # without a kind too: broken YAML is not clean

    def _parsed(self, chunk: Chunk, path: str, lines: Lines) -> None:
        first = lines.at(chunk.start)
        try:
            for node in from_yaml(chunk.text, first):
                for top in _tops(node):
                    if unrendered(top) and _TEMPLATE.search(chunk.text):
                        self._unread(path, _IS_TEMPLATE, top.line)
                    else:
                        self._judged(top, path)
        except Unparsable as error:
            why = f"is not YAML: {error}"
            if _TEMPLATE.search(chunk.text):
                why = _IS_TEMPLATE
            self._unread(path, why, first + error.line - 1)

    def _json(self, data: bytes, path: str) -> None:
        before = len(self.findings), self.documents, self.objects
        try:
            self._json_document(data, path, 1)
            return
        except Unparsable as error:
            why = error
            self._back_to(before)
        try:  # several JSON documents in a row
            for part, line in stream(data):
                self._json_document(part, path, line)
            return
        except Unparsable as error:
            why = max(why, error, key=lambda e: e.line)  # the one that came farther
            self._back_to(before)
        if data.lstrip().startswith(b"{{"):  # which YAML would take for a mapping of a mapping
            self._unread(path, _IS_TEMPLATE, 1)
            return
        lines = Lines(data)
        try:  # flow-style YAML
            nodes = [n for c in split(data) for n in from_yaml(c.text, lines.at(c.start))]
        except Unparsable:
            if b"apiVersion" in data or _TEMPLATE.search(data):
                self._unread(path, str(why), why.line)
            return  # without the word it is no manifest (a tsconfig.json with its comments)
        tops = [top for node in nodes for top in _tops(node)]
        if b"apiVersion" in data and not any(top.get("apiVersion") for top in tops):
            self._unread(path, str(why), why.line)  # what YAML makes of a comment in JSON
            return
        self.documents += len(nodes)
        for top in tops:
            self._judged(top, path)

    def _back_to(self, before: tuple[int, int, int]) -> None:
        """Forget what an attempt has found that then failed."""
        del self.findings[before[0] :]
        self.documents, self.objects = before[1:]

    def _json_document(self, data: bytes, path: str, first: int) -> None:
        for head, api, kind, raw in from_json(data):
            self.documents += 1
            if not self._judge.interest(api, kind, raw):
                self.objects += bool(api and kind)
                continue
            at = raw.find(b'"apiVersion"')
            line = first - 1 + head.line + (raw.count(b"\n", 0, at) if at > 0 else 0)
            self._judged(whole(raw, api, kind, line), path)

    def _judged(self, node: Node, path: str) -> None:
        self.objects += _objects(node)
        self.findings += self._judge.judge(
            node,
            _shown(path),
            self._owners.of(os.path.relpath(os.path.realpath(path), self._root)),
        )

    def _chart(self, path: str) -> None:
        """Charts are judged by what they render to; the lines are those of the rendering."""
        if charts.is_library(path):
            return
        name = os.path.basename(os.path.normpath(path))
        before = len(self.findings)
        try:
            for source, part in charts.render(
                self._helm, path, self._judge.target, self._judge.served
            ):
                self.data(part, source, rendered=name)
        except charts.Unrendered as why:
            self._unread(path, str(why))
            return
        removed = [f for f in self.findings[before:] if f.rule == "api-removed"]
        asked = charts.asked(path) if removed else frozenset()
        for i, f in enumerate(self.findings[before:], before):
            if f in removed and f.api_version in asked:
                note = f"{f.note}; {charts.MAY_DIFFER}" if f.note else charts.MAY_DIFFER
                self.findings[i] = msgspec.structs.replace(f, note=note)

    def _unread(self, path: str, why: str, line: int = 0) -> None:
        self.not_read.append(NotRead(path=_shown(path), line=line, why=why))


def _shown(path: str) -> str:
    """A path as text for every format; bytes that are no UTF-8 as their escape."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _tops(node: Node) -> Iterator[Node]:
    """A document, or what it holds where it is a list (`kubectl get -o json | jq .items`), each
    list once, however often it is aliased."""
    todo, seen = [node], set()
    while todo:
        here = todo.pop()
        if not isinstance(here.value, list):
            yield here
        elif id(here) not in seen:
            seen.add(id(here))
            todo += reversed(here.value)


def _objects(node: Node) -> int:
    """Objects that a document is or, being a List, holds."""
    items = node.get("items")
    if node.text("kind").endswith("List") and items is not None:
        return sum(isinstance(item.value, dict) for item in items.items())
    return int(bool(node.text("kind") and node.text("apiVersion")))


def find_owners(paths: Sequence[str]) -> Path | None:
    """The CODEOWNERS of the first repository above (or at) one of the paths."""
    for path in paths:
        start = Path(path if path != "-" else ".").resolve()
        for directory in (start, *start.parents):
            for name in (
                "CODEOWNERS",
                ".github/CODEOWNERS",
                "docs/CODEOWNERS",
                ".gitlab/CODEOWNERS",
            ):
                if (directory / name).is_file():
                    return directory / name
            if (directory / ".git").exists():
                break
    return None
