"""Runs the rules over files, directories, charts and standard input, and mends where asked."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pawl.adapters.manifests import charts
from pawl.adapters.manifests.trees import Unparsable, from_json, from_yaml, stream, unrendered, utf8
from pawl.core.errors import ConfigError
from pawl.core.lint import fix
from pawl.core.lint.finding import LintFinding, NotRead
from pawl.core.lint.glance import Chunk, Lines, blank, look, split
from pawl.core.lint.judge import Judge
from pawl.core.lint.node import Node, plain
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
        self.files = self.documents = self.objects = 0

    def named(self, path: str) -> None:
        """A path that a person gave: as `path`, but a directory that holds nothing to read is no
        clean answer. It is what a moved directory leaves in a CI job."""
        before = self.files, len(self.not_read)
        self.path(path)
        if before == (self.files, len(self.not_read)) and not charts.is_chart(path):
            self._unread(path, f"holds no file that ends in {', '.join(SUFFIXES)}")

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
            elif charts.is_chart(path):
                self._chart(path)
            elif entry.name.endswith(SUFFIXES):
                self.file(path)

    def standard_input(self, data: bytes) -> None:
        """What another program wrote into the pipe. Nothing at all is no clean answer: it is what a
        failed `helm template` writes."""
        if data.strip():
            self.data(data, "-")
        else:
            self._unread("-", "nothing came: the program that writes into the pipe may have failed")

    def file(self, path: str) -> None:
        try:
            with open(path, "rb") as handle:
                data = handle.read()
        except OSError as error:
            self._unread(path, f"cannot be read: {error.strerror}")
            return
        before = len(self.findings)
        self.data(data, path)
        found = self.findings[before:]
        if self._mend and any(f.fixable for f in found):
            new, lines = fix.rewrite(data, found)
            if lines:
                _replace(path, new)
                self.findings[before:] = [
                    msgspec.structs.replace(f, fixed=True) if f.fixable and f.line in lines else f
                    for f in found
                ]

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
            self.objects += 1
            if b"{{" not in seen.kind.encode() and not self._judge.interest(
                seen.api_version, seen.kind, chunk.text
            ):
                return
        elif not seen.parse and blank(chunk):
            return
        self._parsed(chunk, path, lines)  # without a kind too: broken YAML is not clean

    def _parsed(self, chunk: Chunk, path: str, lines: Lines) -> None:
        first = lines.at(chunk.start)
        try:
            for node in from_yaml(chunk.text, first):
                if unrendered(node) and _TEMPLATE.search(chunk.text):
                    self._unread(path, _IS_TEMPLATE, node.line)
                self._judged(node, path)
        except Unparsable as error:
            why = f"is not YAML: {error}"
            if _TEMPLATE.search(chunk.text):
                why = _IS_TEMPLATE
            self._unread(path, why, first + error.line - 1)

    def _json(self, data: bytes, path: str) -> None:
        try:
            self._json_document(data, path, 1)
            return
        except Unparsable as error:
            first = error
        before = len(self.findings), self.documents, self.objects
        try:  # several JSON documents in a row
            for part, line in stream(data):
                self._json_document(part, path, line)
            return
        except Unparsable:
            del self.findings[before[0] :]
            self.documents, self.objects = before[1:]
        if data.lstrip().startswith(b"{{"):  # which YAML would take for a mapping of a mapping
            self._unread(path, _IS_TEMPLATE, 1)
            return
        try:  # flow-style YAML
            nodes = [node for chunk in split(data) for node in from_yaml(chunk.text)]
        except Unparsable:
            if b"apiVersion" in data or _TEMPLATE.search(data):
                self._unread(path, str(first), first.line)
            return  # without the word it is no manifest (a tsconfig.json with its comments)
        for node in nodes:
            self.documents += 1
            self.objects += bool(node.text("kind"))
            self._judged(node, path)

    def _json_document(self, data: bytes, path: str, first: int) -> None:
        for head, api, kind, raw in from_json(data):
            self.documents += 1
            self.objects += bool(api and kind)
            if not self._judge.interest(api, kind, raw):
                continue
            whole = {**msgspec.json.decode(raw), "apiVersion": api, "kind": kind}
            at = raw.find(b'"apiVersion"')
            line = first - 1 + head.line + (raw.count(b"\n", 0, at) if at > 0 else 0)
            self._judged(plain(whole, line), path)

    def _judged(self, node: Node, path: str) -> None:
        for item in node.items():  # `kubectl get -o json | jq .items`
            self.objects += bool(item.text("apiVersion") and item.text("kind"))
            self._judged(item, path)
        self.findings += self._judge.judge(
            node, path, self._owners.of(os.path.relpath(os.path.realpath(path), self._root))
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
        self.not_read.append(NotRead(path=path, line=line, why=why))


def _replace(path: str, data: bytes) -> None:
    """Write beside and rename, keeping the mode; a symbolic link's target is what changes."""
    real = os.path.realpath(path)
    beside = f"{real}.pawl-fix"
    mode = os.stat(real).st_mode
    with open(beside, "wb") as handle:
        handle.write(data)
    os.chmod(beside, mode & 0o7777)
    os.replace(beside, real)


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
