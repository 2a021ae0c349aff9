"""What is known about the cluster when a release note is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from pawl.core.inuse.facts import HostUse
from pawl.core.knowledge.answer import gates_of
from pawl.core.model import ClusterState


@dataclass(frozen=True)
class Use:
    """An object in use, from manifests or the cluster: "policy/v1beta1", its kind, and where."""

    api_version: str
    kind: str
    where: str


@dataclass(frozen=True)
class ApiFacts:
    """What only the API knows and few notes ask for. None: not read.

    `log_readers` are the subjects whose cluster-wide rights include `nodes/log` ("User ana"), but
    for the control plane's own controllers,
    `dynamic_resources` whether any device class or resource slice is there.
    """

    log_readers: tuple[str, ...] | None = None
    dynamic_resources: bool | None = None


NOTHING = ApiFacts()


@dataclass(frozen=True)
class Facts:
    """What is known about the cluster. `state` None: nothing, so everything needs a person.

    `uses` None: objects were not looked at; an empty tuple: looked, and none are there. `in_use`
    None: the hosts' files were not read.
    """

    state: ClusterState | None = None
    uses: tuple[Use, ...] | None = None
    in_use: tuple[HostUse, ...] | None = None
    api: ApiFacts = NOTHING
    _flags: dict[str, list[tuple[str, str]]] = field(default_factory=dict, compare=False)
    _gates: dict[str, list[str]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for host in self.state.hosts if self.state else ():
            for component, flags in host.flags.items():
                for flag in flags:
                    name = flag.lstrip("-").partition("=")[0]
                    self._flags.setdefault(name, []).append((component, host.name))
                for gate, value in gates_of(flags).items():
                    word = str(value).lower()
                    self._note(gate, f"{component} on {host.name} sets {gate}={word}")
        for use in self.in_use or ():
            for each in use.flags:
                named = self._flags.setdefault(each.name, [])
                if (each.component, use.host) not in named:
                    named.append((each.component, use.host))
                for gate, value in gates_of([each.flag]).items():
                    word = str(value).lower()
                    self._note(gate, f"{each.component} on {use.host} sets {gate}={word}")
            for document in use.documents:
                for setting in document.settings:
                    head, _, gate = setting.key.rpartition(".")
                    if head == "featureGates":
                        word = setting.value.lower()
                        self._note(gate, f"{document.component} on {use.host} sets {gate}={word}")

    def _note(self, gate: str, sentence: str) -> None:
        said = self._gates.setdefault(gate, [])
        if sentence not in said:
            said.append(sentence)

    @property
    def files_read(self) -> bool:
        """Whether everything that hosts have in use was read, on every host of the state."""
        if self.in_use is None or self.state is None or any(u.unread for u in self.in_use):
            return False
        read = {u.host for u in self.in_use}
        return all(
            h.name in read for h in self.state.hosts if {"control-plane", "worker"} & set(h.roles)
        )

    @property
    def hosts_read(self) -> bool:
        return bool(self.state and self.state.hosts) and all(
            h.reachable for h in (self.state.hosts if self.state else ())
        )

    def flag(self, name: str, components: set[str]) -> list[str]:
        return [
            f"{component} on {host} runs with --{name}"
            for component, host in self._flags.get(name, ())
            if not components or component in components
        ]

    def gate(self, name: str) -> list[str]:
        return self._gates.get(name, [])

    def has(self, component: str) -> bool:
        return any(
            component in h.current or component in h.flags
            for h in (self.state.hosts if self.state else ())
        )
