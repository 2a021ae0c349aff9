"""Who has dealt with which release note: one JSON file beside the journal."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pawl.core.changelog.item import Acknowledgement
from pawl.core.errors import ConfigError

NAME = "acknowledgements.json"


def load(path: Path) -> tuple[Acknowledgement, ...]:
    """None for a file that is not there. Raises ConfigError for one that cannot be read."""
    if not path.exists():
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Acknowledgement, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(str(path), [f"not a list of acknowledgements: {error}"]) from error


def add(
    path: Path, known: tuple[Acknowledgement, ...], new: tuple[Acknowledgement, ...]
) -> tuple[Acknowledgement, ...]:
    """`known` with `new` in place of older ones of the same note, written atomically."""
    names = {a.item for a in new}
    merged = (*(a for a in known if a.item not in names), *new)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(merged), indent=2) + b"\n")
    beside.replace(path)
    return merged
