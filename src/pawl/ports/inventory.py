"""Reading what an inventory looks at, and the build information of programs."""

from __future__ import annotations

from typing import Protocol

from pawl.core.inventory.facts import InventoryFacts


class InventorySource(Protocol):
    async def read(self) -> InventoryFacts:
        """All facts. A part that fails is listed in `unread`; raises Unreachable only when the
        API gives no answer at all."""
        ...
