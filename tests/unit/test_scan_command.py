"""`pawl scan`, `inventory` and `watch` as commands: what pawl.yaml says counts for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from msgspec.structs import replace

from pawl.adapters import config as configs
from pawl.core.config import Config
from pawl.core.errors import ConfigError
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint.finding import Report
from pawl.core.lint.judge import Judge
from pawl.core.lint.node import plain
from pawl.core.model import ClusterState
from pawl.interfaces import scanning, wiring
from pawl.interfaces.cli import facts, inventory, scan, versions, watch
from pawl.interfaces.tables import tables_of
from pawl.testing.clusters import cluster, config

WIDGET = {"apiVersion": "acme.example/v1alpha1", "kind": "Widget", "metadata": {"name": "w"}}
CORRECTIONS = """\
apis:
- {group: acme.example, version: v1alpha1, kind: Widget, removed: "1.36", source: acme 3.0}
"""
WAIVERS = "waivers:\n- {rule: api-removed, owner: ada, expires: 2999-01-01, reason: goes}\n"


class Session:
    """Of a cluster that holds one Widget."""

    def __init__(self, configured: Config) -> None:
        self.config = configured
        self.looks = 0

    async def observe(self) -> ClusterState:
        self.looks += 1
        return cluster()

    async def uses(self) -> tuple[object, ...]:
        return ()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    own, waivers = tmp_path / "own.yaml", tmp_path / "waivers.yaml"
    own.write_text(CORRECTIONS)
    configured = config(cluster())
    found = replace(configured.findings, corrections=str(own), waivers=str(waivers))
    made = Session(replace(configured, findings=found))

    @asynccontextmanager
    async def opened(_: object) -> AsyncIterator[Session]:
        yield made

    async def scanned(
        _: object, state: object, tables: Knowledge, to: str, **more: object
    ) -> Report:
        findings = tuple(Judge(tables, to).judge(plain(WIDGET, 1), "live/Widget/w"))
        return Report(target=to, knowledge_as_of=tables.as_of, findings=findings)

    monkeypatch.setattr(wiring, "open_session", opened)
    monkeypatch.setattr(scanning, "scanned", scanned)
    monkeypatch.chdir(tmp_path)
    return made


def test_scan_takes_corrections_and_waivers_of_the_configuration(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan.scan(to="1.37") == 2
    assert "Widget is removed in 1.36" in capsys.readouterr().out
    Path(session.config.findings.waivers).write_text(WAIVERS)
    assert scan.scan(to="1.37") == 1
    assert "waived by ada" in capsys.readouterr().out


def test_versions_takes_a_vendors_dates_of_the_configuration(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configs, "load_config", lambda _: session.config)
    monkeypatch.setattr(facts, "state_of", lambda *_: cluster())
    Path(session.config.findings.corrections).write_text(
        "releases:\n- {project: kubernetes, minor: '1.36', released: '2026-04-22',"
        " end_of_life: '2031-01-01', source: vendor}\n"
    )
    versions.versions(config=Path("pawl.yaml"), at="2026-11-28")
    assert "supported until 2031-01-01" in capsys.readouterr().out


def test_watch_tells_nobody_of_what_the_plan_accepts(session: Session, tmp_path: Path) -> None:
    assert not watch._accepted(session.config).by_rule
    Path(session.config.findings.waivers).write_text(WAIVERS)
    assert [w.owner for w in watch._accepted(session.config).by_rule] == ["ada"]
    own = tmp_path / "watch.yaml"
    named = replace(session.config, watch=replace(session.config.watch, waivers=str(own)))
    with pytest.raises(ConfigError):
        watch._accepted(named)
    own.write_text(WAIVERS.replace("ada", "bob"))
    assert [w.owner for w in watch._accepted(named).by_rule] == ["bob"]


def test_every_command_has_the_same_tables(session: Session, tmp_path: Path) -> None:
    assert tables_of(session.config).by_api["acme.example/v1alpha1", "Widget"].removed == "1.36"
    later = tmp_path / "later.yaml"
    later.write_text(CORRECTIONS.replace("1.36", "1.37"))
    both = tables_of(session.config, (later,))
    assert both.by_api["acme.example/v1alpha1", "Widget"].removed == "1.37"


def test_an_unknown_target_is_told_before_anything_is_read(session: Session) -> None:
    with pytest.raises(ConfigError, match=r"about Kubernetes 1\.99"):
        scan.scan(to="1.99")
    with pytest.raises(ConfigError, match=r"about Kubernetes 1\.99"):
        inventory.inventory(to="1.99")
    with pytest.raises(ConfigError, match=r"about Kubernetes 1\.99"):
        anyio.run(watch._watch, None, "1.99", True, True, "text")
    with pytest.raises(ConfigError, match="--audit-days -1"):
        scan.scan(to="1.37", audit_days=-1.0)
    with pytest.raises(ConfigError, match="--audit-days -1"):
        inventory.inventory(to="1.37", audit_days=-1.0)
    assert session.looks == 0


def test_nothing_watched_yet_is_json_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wiring, "find_config", lambda _: tmp_path / "pawl.yaml")
    monkeypatch.setattr(configs, "load_config", lambda _: SimpleNamespace(state=str(tmp_path)))
    assert watch._show(None, "json") == 0
    assert capsys.readouterr().out == "[]\n"
