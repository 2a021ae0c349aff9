"""`pawl verify`: what cannot be told is exit code 3, a mistake is 4; neither is a verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from pawl.core.errors import ConfigError, Unreachable
from pawl.core.model import ClusterState, Unread
from pawl.interfaces.cli.main import exit_code
from pawl.interfaces.cli.verify import _measurer, _split


def session(**parts: Any) -> Any:
    return cast(Any, SimpleNamespace(**parts))


def test_a_silent_cluster_is_no_refusal() -> None:
    lost = Unread(source="kube-apiserver on cp-1", why="cannot be reached")

    async def observe() -> ClusterState:
        return ClusterState(cluster="c", taken_at=0.0, unread=(lost,))

    with pytest.raises(Unreachable, match="name them with --new") as told:
        anyio.run(_split, session(observer=SimpleNamespace(observe=observe)))
    assert exit_code(told.value) == 3


def test_nothing_to_judge_by_and_a_gate_that_is_none_are_mistakes() -> None:
    config = SimpleNamespace(metrics=object())
    gates = [SimpleNamespace(name="cpu")]
    with pytest.raises(ConfigError, match="no metrics are configured"):
        _measurer(session(measurer=None, config=config), ())
    with pytest.raises(ConfigError, match="no gate is called cpuu; known: cpu"):
        _measurer(session(measurer=SimpleNamespace(gates=gates), config=config), ("cpuu",))
