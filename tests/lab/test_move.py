"""A roll of all nodes under users, watched from outside: each pod moves once, and nobody notices.

The measurement is bench/move.py's own, which prints the same figures beside the plain ways; what
depends on this machine's speed is asserted nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from move import Roll, figures, told

from pawl.lab.cluster import Lab

ZERO = ("budget breaches", "moves onto an old node")


def test_every_pod_moves_once_and_no_user_notices(lab_maker: Callable[..., Lab]) -> None:
    """A second in which this machine stood still is no move's doing, and proves nothing."""
    lab = lab_maker("move", start=False)
    with Roll(lab) as roll:
        seen = roll.measure(Roll.pawl)
        found, why = figures(roll, seen), json.dumps(told(seen), indent=1)
    assert seen.movement.moving >= 7, why
    assert found["pod starts / pods that had to move"] == 1.0, why
    assert {name: found[name] for name in ZERO} == dict.fromkeys(ZERO, 0), why
    for lane in seen.lanes.values():
        assert lane.sent > 50, why
        assert [f for f in lane.failures if not seen.stood_still(*f)] == [], why
    surging = seen.movement.surging
    gaps = [(a, b) for a, b, app in seen.movement.gaps if app in surging]
    assert sum(b - a for a, b in gaps if not seen.stood_still(a, b)) < 0.05, why
    assert found["peak starts in flight / cap"] <= 1.0, why
    assert len(seen.redis.samples) > 50, why
