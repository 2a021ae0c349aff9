"""What `pawl status` puts on top: everything that is not known, then everything not well."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console, Group

from pawl.core.config import LimitConfig
from pawl.core.model import (
    BalancerMember,
    Certificate,
    ClusterState,
    EtcdMember,
    Host,
    Node,
    Unread,
)
from pawl.interfaces.cli import status_tables

GOOD = ClusterState(
    cluster="shop",
    taken_at=1_000_000.0,
    members=(
        EtcdMember(
            name="etcd-1", host="etcd-1", member_id="a1", client_url="https://x", healthy=True,
            version="3.5.33", leader=True,
        ),
    ),
    nodes=(Node(name="w-1", kubelet="1.36.0", ready=True),),
    balancer=(BalancerMember(name="cp-1", address="198.18.0.1:6443", check="up"),),
)  # fmt: skip


def problems(state: ClusterState) -> list[tuple[str, str]]:
    return list(status_tables.problems(state, LimitConfig()))


def test_a_well_cluster_has_no_problems() -> None:
    assert problems(GOOD) == []


def test_what_was_not_read_comes_first() -> None:
    bad = msgspec.structs.replace(
        GOOD,
        unread=(Unread(source="host cp-2", why="no answer"),),
        nodes=(Node(name="w-1", unschedulable=True),),
        balancer=(BalancerMember(name="cp-1", address="x", admin="drain", check="up"),),
        hosts=(
            Host(
                name="cp-1",
                address="x",
                clock_offset=-3.0,
                disk_free={"/": 10},
                certificates=(
                    Certificate(where="/a.crt", subject="CN=a", not_after=1_000_000.0 + 86400),
                ),
            ),
        ),
    )
    found = problems(bad)
    assert found[0] == ("host cp-2", "not read: no answer")
    told = {f"{what}: {why}" for what, why in found}
    assert "balancer member cp-1: ordered drain, check up" in told
    assert "node w-1: not Ready" in told
    assert "node w-1: cordoned by somebody (not pawl)" in told
    assert "host cp-1: clock is off by -3.0 s" in told
    assert "host cp-1: 10 B free on /" in told
    assert "host cp-1: certificate /a.crt (CN=a) ends in 1 days" in told


def test_tables_say_whether_they_are_complete() -> None:
    def text(state: ClusterState) -> str:
        console = Console(file=io.StringIO(), width=160)
        console.print(Group(*status_tables.render(state, LimitConfig(), 0.5)))
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    assert "read in 0.5 s, complete" in text(GOOD)
    unread = (Unread(source="nodes", why="[red]odd[/] text"),)
    shown = text(msgspec.structs.replace(GOOD, unread=unread))
    assert "incomplete" in shown
    assert "[red]odd[/] text" in shown
    assert "3.5.33" in shown
