"""The version skew policy, row by row, and what emulation changes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pawl.core import skew
from pawl.core.model import ClusterState
from pawl.core.version import Minor, Version
from pawl.testing.clusters import cluster


def with_api(*versions: tuple[str, str]) -> ClusterState:
    """A cluster whose API servers run (version, emulated minor)."""
    s = cluster(control_planes=len(versions), workers=1)
    servers = tuple(
        replace(a, version=v, emulation_version=e or None)
        for a, (v, e) in zip(s.api_servers, versions, strict=True)
    )
    return replace(s, api_servers=servers)


def with_node(state: ClusterState, kubelet: str, proxy: str | None = None) -> ClusterState:
    nodes = tuple(replace(n, kubelet=kubelet, kube_proxy=proxy) for n in state.nodes)
    return replace(state, nodes=nodes)


def with_controllers(state: ClusterState, version: str) -> ClusterState:
    return replace(state, controllers=tuple(replace(c, version=version) for c in state.controllers))


def test_an_emulating_api_server_counts_as_what_it_emulates() -> None:
    state = with_api(("1.37.0", "1.36"), ("1.37.0", "1.36"))
    assert skew.api_range(state) == (Minor(1, 36), Minor(1, 36))
    assert skew.breaches(with_controllers(state, "1.37.0"))
    assert not skew.breaches(with_controllers(state, "1.36.0"))


def test_before_1_33_the_flag_tells_the_emulation() -> None:
    state = with_api(("1.32.0", ""))
    hosts = tuple(
        replace(h, flags={"kube-apiserver": ("--emulated-version=kube=1.31",)}) for h in state.hosts
    )
    assert skew.api_range(replace(state, hosts=hosts)) == (Minor(1, 31), Minor(1, 31))


@pytest.mark.parametrize(
    ("one", "other", "fine"), [("1.36.0", "1.37.0", True), ("1.35.0", "1.37.0", False)]
)
def test_api_servers_differ_by_one(one: str, other: str, fine: bool) -> None:
    state = with_api((one, ""), (other, ""))
    state = with_node(with_controllers(state, one), one)
    assert any("API servers span" in b for b in skew.breaches(state)) is not fine


@pytest.mark.parametrize(
    ("controller", "servers", "fine"),
    [
        ("1.36.0", ("1.36.0", "1.37.0"), True),
        ("1.37.0", ("1.36.0", "1.37.0"), False),
        ("1.37.0", ("1.37.0", "1.37.0"), True),
        ("1.36.0", ("1.37.0", "1.37.0"), True),
        ("1.35.0", ("1.36.0", "1.37.0"), False),
    ],
)
def test_controllers(controller: str, servers: tuple[str, ...], fine: bool) -> None:
    state = with_node(with_api(*((v, "") for v in servers)), "1.36.0")
    assert (not skew.breaches(with_controllers(state, controller))) is fine


@pytest.mark.parametrize(
    ("kubelet", "server", "fine"),
    [
        ("1.37.0", "1.36.0", False),
        ("1.36.0", "1.36.0", True),
        ("1.33.0", "1.36.0", True),
        ("1.32.0", "1.36.0", False),
        ("1.25.0", "1.28.0", True),
        ("1.24.0", "1.26.0", True),
        ("1.24.0", "1.27.0", False),
    ],
)
def test_kubelets(kubelet: str, server: str, fine: bool) -> None:
    state = with_controllers(with_api((server, "")), server)
    assert (not skew.breaches(with_node(state, kubelet))) is fine


@pytest.mark.parametrize(
    ("proxy", "kubelet", "fine"),
    [("1.33.0", "1.36.0", True), ("1.36.0", "1.33.0", True), ("1.37.0", "1.36.0", False)],
)
def test_kube_proxy(proxy: str, kubelet: str, fine: bool) -> None:
    state = with_api(("1.36.0", ""))
    assert (not skew.breaches(with_node(state, kubelet, proxy))) is fine


@pytest.mark.parametrize(
    ("target", "minor", "offered"),
    [
        ("1.37.0", Minor(1, 36), True),
        ("1.37.0", Minor(1, 34), True),
        ("1.37.0", Minor(1, 33), False),
        ("1.32.0", Minor(1, 31), True),
        ("1.31.0", Minor(1, 30), False),
        ("1.37.0", Minor(1, 37), False),
    ],
)
def test_what_a_binary_can_emulate(target: str, minor: Minor, offered: bool) -> None:
    assert skew.can_emulate(Version.parse(target), minor) is offered
