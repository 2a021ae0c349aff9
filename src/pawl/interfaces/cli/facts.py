"""The cluster's facts for commands that judge: from a saved state, or read live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from pawl.core.changelog.facts import NOTHING, ApiFacts
from pawl.core.errors import ConfigError
from pawl.core.inuse.facts import HostUse
from pawl.core.model import ClusterState


@dataclass(frozen=True, slots=True)
class Seen:
    """`in_use` and `api` are there only for a live cluster that was asked for more."""

    state: ClusterState | None = None
    in_use: tuple[HostUse, ...] | None = None
    api: ApiFacts = NOTHING


def state_of(saved: Path | None, config: Path | None) -> ClusterState | None:
    """The state in `saved`, or of the live cluster of `config`; None when neither is given.

    Raises ConfigError when both are, or one cannot be used.
    """
    return seen(saved, config, deep=False).state


def seen(saved: Path | None, config: Path | None, *, deep: bool = True) -> Seen:
    """As `state_of`; `deep`: what the hosts of a live cluster have in use, too."""
    if saved is not None and config is not None:
        raise ConfigError("--state and --config", ["give one: a saved state, or a live cluster"])
    if saved is not None:
        return Seen(saved_state(saved))
    if config is None:
        return Seen()
    import anyio

    async def observe() -> Seen:
        from pawl.interfaces.wiring import open_session

        async with open_session(config) as session:
            state = await session.observer.observe()
            if not deep:
                return Seen(state)
            readings = await session.in_use.read(session.inventory.all())
            return Seen(state, tuple(r.use for r in readings), await session.api_facts())

    return anyio.run(observe)


def saved_state(path: Path) -> ClusterState:
    """A state that `pawl status -o json` has printed. ConfigError says where it is broken."""
    try:
        raw = msgspec.json.decode(path.read_bytes())
        inner = raw.get("state", raw) if isinstance(raw, dict) else raw
        return msgspec.convert(inner, ClusterState)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(str(path), [f"not a saved state: {error}"]) from error
