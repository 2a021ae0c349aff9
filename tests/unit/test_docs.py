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
from pawl.interfaces.cli.main import COMMANDS, app

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("name", [name for _, name, _, _ in COMMANDS])
def test_every_command_is_documented(name: str) -> None:
    assert re.search(rf"`pawl {name}\b|^pawl {name}\b", DOCS, re.MULTILINE), (
        f"docs/ never shows `pawl {name}`"
    )


def test_every_link_between_the_documents_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, not there"


def test_every_setting_is_documented() -> None:
    (schema,), components = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    assert schema
    page = (ROOT / "docs" / "configuration.md").read_text()
    for name, section in components.items():
        for setting in section.get("properties", {}):
            assert f"`{setting}`" in page, f"docs/configuration.md lacks `{setting}` of {name}"


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


def _leaves(command: App, path: str = "") -> Iterator[tuple[str, str]]:
    """The commands that do something themselves, with their help."""
    for word in command:
        if not word.startswith("-"):
            below, name = command[word], f"{path} {word}".strip()
            if below.default_command is not None:
                yield name, below.help or ""
            yield from _leaves(below, name)


LEAVES = dict(_leaves(app))


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
