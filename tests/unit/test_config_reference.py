"""Schema, reference and draft follow the structs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pawl.adapters.config import draft, structure
from pawl.adapters.config.reference import json_schema, reference
from pawl.core.config import Config
from pawl.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == reference(), "run `pawl config reference > docs/configuration.md`"


def test_the_schema_forbids_unknown_keys() -> None:
    definitions = json_schema()["$defs"]
    assert all(d["additionalProperties"] is False for d in definitions.values())


def test_a_draft_has_the_structure_of_a_configuration(tmp_path: Path) -> None:
    hosts = draft.hosts_from(
        "# name,address,roles\ncp-1,198.18.0.1,control-plane+etcd\nw-1,198.18.0.2,worker,web\n", "h"
    )
    text = draft.draft(tmp_path / "kubeconfig", hosts, "shop", "https://198.18.0.1:6443")
    data = yaml.safe_load(text)
    assert structure.problems_of(data, Config) == []
    assert data["hosts"][0]["roles"] == ["control-plane", "etcd"]
    assert data["hosts"][1]["pool"] == "web"


def test_a_host_list_tells_all_its_mistakes() -> None:
    with pytest.raises(ConfigError) as caught:
        draft.hosts_from("cp-1,198.18.0.1,control-plan\nw-1\n", "hosts.csv")
    assert caught.value.problems == (
        "line 1: unknown role `control-plan`; did you mean `control-plane`?",
        "line 2: write name,address,role+role[,pool]",
    )


def test_every_setting_has_a_meaning() -> None:
    """A name and a number are not documentation."""
    without = [line for line in reference().splitlines() if line.endswith("|  |")]
    assert without == []
