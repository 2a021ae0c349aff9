"""Which alerts to silence while a machine is worked on: named alerts, of that machine, for a while.

A silence is a lease. It ends by itself soon after pawl has died, because an upgrade that hangs is
exactly what somebody should be woken for. It never covers a whole cluster, and never longer than
`CAP` in a row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

TTL = 600.0
"""Seconds that a silence lasts unless it is renewed."""
RENEW = 60.0
TAIL = 300.0
"""Seconds after the work on a machine is over: rules look back over five minutes. The default of
`metrics.silence_tail`."""
CAP = 4 * 3600.0
"""A machine that has been worked on for so long is no longer being worked on (as tuppr has it)."""


def matchers(
    alerts: Sequence[str], names: Collection[str]
) -> tuple[tuple[tuple[str, str], ...], ...]:
    """(label, anchored regular expression) pairs of each silence that is needed for a machine known
    under `names` (host, node, address). Alerts name a machine as `node` or as `instance`, which
    may have a port."""
    if not alerts or not names:
        return ()
    named = ("alertname", "|".join(re.escape(a) for a in sorted(alerts)))
    machine = "|".join(re.escape(n) for n in sorted(names))
    return (
        (named, ("node", machine)),
        (named, ("instance", f"({machine})(:[0-9]+)?")),
    )


def ends(began: float, now: float) -> float | None:
    """When the silence of a machine that is worked on shall end; None for one that is left to
    lapse."""
    if now - began >= CAP:
        return None
    return min(now + TTL, began + CAP)
