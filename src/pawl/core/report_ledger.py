"""What a run changed for a while, and whether it was given back: told from its effects."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pawl.core.events import AnyEvent, EffectDone, EffectIntended


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that pawl changed for a while, and when it was given back (None: it was not)."""

    what: str
    target: str
    at: float
    given_back: float | None
    by: str = ""


RETURNS: dict[str, tuple[str, ...]] = {
    "drain-balancer": ("enable-balancer", "remove-from-balancer"),
    "cordon": ("uncordon", "delete-node"),
    "leave-load-balancers": ("return-to-load-balancers", "delete-node"),
    "taint": ("untaint", "delete-node"),
    "stop": ("start", "replace-machine", "remove-machine"),
    "enable-downgrade": ("cancel-downgrade",),
    "scale": ("give-back-scale",),
    "restart": ("give-back-restart",),
    "always-allow": ("give-back-always-allow",),
}
"""Which effect gives back what another one changed. An object that is deleted by the plan itself
(a replaced node) takes its cordon with it."""
FINISHED_BY_ITSELF = frozenset({"enable-downgrade"})
"""etcd ends a downgrade by itself when the last member is down; see the inventory after."""


def ledger(events: Sequence[AnyEvent]) -> tuple[LedgerRow, ...]:
    """Every change with a way back, matched with the effect that went it. An intent without its
    end counts as done: it may have happened."""
    done = [e for e in events if isinstance(e, EffectIntended | EffectDone)]
    rows: dict[tuple[str, str], LedgerRow] = {}
    closed: list[LedgerRow] = []
    for e in done:
        target = e.target.split(" ")[0]
        for what, returns in RETURNS.items():
            if e.effect == what and (what, target) not in rows:
                rows[(what, target)] = LedgerRow(what=what, target=target, at=e.at, given_back=None)
            if e.effect in returns and isinstance(e, EffectDone):
                for key in [k for k in rows if k[0] == what and _same(k[1], target)]:
                    row = msgspec.structs.replace(rows.pop(key), given_back=e.at, by=e.effect)
                    closed.append(row)
    left = [r for r in rows.values() if r.what not in FINISHED_BY_ITSELF]
    return tuple(sorted([*closed, *left], key=lambda r: r.at))


def _same(changed: str, returned: str) -> bool:
    """ "cp-1/kube-apiserver" is given back by the same target, or by what replaces "cp-1"."""
    return changed == returned or changed.split("/")[0] == returned
