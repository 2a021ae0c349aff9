"""A roll of all nodes under users, watched from outside: each pod moves once, and nobody notices.

The measurement is bench/move.py's own, which prints the same figures beside the plain ways; what
depends on this machine's speed is asserted nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from move import Roll, figures, told

from pawl.lab.cluster import Lab

ZERO = (
    "missing pod-seconds of what can surge",
    "http failed",
    "redis-backed failed",
    "single replica failed",
    "websocket failed",
    "budget breaches",
    "moves onto an old node",
)


def test_every_pod_moves_once_and_no_user_notices(lab_maker: Callable[..., Lab]) -> None:
    lab = lab_maker("move", start=False)
    with Roll(lab) as roll:
        seen = roll.measure(Roll.pawl)
        found, why = figures(roll, seen), json.dumps(told(seen), indent=1)
    assert seen.movement.moving >= 7, why
    assert found["pod starts / pods that had to move"] == 1.0, why
    assert {name: found[name] for name in ZERO} == dict.fromkeys(ZERO, 0), why
    assert found["peak starts in flight / cap"] <= 1.0, why
    assert min(lane.sent for lane in seen.lanes.values()) > 50, why
    assert len(seen.redis.samples) > 50, why
