"""Which release a minor means in the lab.

A lab is asked for "1.36" or "1.36.0". A bare minor is resolved by this table rather than by a
network question, so that the same command gives the same cluster offline and next year. Only
pairs that were run in the lab stand here; any exact version is accepted too.
"""

from __future__ import annotations

from pawl.core.errors import Refused
from pawl.core.version import Version

KUBERNETES = {"1.36": "1.36.0", "1.37": "1.37.0"}
ETCD = {"3.5": "3.5.33", "3.6": "3.6.14", "3.7": "3.7.1"}

MONITORING = {"kube-state-metrics": "2.15.0"}
"""In the monitoring machine's image. Prometheus and Alertmanager are the host's packages."""


def resolve(product: str, asked: str) -> str:
    """The exact version for `asked`; `product` is "kubernetes" or "etcd".

    Raises `Refused` with the minors that are known when `asked` is neither one nor exact.
    """
    table = {"kubernetes": KUBERNETES, "etcd": ETCD}[product]
    text = asked.strip().removeprefix("v")
    if text in table:
        return table[text]
    try:
        return str(Version.parse(text))
    except ValueError:
        known = ", ".join(table)
        raise Refused(
            [
                f"{product} {asked!r} is neither a minor that the lab knows ({known}) "
                f"nor an exact version such as {next(iter(table.values()))}"
            ]
        ) from None
