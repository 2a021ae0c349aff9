"""What a run sees of pods, nodes, budgets and volumes, kept current by watches.

A wait registers an `Ear` for what it is about, reads the cluster itself, and sleeps until something
of it changes. The board says when to look; decisions are made on a fresh reading, so an event that
comes late or twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from pawl.ports.kube import Kube, Pod
from pawl.ports.watch import (
    Blind,
    BudgetNow,
    Change,
    Gone,
    Item,
    Listed,
    NodeNow,
    Put,
    VolumeNow,
    What,
)

SETTLES = 0.05
"""Seconds after the first event in which others of the same cause come."""
BLIND_LOOK, LOOK = 1.0, 15.0
"""Seconds after which a wait looks in any case: without and with a watch that works."""
About = Callable[[Change], bool]


class Ear:
    """Set by changes that it is about. `clear` before reading, `wait` after."""

    def __init__(self, board: Board, about: About) -> None:
        self._board, self._about = board, about
        self._event = anyio.Event()

    def hear(self, change: Change) -> None:
        if self._about(change):
            self._event.set()

    def clear(self) -> None:
        self._event = anyio.Event()

    def wake_others(self) -> None:
        """Something has changed that no watch tells: a place that others wait for is free."""
        for ear in self._board.ears:
            if ear is not self:
                ear._event.set()

    async def wait(self, seconds: float = LOOK) -> None:
        """Until something has changed since `clear`, or so many seconds at most."""
        most = min(seconds, BLIND_LOOK if self._board.blind else LOOK)
        with anyio.move_on_after(max(0.01, most)):
            await self._event.wait()
            await anyio.sleep(SETTLES)


class Board:
    """Begins to watch when it is first asked to; `keep` lasts until the run ends."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.ears: list[Ear] = []
        self._listeners: list[Callable[[Change], None]] = []
        self._begun = False
        self._lost: dict[What, str] = {}
        self._listed: set[What] = set()
        self.pods: dict[str, Pod] = {}
        self.nodes: dict[str, NodeNow] = {}
        self.budgets: dict[str, BudgetNow] = {}
        self.volumes: dict[str, VolumeNow] = {}

    def begin(self, group: TaskGroup) -> None:
        if not self._begun:
            self._begun = True
            group.start_soon(self._kube.watch, self.take)

    @property
    def blind(self) -> str:
        """Why not everything is seen now, "" when it is."""
        if len(self._listed) < len(_KEYS):
            return "the watches have not begun"
        return next(iter(self._lost.values()), "")

    @contextmanager
    def listening(self, about: About) -> Iterator[Ear]:
        ear = Ear(self, about)
        self.ears.append(ear)
        try:
            yield ear
        finally:
            self.ears.remove(ear)

    def also(self, listener: Callable[[Change], None]) -> None:
        """Call it with every change, after the board has it."""
        self._listeners.append(listener)

    def take(self, change: Change) -> None:
        match change:
            case Listed(what=what, items=items):
                self._listed.add(what)
                self._lost.pop(what, None)
                known = self._of(what)
                known.clear()
                known.update({_KEYS[what](i): i for i in items})
            case Put(what=what, item=item):
                self._lost.pop(what, None)
                self._of(what)[_KEYS[what](item)] = item
            case Gone(what=what, item=item):
                self._lost.pop(what, None)
                self._of(what).pop(_KEYS[what](item), None)
            case Blind(what=what, why=why):
                self._lost[what] = why
        for listener in self._listeners:
            listener(change)
        for ear in self.ears:
            ear.hear(change)

    def _of(self, what: What) -> dict[str, Item]:
        return getattr(self, what)  # type: ignore[no-any-return]


_KEYS: dict[What, Callable[[Item], str]] = {
    "pods": lambda i: i.uid,  # type: ignore[union-attr]
    "nodes": lambda i: i.name,
    "budgets": lambda i: f"{i.namespace}/{i.name}",  # type: ignore[union-attr]
    "volumes": lambda i: i.name,
}
