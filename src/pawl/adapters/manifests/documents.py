"""Small YAML or JSON files of pawl's own formats: corrections, waivers, acknowledgements."""

from __future__ import annotations

from pathlib import Path

import yaml

from pawl.core.errors import ConfigError
from pawl.core.knowledge.store import Corrections, Knowledge, corrections, shipped

TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A day such as 2027-01-31 stays text, whether it is in quotes or not."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(path: Path) -> object:
    """Parse one YAML (or JSON) document. Raises ConfigError with the file and the place."""
    try:
        return yaml.load(path.read_bytes(), Loader=_Loader)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            str(path), [f"is not YAML: {str(error).splitlines()[-1].strip()}"]
        ) from error


def knowledge(paths: tuple[Path, ...]) -> Knowledge:
    """The shipped tables, with the corrections of `paths` merged in their order."""
    if not paths:
        return shipped()
    merged = Corrections()
    for path in paths:
        one = corrections(read(path), str(path))
        merged = Corrections(
            apis=(*merged.apis, *one.apis),
            gates=(*merged.gates, *one.gates),
            flags=(*merged.flags, *one.flags),
            fields=(*merged.fields, *one.fields),
            releases=(*merged.releases, *one.releases),
            demands=(*merged.demands, *one.demands),
            drop=(*merged.drop, *one.drop),
        )
    return Knowledge(merged)
