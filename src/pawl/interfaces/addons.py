"""The add-on tables, with the rows of a user's own files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pawl.core.inventory import compat


def table(paths: Iterable[Path | str]) -> tuple[compat.Addon, ...]:
    """The shipped add-ons, with those of the files in their order. Raises ConfigError."""
    from pawl.adapters.yaml_file import read

    merged = compat.shipped()
    for path in paths:
        merged = compat.merged(read(Path(path)), str(path), merged)
    return merged
