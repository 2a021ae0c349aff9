"""A pack from its YAML file, with all its mistakes at once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pawl.adapters.config import structure
from pawl.adapters.yaml_file import read
from pawl.core.errors import ConfigError
from pawl.core.verify.pack import Pack, problems


def load_pack(path: Path) -> Pack:
    """Raises ConfigError with one sentence for each mistake."""
    data = read(path)
    found = structure.problems_of(data, Pack)
    if not found:
        pack = msgspec.convert(data, Pack)
        found = problems(pack)
        for check in pack.checks:
            if check.k6 and not (path.parent / check.k6).is_file():
                found.append(f"{check.name}: no script at {path.parent / check.k6}")
    if found:
        raise ConfigError(str(path), found)
    return pack
