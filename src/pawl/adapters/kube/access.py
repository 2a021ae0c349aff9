"""The few facts of the API that single release notes ask for: who reads kubelets' logs, whether
devices are allocated dynamically. What is refused or fails is None: not read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.core.changelog.facts import ApiFacts
from pawl.core.errors import PawlError

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_DEVICES = "/apis/resource.k8s.io"
_LOGS = ("nodes/log", "nodes/*", "*/log", "*")


class _Rule(msgspec.Struct):
    verbs: list[str] = []
    apiGroups: list[str] = []
    resources: list[str] = []


class _Meta(msgspec.Struct):
    name: str = ""
    labels: dict[str, str] = {}


class _Role(msgspec.Struct):
    metadata: _Meta
    rules: list[_Rule] | None = None


class _Subject(msgspec.Struct):
    kind: str
    name: str
    namespace: str = ""


class _Ref(msgspec.Struct):
    name: str


class _Binding(msgspec.Struct):
    roleRef: _Ref
    metadata: _Meta
    subjects: list[_Subject] | None = None

    @property
    def of_a_controller(self) -> bool:
        """What the API server itself gives to kube-controller-manager's controllers."""
        label = self.metadata.labels.get("kubernetes.io/bootstrapping", "")
        return label == "rbac-defaults" and self.metadata.name.startswith("system:controller:")


class _Version(msgspec.Struct):
    groupVersion: str


class _Group(msgspec.Struct):
    preferredVersion: _Version


class _Some(msgspec.Struct):
    items: list[dict[str, Any]] = []


async def api_facts(client: KubeClient) -> ApiFacts:
    readers, devices = await asyncio.gather(_log_readers(client), _devices(client))
    return ApiFacts(log_readers=readers, dynamic_resources=devices)


async def _log_readers(client: KubeClient) -> tuple[str, ...] | None:
    try:
        roles, bindings = await asyncio.gather(
            client.every(f"{_RBAC}/clusterroles", _Role),
            client.every(f"{_RBAC}/clusterrolebindings", _Binding),
        )
    except PawlError:
        return None
    giving = {
        role.metadata.name
        for role in roles
        for rule in role.rules or ()
        if {"get", "*"} & set(rule.verbs)
        and {"", "*"} & set(rule.apiGroups)
        and set(_LOGS) & set(rule.resources)
    }
    found = {
        f"{s.kind} {s.namespace}/{s.name}" if s.namespace else f"{s.kind} {s.name}"
        for binding in bindings
        if binding.roleRef.name in giving and not binding.of_a_controller
        for s in binding.subjects or ()
    }
    return tuple(sorted(found))


async def _devices(client: KubeClient) -> bool | None:
    try:
        group = await client.get(_DEVICES, _Group)
        for resource in ("deviceclasses", "resourceslices"):
            path = f"/apis/{group.preferredVersion.groupVersion}/{resource}"
            if (await client.get(path, _Some, {"limit": "1"})).items:
                return True
        return False
    except KubeRefused as refused:
        return False if refused.code == 404 else None
    except PawlError:
        return None
