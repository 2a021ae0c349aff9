"""Whoever makes and removes machines: a lab, a cloud, Terraform.

`add` of a machine that exists with that image returns it, `remove` of one that is gone does
nothing. A machine's data disk and address outlive it on `replace`. What a provider must do beyond
these verbs stands in docs/extending.md; tests/conformance/test_machines.py asks it of each.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from pawl.core.model import Machine


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is made from: exact versions, and extra flags for components.

    `versions`: {"kubernetes": "1.37.0", "etcd": "3.6.14"}; `flags`: {"kube-apiserver":
    ("--emulated-version=1.36",)} as cloud-init would set them. `epoch` is the operator epoch that
    the machine is born with: it refuses an older operator from its first second, before its maker
    could claim it.
    """

    versions: dict[str, str]
    flags: dict[str, tuple[str, ...]] = {}
    epoch: int = 0


class Machines(Protocol):
    async def list(self) -> tuple[Machine, ...]: ...

    async def add(self, name: str, role: str, pool: str, image: Image) -> Machine:
        """Make a machine; returns when its SSH server answers."""
        ...

    async def replace(self, name: str, image: Image) -> Machine:
        """Throw the machine away and make it anew: same name, data disk and address."""
        ...

    async def remove(self, name: str) -> None: ...
