"""The loop of `pawl watch`: look, compare, write down, tell, wait.

A look only reads, so it may be broken off at any time. What follows it may not: a letter that was
accepted is written down before anything else happens, so that a stop, or a crash a moment later,
costs at most one repetition of one letter, which carries the same id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio

from pawl.core.errors import PawlError
from pawl.core.ownership import Ownership
from pawl.core.watch import letters
from pawl.core.watch.events import AnyEvent, Failed, Told, Undelivered
from pawl.core.watch.letters import Letter
from pawl.core.watch.sighting import Round
from pawl.core.watch.state import State, compare, fold
from pawl.ports.clock import Clock
from pawl.ports.history import History
from pawl.ports.notifier import Notifier, Undeliverable


@dataclass(frozen=True, slots=True)
class Settings:
    """`mail` maps e-mail notifiers to the domains whose addresses they may write to."""

    cluster: str
    target: str = ""
    deadline: str = ""
    digest_days: float = 7.0
    mail: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Watcher:
    """`look` is one scan of the cluster; `ownership` is asked anew for each round, so that the file
    may change. `say` takes one line for the log."""

    def __init__(
        self,
        *,
        look: Callable[[], Awaitable[Round]],
        history: History,
        notifiers: Mapping[str, Notifier],
        ownership: Callable[[], Ownership],
        clock: Clock,
        settings: Settings,
        say: Callable[[str], None],
    ) -> None:
        self._look, self._history, self._notifiers = look, history, notifiers
        self._ownership, self._clock, self._settings = ownership, clock, settings
        self._say = say
        self.state: State = fold(history.events())

    async def run(self, every: float, stop: anyio.Event) -> None:
        """Rounds until `stop`. A failed one is written down, and the next is tried in its time."""
        while not stop.is_set():
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_at, stop, group.cancel_scope)
                await self.round()
                group.cancel_scope.cancel()
            if stop.is_set():
                return
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_at, stop, group.cancel_scope)
                await self._clock.sleep(every)
                group.cancel_scope.cancel()

    async def round(self) -> Round | None:
        """One look and what follows from it; None when it gave nothing."""
        started = self._clock.now()
        try:
            seen = await self._look()
        except PawlError as error:
            self._write(Failed(at=self._clock.now(), why=str(error)))
            self._say(f"this look failed: {error}")
            return None
        with anyio.CancelScope(shield=True):
            now = self._clock.now()
            changed = compare(self.state, seen, now, now - started)
            self._write(*changed)
            self._say(_words(self.state, changed, seen))
            await self._tell(seen.target)
        return seen

    def waiting(self, target: str) -> tuple[Letter, ...]:
        """The letters that would go out now."""
        s = self._settings
        return letters.due(
            self.state,
            self._ownership(),
            self._clock.now(),
            cluster=s.cluster,
            target=s.target or target,
            deadline=s.deadline,
            digest_days=s.digest_days,
            mail=s.mail,
        )

    async def _tell(self, target: str) -> None:
        try:
            waiting = self.waiting(target)
        except PawlError as error:
            self._say(f"nobody was told: {error}")
            return
        for letter in waiting:
            self._write(await self._deliver(letter))

    async def _deliver(self, letter: Letter) -> AnyEvent:
        notifier = self._notifiers.get(letter.notifier)
        try:
            if notifier is None:
                raise Undeliverable(
                    f"the ownership file names notifier {letter.notifier}, which pawl.yaml has not"
                )
            await notifier.send(letter)
        except Undeliverable as error:
            self._say(f"not told: {error}; the next round tries again")
            return Undelivered(
                at=self._clock.now(), letter=letter.id, route=letter.route, why=str(error)
            )
        self._say(f"told {letter.owner} by {letter.notifier}: {letter.subject}")
        return Told(
            at=self._clock.now(),
            letter=letter.id,
            route=letter.route,
            owner=letter.owner,
            keys=tuple(s.key for s in letter.new),
        )

    def _write(self, *events: AnyEvent) -> None:
        self._history.append(events)
        for event in events:
            self.state.apply(event)


async def _cancel_at(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _words(state: State, changed: tuple[AnyEvent, ...], seen: Round) -> str:
    counted = dict.fromkeys(("Appeared", "Gone"), 0)
    for event in changed:
        name = type(event).__name__
        if name in counted:
            counted[name] += 1
    unread = (
        f"; {len(seen.unread)} sources not read, so nothing counts as gone" if seen.unread else ""
    )
    return (
        f"{len(state.open)} findings open before Kubernetes {seen.target}: {counted['Appeared']} "
        f"new, {counted['Gone']} gone{unread}"
    )
