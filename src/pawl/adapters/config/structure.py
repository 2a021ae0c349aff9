"""The shape of pawl.yaml checked against the structs, collecting every mistake.

msgspec stops at its first error, which makes a person run the same command five times to mend
five slips. This walk visits each field itself and asks msgspec only about leaves. Each problem is
one sentence: the path, what is wrong, how to mend it.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

_AT = re.compile(r" - at `\$[^`]*`$")


def problems_of(data: object, struct: type[msgspec.Struct]) -> list[str]:
    """Every structural mistake in `data`, as sentences in the order of the file's sections."""
    found: list[str] = []
    _struct(data, struct, "", found)
    return found


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean `x`?" where a known word is near, else the known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return "known here: " + ", ".join(f"`{k}`" for k in known)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _struct(data: object, struct: type[msgspec.Struct], path: str, found: list[str]) -> None:
    here = path or "the file"
    if not isinstance(data, Mapping):
        found.append(
            f"{here}: holds {_kind(data)}, but must be a section of `key: value` lines "
            f"({', '.join(f.name for f in msgspec.structs.fields(struct))})"
        )
        return
    fields = {f.encode_name: f for f in msgspec.structs.fields(struct)}
    hints = get_type_hints(struct, include_extras=True)
    for key in data:
        if key not in fields:
            found.append(f"{_join(path, str(key))}: unknown key; {nearest(str(key), fields)}")
    for name, info in fields.items():
        if name in data:
            _value(data[name], hints[info.name], _join(path, name), found, info)
        elif info.required:
            found.append(f"{_join(path, name)}: is missing; {example_of(hints[info.name])}")


def _value(
    value: object,
    hint: Any,
    path: str,
    found: list[str],
    info: msgspec.structs.FieldInfo | None = None,
) -> None:
    section = section_of(hint)
    if section is not None:
        if value is None and is_optional(hint):
            return
        _struct(value, section, path, found)
        return
    item = item_of(hint)
    if item is not None and isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            _value(entry, item, f"{path}[{index}]", found)
        return
    named = named_of(hint)
    if named is not None and isinstance(value, Mapping):
        for name, entry in value.items():
            _value(entry, named, _join(path, str(name)), found)
        return
    try:
        if isinstance(value, float) and not math.isfinite(value):
            raise msgspec.ValidationError(f"{value} is not a finite number")
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        what = _AT.sub("", str(error)).replace("`", "").rstrip(".")
        mend = example_of(hint)
        if info is not None and not info.required and info.default is not msgspec.NODEFAULT:
            mend += f" (default: {_shown(info.default)})"
        found.append(f"{path}: {what[:1].lower()}{what[1:]}; {mend}")


def section_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct that this type is, or holds when it is optional."""
    for candidate in (hint, *get_args(hint)) if is_union(hint) else (hint,):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate
    return None


def item_of(hint: Any) -> Any | None:
    """The item type of `tuple[T, ...]`."""
    return get_args(hint)[0] if get_origin(hint) is tuple else None


def named_of(hint: Any) -> type[msgspec.Struct] | None:
    """The section type of `dict[str, Section]`."""
    return section_of(get_args(hint)[1]) if get_origin(hint) is dict else None


def is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def is_optional(hint: Any) -> bool:
    return is_union(hint) and type(None) in get_args(hint)


def example_of(hint: Any) -> str:
    """What a person may write there."""
    if is_optional(hint):
        return example_of(next(a for a in get_args(hint) if a is not type(None)))
    bare = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    origin = get_origin(bare)
    if section_of(bare) is not None:
        return "write a section of `key: value` lines"
    if origin is tuple:
        return f"write a list; for each item, {example_of(get_args(bare)[0])}"
    if choices := choices_of(bare):
        return "write one of " + ", ".join(choices)
    limits = limits_of(hint)
    words = {bool: "write true or false", int: "write a whole number", float: "write a number"}
    return words.get(bare, "write a text") + (f" {limits}" if limits else "")


def choices_of(hint: Any) -> tuple[str, ...]:
    """The allowed words of a Literal."""
    args = get_args(hint)
    return args if args and all(isinstance(a, str) for a in args) else ()


def limits_of(hint: Any) -> str:
    """ "≥ 1 and ≤ 65535" from the Meta of an Annotated type."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    parts = [
        f"{sign} {getattr(meta, name):g}"
        for meta in getattr(hint, "__metadata__", ())
        for name, sign in signs.items()
        if getattr(meta, name, None) is not None
    ]
    return " and ".join(parts)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {list: "a list", str: "a text", bool: "a yes/no"}.get(type(value), "a number")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return '""' if value == "" else str(value)
