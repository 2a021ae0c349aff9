"""YAML (or JSON) files of pawl's own formats, read strictly: one document, no key twice, and a day
such as 2027-01-31 stays text, whether it is in quotes or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pawl.core.errors import ConfigError

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def read(path: Path) -> Any:
    """The document of a file. Raises ConfigError with the file and the line."""
    try:
        return yaml.load(path.read_bytes(), Loader=_Loader)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(str(path), [f"is not YAML: {_told(error)}"]) from error


def no_text(error: yaml.reader.ReaderError) -> str:
    """Why bytes are no text that YAML could be in."""
    if "UTF-8" in error.reason:
        return f"not UTF-8: {error.reason}"
    if error.character == 0:
        return "it holds bytes of zero, as UTF-16 without a byte order mark does"
    return str(error).splitlines()[0]


def _told(error: yaml.YAMLError | RecursionError) -> str:
    match error:
        case yaml.MarkedYAMLError():
            mark = error.problem_mark or error.context_mark
            place = f"line {mark.line + 1}: " if mark else ""
            return place + " ".join(word for word in (error.context, error.problem) if word)
        case yaml.reader.ReaderError():
            return no_text(error)
        case RecursionError():
            return "nested too deeply"
        case _:
            return str(error)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses what YAML would silently take: of a key given twice, the last."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _mistake("a key is a word, not a list or a section", key)
            if key.value in seen and key.value != "<<":
                raise _mistake(f"the key `{key.value}` stands twice", key)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _mistake(what: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)
