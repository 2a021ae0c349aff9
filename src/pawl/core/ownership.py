"""Who owns what, and how to tell them: the ownership file.

An object's own annotation or label says first (`pawl.dev/owner`, `owner`, `team`), then the file's
last rule that matches, then its namespace. The file also says where each owner is told.
"""

from __future__ import annotations

import fnmatch

import msgspec

from pawl.core.errors import ConfigError


class Tell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to an owner: the notifier's name in pawl.yaml, and for e-mail the addresses."""

    notifier: str
    to: tuple[str, ...] = ()


class OwnerRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`owner` owns what matches all patterns (shell style)."""

    owner: str
    namespace: str = "*"
    kind: str = "*"
    name: str = "*"

    def covers(self, kind: str, namespace: str, name: str) -> bool:
        return (
            fnmatch.fnmatchcase(namespace, self.namespace)
            and fnmatch.fnmatchcase(kind, self.kind)
            and fnmatch.fnmatchcase(name, self.name)
        )


class Ownership(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `default` is told about what nobody owns, or whose owner has no way."""

    rules: tuple[OwnerRule, ...] = ()
    owners: dict[str, tuple[Tell, ...]] = {}
    default: tuple[Tell, ...] = ()

    def of(self, kind: str, namespace: str, name: str) -> str:
        """The owner by the last rule that matches; "" for none."""
        for rule in reversed(self.rules):
            if rule.covers(kind, namespace, name):
                return rule.owner
        return ""


def decode(data: object, where: str) -> Ownership:
    """The parsed file. Raises ConfigError with the place of the mistake."""
    try:
        return msgspec.convert(data if data is not None else {}, type=Ownership)
    except msgspec.ValidationError as error:
        raise ConfigError(where, [f"{error}; see docs/inventory.md, Owners"]) from error
