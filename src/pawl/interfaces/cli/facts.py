"""The cluster's facts for commands that judge: from a saved state, or read live."""

from __future__ import annotations

from pathlib import Path

from pawl.core.errors import ConfigError
from pawl.core.model import ClusterState


def state_of(saved: Path | None, config: Path | None) -> ClusterState | None:
    """The state in `saved`, or of the live cluster of `config`; None when neither is given.

    Raises ConfigError when both are, or one cannot be used.
    """
    if saved is not None and config is not None:
        raise ConfigError("--state and --config", ["give one: a saved state, or a live cluster"])
    if saved is not None:
        from pawl.interfaces.cli.plan import saved_state

        return saved_state(saved)
    if config is None:
        return None
    import anyio

    async def observe() -> ClusterState:
        from pawl.interfaces.wiring import open_session

        async with open_session(config) as session:
            return await session.observer.observe()

    return anyio.run(observe)
