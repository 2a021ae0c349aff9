"""The version skew policy: which components may run beside which.

Rules (https://kubernetes.io/releases/version-skew-policy/, KEP-4330 for emulation):

  kube-apiserver          all within one minor of each other
  kube-controller-manager,
  kube-scheduler,
  cloud-controller-manager  not newer than the oldest API server, at most one minor older
  kubelet, kube-proxy     not newer than the oldest API server, at most three minors older than the
                          newest one; two, when the kubelet or kube-proxy itself is before 1.25
  kube-proxy              within three minors of the kubelet beside it (two before 1.25)

An API server counts as what it *emulates*: 1.37.0 with `--emulated-version=1.36` serves the APIs
and features of 1.36, so for this policy it is a 1.36. "Oldest" and "newest" are taken over all API
servers, because behind a load balancer any component may reach any of them.

Everything here is pure and works on minors; patch releases never matter to the policy.
"""

from __future__ import annotations

import functools

from pawl.core import flags
from pawl.core.model import ApiServer, ClusterState, Controller, Node
from pawl.core.version import Minor, Version

API_SERVER_SPREAD = 1
CONTROLLER_OLDER = 1
NODE_OLDER = 3
NODE_OLDER_BEFORE_1_25 = 2
WIDE_NODE_SKEW_SINCE = Minor(1, 25)

EMULATION_FLOOR = Minor(1, 31)
"""No binary emulates an older minor (apiserver `pkg/util/compatibility/version.go`)."""
EMULATION_RANGE = 3
"""A binary emulates at most this many minors back (same source)."""


@functools.lru_cache(maxsize=1024)
def minor_of(version: str) -> Minor | None:
    """The minor of a reported version, or None for text that is no version."""
    try:
        return Minor.parse(version)
    except ValueError:
        return None


def effective(server: ApiServer, state: ClusterState) -> Minor | None:
    """What this API server is to everybody else: its emulated minor, else its own.

    Before 1.33 /version does not report the emulated version, so the flag in the host's file
    stands in for it.
    """
    if server.version is None:
        return None
    own = minor_of(server.version)
    if server.emulation_version:
        return minor_of(server.emulation_version)
    host = state.host(server.host)
    if host is not None and own is not None and own >= EMULATION_FLOOR:
        said = flags.emulated_minor(host.flags.get("kube-apiserver", ()))
        if said:
            return minor_of(said)
    return own


def effective_controller(controller: Controller, state: ClusterState) -> Minor | None:
    """The same for a controller-manager or scheduler, whose flag is the only witness."""
    if controller.version is None:
        return None
    own = minor_of(controller.version)
    host = state.host(controller.host)
    if host is not None and own is not None and own >= EMULATION_FLOOR:
        said = flags.emulated_minor(host.flags.get(controller.component, ()))
        if said:
            return minor_of(said)
    return own


def can_emulate(target: Version, minor: Minor) -> bool:
    """Whether the binary of `target` offers to emulate `minor`."""
    return (
        minor >= EMULATION_FLOOR
        and minor < target.minor_line
        and target.minor_line - minor <= EMULATION_RANGE
    )


def api_range(state: ClusterState) -> tuple[Minor, Minor] | None:
    """The oldest and the newest API server; None when not one version is known."""
    minors = [m for a in state.api_servers if (m := effective(a, state)) is not None]
    return (min(minors), max(minors)) if minors else None


def node_may_lag(component_minor: Minor) -> int:
    """How many minors a kubelet or kube-proxy of this minor may be behind an API server."""
    return NODE_OLDER if component_minor >= WIDE_NODE_SKEW_SINCE else NODE_OLDER_BEFORE_1_25


def controller_allowed(minor: Minor, oldest: Minor, newest: Minor) -> bool:
    return minor <= oldest and newest - minor <= CONTROLLER_OLDER


def breaches(state: ClusterState) -> tuple[str, ...]:
    """Every breach of the policy, one sentence each. Components that are unknown are not judged
    here: a check of its own reports them."""
    span = api_range(state)
    if span is None:
        return ()
    oldest, newest = span
    found: list[str] = []
    if newest - oldest > API_SERVER_SPREAD:
        found.append(f"API servers span {oldest} to {newest}, but may differ by one minor at most.")
    for controller in state.controllers:
        minor = effective_controller(controller, state)
        if minor is not None and not controller_allowed(minor, oldest, newest):
            found.append(_controller_sentence(controller, minor, oldest, newest))
    judged: dict[tuple[str | None, str | None], tuple[str, ...]] = {}
    for node in state.nodes:  # a thousand nodes run two or three versions: judge each pair once
        pair = (node.kubelet, node.kube_proxy)
        if pair not in judged:
            judged[pair] = _node_sentences(node, oldest, newest)
        found.extend(s.format(node=node.name) for s in judged[pair])
    return tuple(found)


def _controller_sentence(c: Controller, minor: Minor, oldest: Minor, newest: Minor) -> str:
    if minor > oldest:
        return f"{c.component} on {c.host} is {minor}, newer than the oldest API server ({oldest})."
    return (
        f"{c.component} on {c.host} is {minor}, more than {CONTROLLER_OLDER} minor older than the "
        f"newest API server ({newest})."
    )


def _node_sentences(node: Node, oldest: Minor, newest: Minor) -> tuple[str, ...]:
    """What is wrong with a node's pair of versions; "{node}" stands for its name."""
    found: list[str] = []
    kubelet = minor_of(node.kubelet) if node.kubelet else None
    proxy = minor_of(node.kube_proxy) if node.kube_proxy else None
    for name, minor in (("kubelet", kubelet), ("kube-proxy", proxy)):
        if minor is None:
            continue
        if minor > oldest:
            found.append(
                f"{name} of node {{node}} is {minor}, newer than the oldest API server ({oldest})."
            )
        elif newest - minor > node_may_lag(minor):
            found.append(
                f"{name} of node {{node}} is {minor}, more than {node_may_lag(minor)} minors "
                f"older than the newest API server ({newest})."
            )
    if kubelet is not None and proxy is not None:
        lag = node_may_lag(min(kubelet, proxy))
        if abs(kubelet - proxy) > lag:
            found.append(
                f"kube-proxy ({proxy}) of node {{node}} is more than {lag} minors away from its "
                f"kubelet ({kubelet})."
            )
    return tuple(found)
