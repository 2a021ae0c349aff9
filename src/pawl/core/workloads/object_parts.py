"""What many of the API's objects have in common: metadata, selectors, conditions.

The same shapes decode the API's JSON and manifests in YAML. Names are the API's own; an absent
field has its zero value; lists and mappings that may be null are optional.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import field

from pawl.core.workloads.facts import Requirement, Selector


class Api(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class OwnerPart(Api, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class MetaPart(Api, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owners: tuple[OwnerPart, ...] | None = field(name="ownerReferences", default=None)
    deleted: datetime | None = field(name="deletionTimestamp", default=None)
    finalizers: tuple[str, ...] | None = None


class RequirementPart(Api, frozen=True, kw_only=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None

    def fact(self) -> Requirement:
        return Requirement(key=self.key, operator=self.operator, values=self.values or ())


class SelectorPart(Api, frozen=True, kw_only=True):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[RequirementPart, ...] | None = None

    def fact(self) -> Selector:
        return Selector(
            labels=tuple((self.match_labels or {}).items()),
            expressions=tuple(e.fact() for e in self.match_expressions or ()),
        )


class NodeTermPart(Api, frozen=True, kw_only=True):
    match_expressions: tuple[RequirementPart, ...] | None = None
    match_fields: tuple[RequirementPart, ...] | None = None


class NodeTermsPart(Api, frozen=True, kw_only=True):
    terms: tuple[NodeTermPart, ...] | None = field(name="nodeSelectorTerms", default=None)


class NameRef(Api, frozen=True, kw_only=True):
    name: str = ""


class ConditionPart(Api, frozen=True, kw_only=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    changed: datetime | None = field(name="lastTransitionTime", default=None)
