"""Documentation keeps up with the code: every command and every setting is described."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cyclopts import App

from pawl.core.config import Config
from pawl.core.verify.catalog import CATALOG
from pawl.interfaces.cli.main import COMMANDS, app
from pawl.interfaces.cli.reference import leaves, reference

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("name", [name for _, name, _, _ in COMMANDS])
def test_every_command_is_documented(name: str) -> None:
    assert re.search(rf"`pawl {name}\b|^pawl {name}\b", DOCS, re.MULTILINE), (
        f"docs/ never shows `pawl {name}`"
    )


def test_the_page_of_commands_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == reference(), "run `python -m pawl.interfaces.cli.reference > docs/commands.md`"


def test_every_variable_that_the_code_reads_is_documented() -> None:
    code = "".join(p.read_text() for p in (ROOT / "src").rglob("*.py"))
    page = (ROOT / "docs" / "commands.md").read_text()
    read = set(re.findall(r"\bPAWL_[A-Z_]+\b", code))
    assert len(read) > 5
    assert [name for name in sorted(read) if f"`{name}`" not in page] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text()))
    assert {f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")} - linked == set()


def test_every_link_between_the_documents_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    headings = {p.resolve(): _anchors(p) for p in pages}
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
            there = (page.parent / target).resolve() if target else page.resolve()
            assert there.exists(), f"{page.name} links to {target}, not there"
            if anchor:
                assert anchor in headings[there], f"{page.name} links to {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in heads}


def test_every_setting_is_documented() -> None:
    (schema,), components = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    assert schema
    page = (ROOT / "docs" / "configuration.md").read_text()
    for name, section in components.items():
        for setting in section.get("properties", {}):
            assert f"`{setting}`" in page, f"docs/configuration.md lacks `{setting}` of {name}"


def test_every_benchmark_is_documented() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    benches = [p.name for p in (ROOT / "bench").glob("[a-z]*.py")]
    assert len(benches) > 5
    assert [name for name in benches if f"| `bench/{name}` |" not in page] == []


def test_every_shipped_gate_is_documented() -> None:
    page = (ROOT / "docs" / "verify.md").read_text()
    assert [g.name for g in CATALOG if not re.search(rf"[ ,|]{g.name}[ ,(]", page)] == []


def _shown() -> dict[str, list[str]]:
    """Every command line that a page or a help text shows, without what the shell does with it."""
    pages = {p.name: p.read_text() for p in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]}
    pages.update({f"pawl {n} --help": text for n, text in _helps(app)})
    names = {name for _, name, _, _ in COMMANDS}  # a sentence may begin with "pawl" too
    shown = {}
    for name, text in pages.items():
        for line in text.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:\$ )?pawl ([a-z].*)", line)
            if not found or found[1].split()[0] not in names or "[" in found[1]:
                continue
            words = re.split(r" #| \| | > | && |  |; ", found[1].replace("…", ""))[0]
            shown[f"{name}: pawl {words}"] = shlex.split(re.sub(r"\$\([^)]*\)", "x", words))
    return shown


def _helps(command: App, path: str = "") -> Iterator[tuple[str, str]]:
    for word in command:
        if not word.startswith("-"):
            below, name = command[word], f"{path} {word}".strip()
            yield name, below.help or ""
            yield from _helps(below, name)


LEAVES = {path: c.help for _, name, _, _ in COMMANDS for path, c in leaves(app[name], name)}


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_shows_an_example_that_fits_a_terminal(name: str) -> None:
    lines = [line.strip() for line in LEAVES[name].splitlines()]
    examples = [line for line in lines if f"pawl {name}" in line]
    assert examples, f"`pawl {name} --help` shows no example"
    assert [line for line in examples if len(line) > 78] == []


SHOWN = _shown()


def test_enough_commands_are_shown() -> None:
    assert len(SHOWN) > 150


@pytest.mark.parametrize("line", SHOWN)
def test_what_is_shown_is_understood(line: str) -> None:
    """An option that a page names and no command has is found by a reader at the worst moment."""
    app.parse_args(SHOWN[line], exit_on_error=False, print_error=False)
