"""A way to tell an owner something."""

from __future__ import annotations

from typing import Protocol

from pawl.core.errors import PawlError
from pawl.core.watch.letters import Letter


class Undeliverable(PawlError):
    """The letter did not get through. The sentence names the notifier, never its URL or password:
    a webhook's URL is its secret."""


class Notifier(Protocol):
    """`name` as in pawl.yaml. A letter may arrive twice after a crash, never with another `id`."""

    @property
    def name(self) -> str: ...

    async def send(self, letter: Letter) -> None:
        """Returns when the receiver has accepted it; raises `Undeliverable` otherwise."""
        ...
