"""Whose word the gates take for an answer."""

from __future__ import annotations

import pytest

from pawl.core.events import GatesJudged, GatesWatched, Paused, Resumed
from pawl.core.progress import GATES, fold

AT = {"at": 1.0, "run": "r", "epoch": 1}


@pytest.mark.parametrize(
    ("paused_by", "waived"),
    [(GATES, True), ("packs", False), ("ada@ops", False), ("", True)],
    ids=["the gates' pause", "a pack's", "a person's", "their patience ended the run"],
)
def test_who_lifts_a_pause_of_somebody_else_was_not_asked_about_the_gates(
    paused_by: str, waived: bool
) -> None:
    events = [
        GatesWatched(blocking=True, **AT),
        GatesJudged(verdict="inconclusive", why="too few samples", **AT),
        *([Paused(why="so", by=paused_by, **AT)] if paused_by else []),
        Resumed(by="ada@ops", **AT),
    ]
    view = fold(events)
    assert view.gates is not None
    assert view.gates.waived is waived
    assert not view.paused
