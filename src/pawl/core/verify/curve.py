"""Lines thinned for a picture."""

from __future__ import annotations

import math

import msgspec

from pawl.core.verify import robust
from pawl.core.verify.series import Line

POINTS = 60


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A line in at most `POINTS` points, each the mean of what it stands for."""

    subject: str
    at: tuple[float, ...]
    values: tuple[float, ...]


def curve(line: Line) -> Curve:
    length = max(1, math.ceil(len(line.at) / POINTS))
    return Curve(
        subject=line.subject,
        at=tuple(robust.blocks(line.at, length)),
        values=tuple(robust.blocks(line.values, length)),
    )
