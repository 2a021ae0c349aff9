"""One lost answer is no reason to refuse a plan or a way back."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from pawl.core.errors import Unreachable
from pawl.core.model import Unread
from pawl.core.plan import Target
from pawl.interfaces.beforehand import ask_staged
from pawl.interfaces.seeing import seen
from pawl.testing.clusters import cluster

WHOLE = cluster()
IN_PART = replace(WHOLE, unread=(Unread(source="host etcd-1", why="no answer"),))


class Looks:
    def __init__(self, *states: Any) -> None:
        self.left = list(states)
        self.slept = 0.0

    async def observe(self, known: object = None) -> Any:
        return self.left.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.mark.parametrize(
    ("looks", "complete"),
    [((WHOLE,), True), ((IN_PART, WHOLE), True), ((IN_PART, IN_PART), False)],
    ids=["read at once", "read the second time", "silent"],
)
def test_what_gave_no_answer_is_asked_once_more(looks: tuple[Any, ...], complete: bool) -> None:
    looking: Any = Looks(*looks)
    assert anyio.run(seen, looking, looking).complete is complete
    assert looking.left == []
    assert bool(looking.slept) == (len(looks) > 1)


def test_a_staged_binary_that_gives_no_answer_refuses_nothing() -> None:
    """The run asks it again, before anything stops."""
    (first, *others) = WHOLE.hosts
    first = replace(first, staged={"etcd": ("3.5.33", "3.6.14")}, current={"etcd": "3.5.33"})
    state = replace(WHOLE, hosts=(first, *others))

    class Slow:
        asked = 0

        async def accepts_flags(self, *question: object) -> tuple[str, ...]:
            Slow.asked += 1
            raise Unreachable("it did not say")

    slow: Any = Slow()
    assert anyio.run(ask_staged, state, Target(etcd="3.6.14"), slow) == ()
    assert Slow.asked >= 1
