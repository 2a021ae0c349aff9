"""Command-line flags of a component, as a list of arguments.

Two lists of flags are equal when each flag has the same value, whatever the order; Go's flag
packages read `-a b`, `--a b` and `--a=b` alike, of which pawl writes only the last.
"""

from __future__ import annotations

from collections.abc import Iterable

EMULATED_VERSION = "--emulated-version"


def normal(arguments: Iterable[str]) -> tuple[str, ...]:
    """`--a b` and `-a b` as `--a=b`; anything else as it stands."""
    result: list[str] = []
    for argument in arguments:
        if argument.startswith("-") and argument.strip("-"):
            result.append("--" + argument.lstrip("-"))
        elif result and result[-1].startswith("--") and "=" not in result[-1]:
            result[-1] = f"{result[-1]}={argument}"
        else:
            result.append(argument)
    return tuple(result)


def name_of(flag: str) -> str:
    """`--a` of `--a=b`."""
    return flag.split("=", 1)[0]


def value_of(flags: Iterable[str], name: str) -> str | None:
    """The value of a flag: "" when it stands without one, None when it is absent.

    Of several the last counts, as it does for pflag's plain values.
    """
    found: str | None = None
    for flag in flags:
        if name_of(flag) == name:
            found = flag.split("=", 1)[1] if "=" in flag else ""
    return found


def with_flag(flags: Iterable[str], name: str, value: str) -> tuple[str, ...]:
    """The flags with `name=value`: at its old place when it was there, else at the end."""
    listed = tuple(flags)
    wanted = f"{name}={value}"
    if value_of(listed, name) is None:
        return (*listed, wanted)
    place = next(i for i, f in enumerate(listed) if name_of(f) == name)
    kept = [f for i, f in enumerate(listed) if name_of(f) != name or i == place]
    return tuple(wanted if name_of(f) == name else f for f in kept)


def without_flag(flags: Iterable[str], name: str) -> tuple[str, ...]:
    return tuple(f for f in flags if name_of(f) != name)


def emulated_minor(flags: Iterable[str]) -> str:
    """What `--emulated-version` says for the component "kube": "1.36", or "" when unset.

    The value is a list such as "1.36" or "wardle=1.2,kube=1.36" (`kube-apiserver --help`).
    """
    value = value_of(flags, EMULATED_VERSION) or ""
    for part in value.split(","):
        component, _, version = part.rpartition("=")
        if version and component in ("", "kube"):
            return version
    return ""


def with_emulation(flags: Iterable[str], minor: str) -> tuple[str, ...]:
    """The flags with the emulated version set to `minor`, or taken away for ""."""
    if minor:
        return with_flag(flags, EMULATED_VERSION, minor)
    return without_flag(flags, EMULATED_VERSION)


def same(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether both lists mean the same, whatever their order."""
    return sorted(normal(one)) == sorted(normal(other))
