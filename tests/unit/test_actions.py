"""Whoever adds a kind of step is told here what must be said of it beside its `match`es."""

from __future__ import annotations

from typing import get_args

from pawl.core.actions import LASTING, PASSING, AnyAction, ConvergeEtcd, Landed
from pawl.core.predict import SECONDS

KINDS = get_args(AnyAction)


def test_every_kind_of_step_passes_or_lasts() -> None:
    """etcd's cluster version may have gone on since, and the landed check is what asks."""
    assert not set(PASSING) & set(LASTING)
    assert {*PASSING, *LASTING, ConvergeEtcd, Landed} == set(KINDS)


def test_every_kind_of_step_has_a_predicted_time() -> None:
    assert {k.__struct_config__.tag for k in KINDS} == SECONDS.keys()
