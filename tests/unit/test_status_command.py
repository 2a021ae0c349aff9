"""`pawl status` and its `--watch`, on a terminal and in a pipe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import pytest
import yaml

from pawl.interfaces import wiring
from pawl.interfaces.cli import status
from pawl.testing.clusters import cluster, config


class TwoLooks:
    """Answers twice, and then is interrupted as by Ctrl-C."""

    def __init__(self) -> None:
        self.looks = 0

    async def observe(self) -> object:
        self.looks += 1
        if self.looks > 2:
            raise KeyboardInterrupt
        return cluster()


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def opened(_: object) -> AsyncIterator[object]:
        yield SimpleNamespace(observer=TwoLooks(), config=config(cluster()))

    monkeypatch.setattr(wiring, "open_session", opened)
    monkeypatch.setattr(status, "REFRESH_SECONDS", 0.0)


def test_each_look_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert anyio.run(status._watch, None, "table") == 0
    assert capsys.readouterr().out.count(", complete") == 2


def test_each_look_is_one_document(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    anyio.run(status._watch, None, "json")
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["cluster"] for line in lines] == [cluster().cluster] * 2
    anyio.run(status._watch, None, "yaml")
    documents = list(yaml.safe_load_all(capfdbinary.readouterr().out))
    assert [d["cluster"] for d in documents] == [cluster().cluster] * 2


def test_no_name_is_broken_in_two_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    anyio.run(status._once, None, "table")
    said = capsys.readouterr().out
    for host in cluster().hosts:
        assert f"{host.name} " in said
    assert any("kube-controller-manager " in line for line in said.splitlines()), said
