"""Kubernetes quantities: "250m", "1.5", "2Gi", "1e3"."""

from __future__ import annotations

import math
import re
from functools import lru_cache

_SUFFIX = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_FORM = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))((?:[eE][+-]?\d+)|[numkMGTPE]|[KMGTPE]i)?$")


Quantity = str | int | float


@lru_cache(maxsize=4096)
def parse(text: Quantity, unit: float = 1.0) -> int:
    """The quantity in units of `unit` (1e-3 for thousandths of a core), rounded up as the
    scheduler does. Raises ValueError naming what is no quantity."""
    found = _FORM.match(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity")
    suffix = found[2] or ""
    exponent = suffix[:1] in ("e", "E") and len(suffix) > 1
    scale = float("1" + suffix) if exponent else _SUFFIX[suffix]
    exact = float(found[1]) * scale / unit
    nearest = round(exact)
    return nearest if abs(exact - nearest) < 1e-6 * max(1.0, abs(exact)) else math.ceil(exact)


def share(text: str, of: int, *, up: bool) -> int:
    """An int-or-percent ("2", "25%") of `of`; percentages round up or down."""
    if text.endswith("%"):
        exact = int(text[:-1]) * of / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(text)


def cpu(milli: int) -> str:
    return f"{milli / 1000:g} cores" if milli >= 1000 else f"{milli}m CPU"


def size(amount: int) -> str:
    """Bytes for a person: "1.5 GiB"."""
    value = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"
