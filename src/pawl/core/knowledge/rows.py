"""The rows of the shipped tables. Minors are written "1.25"; "" means "not (yet)" or "not known".

What each table holds, how it was derived and what it does not hold stands in docs/knowledge.md.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """`source` names what the row was read from: never empty."""

    source: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An API that can take another's place. Served by default `from_` up to, not with, `until`.

    `changes` are the differences of the two schemas that a manifest may run into (at most 40).
    """

    api: str
    from_: str = msgspec.field(name="from")
    until: str = ""
    compatible: bool | None = None
    changes: tuple[str, ...] = ()


class Api(Row, frozen=True, kw_only=True):
    """A group, version and kind, from its first minor to its removal.

    `what`: "object", "review" (created, never stored) or "subresource". `removed` is the first
    minor that does not serve it (for an API that was on by default: not by default); `announced` a
    removal that its tags promise for a later minor. `unreadable` is the first minor that cannot
    read an object that lies in etcd in this version, because its scheme lacks it; "" for none of
    the tables'. `behaviour` says what changes although the
    fields do not, and `only_when_empty` the field that must be empty for that to matter.
    """

    group: str
    version: str
    kind: str
    resource: str = ""
    what: Literal["object", "review", "subresource"] = "object"
    stage: Literal["alpha", "beta", "GA"] = "GA"
    default_served: bool = True
    introduced: str = ""
    served_from: str = ""
    deprecated: str = ""
    removed: str = ""
    announced: str = ""
    unreadable: str = ""
    replacement: str = ""
    field_compatible: bool | None = None
    candidates: tuple[Candidate, ...] = ()
    behaviour: str = ""
    only_when_empty: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        return f"{self.api_version} {self.kind}"


class FieldChange(Row, frozen=True, kw_only=True):
    """A field that went away, or became required, while its kind stayed. `where` maps
    "group/version/Kind" ("*": every kind) to paths such as "spec.volumes[].ephemeral.readOnly"."""

    minor: str
    change: Literal["removed", "required"]
    definition: str
    field: str
    type: str
    where: dict[str, tuple[str, ...]]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """From `minor` on a gate is at this stage with this default."""

    minor: str
    stage: str
    default: bool


class Gate(Row, frozen=True, kw_only=True):
    """A feature gate. `locked`: from here setting it to the other value is an error; `removed`:
    from here naming it at all is one, and the component does not start."""

    name: str
    components: tuple[str, ...]
    stages: tuple[Stage, ...]
    locked: str = ""
    removed: str = ""

    def at(self, minor_key: tuple[int, int]) -> Stage | None:
        """The stage at a minor (as `key("1.30")`), None before its first."""
        found = None
        for stage in self.stages:
            if key(stage.minor) <= minor_key:
                found = stage
        return found


class Default(msgspec.Struct, frozen=True, kw_only=True):
    """From `minor` on a flag has this default, as it would be typed."""

    minor: str
    default: str


class Flag(Row, frozen=True, kw_only=True):
    """A flag of a component ("etcd" included, with etcd's own minors). `added` is "" when it is
    older than the table; `defaults` holds only what the source states for certain."""

    component: str
    flag: str
    type: str
    added: str = ""
    deprecated: str = ""
    note: str = ""
    removed: str = ""
    defaults: tuple[Default, ...] = ()


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    minor: str
    on: bool


class Plugin(Row, frozen=True, kw_only=True):
    """An admission plugin, and from which minor it is on or off by default."""

    plugin: str
    added: str = ""
    removed: str = ""
    default: tuple[Switch, ...] = ()


class Configuration(Row, frozen=True, kw_only=True):
    """A kind of component configuration file."""

    group: str
    version: str
    kind: str
    added: str = ""
    removed: str = ""


class InTree(Row, frozen=True, kw_only=True):
    """A volume plugin or cloud provider that the binaries carry."""

    what: Literal["volume plugin", "cloud provider"]
    name: str
    added: str = ""
    removed: str = ""


class Demand(Row, frozen=True, kw_only=True):
    """What a minor asks of etcd, the kernel, cgroups or the container runtime."""

    on: str
    minor: str
    demand: str
    value: str


class Release(Row, frozen=True, kw_only=True):
    """A minor of `project` with its dates ("2026-08-26"). `end_of_life_from` says how it is
    known: pawl derives it from the support policy."""

    project: str
    minor: str
    released: str = ""
    maintenance: str = ""
    end_of_life: str = ""
    end_of_life_from: str = ""
    latest: str = ""
    latest_released: str = ""


class Note(Row, frozen=True, kw_only=True):
    """An urgent release note, with the fields of `pawl.core.changelog.item.Item`."""

    id: str
    version: str
    section: str
    category: Literal["urgent", "action required"]
    text: str
    prs: tuple[int, ...] = ()
    sigs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Two derivations that differ: what the one says, and what was taken."""

    table: str
    subject: str
    minor: str
    one: str
    taken: str


def key(minor: str) -> tuple[int, int]:
    """ "1.25" -> (1, 25), to compare minors; "" sorts after every minor ("never")."""
    if not minor:
        return (9999, 0)
    major, _, number = minor.partition(".")
    return (int(major), int(number.partition(".")[0]))
