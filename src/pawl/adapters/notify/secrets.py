"""Secrets of notifiers: out of a file that only its owner may read, or the environment.

They never stand in pawl.yaml, and no error, log or event ever holds one.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from pawl.core.errors import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Secret:
    """A text that does not show itself."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


def secret(
    notifier: str, what: str, file: str, variable: str, environment: Mapping[str, str]
) -> Secret | None:
    """What `<what>_file` or `<what>_env` names; None when neither is set. Raises ConfigError."""
    where = f"watch.notifiers: {notifier}"
    if file and variable:
        raise ConfigError(where, [f"give {what}_file or {what}_env, not both"])
    if variable:
        value = environment.get(variable, "").strip()
        if not value:
            raise ConfigError(where, [f"the environment variable {variable} is not set"])
        return Secret(value)
    if not file:
        return None
    path = Path(file)
    try:
        mode = path.stat().st_mode
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(where, [f"{what}_file {path} cannot be read: {reason}"]) from None
    if mode & _OTHERS:
        raise ConfigError(
            where, [f"{what}_file {path} holds a secret but others may read it; chmod 600 {path}"]
        )
    if not value:
        raise ConfigError(where, [f"{what}_file {path} is empty"])
    return Secret(value)
