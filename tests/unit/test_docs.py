"""Documentation keeps up with the code: every command and every setting is described."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pawl.core.config import Config
from pawl.interfaces.cli.main import COMMANDS, app

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("name", [name for _, name, _, _ in COMMANDS])
def test_every_command_is_documented_and_has_an_example(name: str, capsys: object) -> None:
    assert re.search(rf"`pawl {name}\b|^pawl {name}\b", DOCS, re.MULTILINE), (
        f"docs/ never shows `pawl {name}`"
    )
    command = app[name]
    text = command.help or ""
    examples = [text, *(command[c].help or "" for c in command if not c.startswith("-"))]
    assert any("pawl " in t for t in examples), f"`pawl {name} --help` shows no example"


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
