"""What a plan may loosen while the pods of a workload move."""

from __future__ import annotations

from typing import Literal

import msgspec


class Loosening(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """For the workload "shop/Deployment/web", for the time of its move, and then given back:
    "scale" one replica more, "restart" its own rolling update, "always-allow" its budget lets pods
    go that are not healthy."""

    what: Literal["scale", "restart", "always-allow"]
    workload: str
