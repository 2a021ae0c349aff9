"""The catalogue of workload cases: manifests under tests/cases/workloads, with what must be found.

The head of a file says what must be said of it: `# expect: CODE [forever] WORD`, where WORD is the
way in which the plan resolves it, or the severity of what it does not, and `# method: NAME METHOD`.
Everything above INFO must be expected, and everything expected be found.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pawl.adapters.manifests.workload_files import read_workloads
from pawl.core.findings import Severity
from pawl.core.workloads.imagine import populated
from pawl.core.workloads.moves import MovePlan
from pawl.core.workloads.obstacles import CODES
from pawl.core.workloads.planner import plan
from pawl.core.workloads.scenario import replace_all

CASES = sorted((Path(__file__).parents[1] / "cases" / "workloads").glob("*.yaml"))


def planned(path: Path) -> MovePlan:
    facts = populated(read_workloads([str(path)]))
    assert facts.complete, facts.unread
    return plan(facts, replace_all(facts))


def expected(path: Path, key: str) -> list[str]:
    return re.findall(rf"^# {key}: (.+)$", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_what_is_in_the_way_is_found(path: Path) -> None:
    made, wanted = planned(path), expected(path, "expect")
    said = {
        " ".join(
            [o.code, *(["forever"] if o.forever else []), o.resolution or str(o.severity)]
        ): o.message
        for o in made.obstacles
        if o.severity is not Severity.INFO or any(w.startswith(o.code) for w in wanted)
    }
    assert set(said) == set(wanted), said
    methods = {w.key.rpartition("/")[2]: (w.method, w.why) for w in made.workloads}
    for line in expected(path, "method"):
        name, method = line.split()
        assert methods[name][0] == method, methods[name]


def test_the_catalogue_covers_what_blocks_for_ever() -> None:
    """At least 30 cases, and every code that can block for ever stands in one."""
    lines = [line for path in CASES for line in expected(path, "expect")]
    assert len(CASES) >= 30
    assert {line.split()[0] for line in lines if "forever" in line} >= {
        "W101", "W102", "W103", "W104", "W105", "W106", "W107", "W109", "W110",
    }  # fmt: skip


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_what_moves_starts_once_and_lands_on_a_new_node(path: Path) -> None:
    made = planned(path)
    pods = [m.pod for m in made.moves]
    assert len(pods) == len(set(pods))
    old = {name for wave in made.waves for name in wave.old}
    assert all(m.source in old and m.target not in old for m in made.moves)


def test_every_code_is_documented_with_its_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text()
    assert set(re.findall(r"^### PAWL-(\w+)", page, re.MULTILINE)) == set(CODES)
    for code, meaning in CODES.items():
        assert f"### PAWL-{code}: {meaning}" in page
