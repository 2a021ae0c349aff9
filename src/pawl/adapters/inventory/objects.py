"""The parts of objects that an inventory reads, and nothing else of them."""

from __future__ import annotations

import msgspec
from msgspec import field

from pawl.adapters.kube.objects import Meta


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class ContainerPart(_Part, frozen=True, kw_only=True):
    name: str = ""
    image: str = ""


class ConfigMapRef(_Part, frozen=True, kw_only=True):
    name: str = ""


class TokenSource(_Part, frozen=True, kw_only=True):
    path: str = ""


class ProjectedSource(_Part, frozen=True, kw_only=True):
    service_account_token: TokenSource | None = None


class Projected(_Part, frozen=True, kw_only=True):
    sources: tuple[ProjectedSource, ...] | None = None


class VolumePart(_Part, frozen=True, kw_only=True):
    config_map: ConfigMapRef | None = None
    projected: Projected | None = None


class PodSpecPart(_Part, frozen=True, kw_only=True):
    service_account: str = field(name="serviceAccountName", default="")
    automount: bool | None = field(name="automountServiceAccountToken", default=None)
    host_network: bool = False
    node: str = field(name="nodeName", default="")
    containers: tuple[ContainerPart, ...] = ()
    init_containers: tuple[ContainerPart, ...] | None = None
    volumes: tuple[VolumePart, ...] | None = None

    @property
    def token(self) -> bool | None:
        """A projected token counts, whatever `automountServiceAccountToken` says; the one that
        admission adds to each pod is named kube-api-access and is not in templates."""
        for volume in self.volumes or ():
            sources = (volume.projected.sources if volume.projected else None) or ()
            if any(s.service_account_token for s in sources):
                return True
        return self.automount


class TemplateMeta(_Part, frozen=True, kw_only=True):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Template(_Part, frozen=True, kw_only=True):
    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpecPart = PodSpecPart()


class JobSpec(_Part, frozen=True, kw_only=True):
    template: Template = Template()


class JobTemplate(_Part, frozen=True, kw_only=True):
    spec: JobSpec = JobSpec()


class ControllerSpec(_Part, frozen=True, kw_only=True):
    template: Template = Template()
    job_template: JobTemplate | None = None

    @property
    def pods(self) -> Template:
        return self.job_template.spec.template if self.job_template else self.template


class Controller(_Part, frozen=True, kw_only=True):
    metadata: Meta
    spec: ControllerSpec = ControllerSpec()


class PodStatusPart(_Part, frozen=True, kw_only=True):
    phase: str = ""


class PodPart(_Part, frozen=True, kw_only=True):
    metadata: Meta
    spec: PodSpecPart = PodSpecPart()
    status: PodStatusPart = PodStatusPart()


class Account(_Part, frozen=True, kw_only=True):
    metadata: Meta
    automount: bool | None = field(name="automountServiceAccountToken", default=None)


class Named(_Part, frozen=True, kw_only=True):
    metadata: Meta


class PolicyRule(_Part, frozen=True, kw_only=True):
    verbs: tuple[str, ...] | None = None
    api_groups: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    resource_names: tuple[str, ...] | None = None
    urls: tuple[str, ...] | None = field(name="nonResourceURLs", default=None)


class LabelSelector(_Part, frozen=True, kw_only=True):
    match_labels: dict[str, str] | None = None


class AggregationRule(_Part, frozen=True, kw_only=True):
    selectors: tuple[LabelSelector, ...] | None = field(name="clusterRoleSelectors", default=None)


class RoleObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    rules: tuple[PolicyRule, ...] | None = None
    aggregation_rule: AggregationRule | None = None


class RoleRef(_Part, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""


class SubjectPart(_Part, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    namespace: str = ""


class BindingObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    role_ref: RoleRef = RoleRef()
    subjects: tuple[SubjectPart, ...] | None = None


class ManagedEntry(_Part, frozen=True, kw_only=True):
    manager: str = ""


class CrdMeta(Meta, frozen=True, kw_only=True, rename="camel"):
    managed: tuple[ManagedEntry, ...] | None = field(name="managedFields", default=None)


class CrdNames(_Part, frozen=True, kw_only=True):
    kind: str = ""


class CrdVersion(_Part, frozen=True, kw_only=True):
    name: str = ""
    served: bool = True


class CrdSpec(_Part, frozen=True, kw_only=True):
    group: str = ""
    names: CrdNames = CrdNames()
    versions: tuple[CrdVersion, ...] = ()


class CrdStatus(_Part, frozen=True, kw_only=True):
    stored_versions: tuple[str, ...] | None = None


class CrdObject(_Part, frozen=True, kw_only=True):
    metadata: CrdMeta
    spec: CrdSpec = CrdSpec()
    status: CrdStatus = CrdStatus()


class ConfigMapObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    data: dict[str, str] | None = None
