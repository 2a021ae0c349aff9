"""In which version an object lies in etcd: what to look for, how a value tells, what is said."""

from __future__ import annotations

import json

import pytest

from pawl.adapters.scan.stored import NotSeen, api_version, of_flags
from pawl.core.knowledge.answer import stored
from pawl.core.knowledge.rows import key
from pawl.core.knowledge.store import shipped
from pawl.core.lint.judge import Judge
from pawl.core.scan.collect import Collector
from pawl.core.scan.encoded import suspects
from pawl.core.scan.facts import Encoded, Running
from pawl.core.scan.rules import plan_findings


def names(target: str, *served: tuple[str, str]) -> dict[str, list[str]]:
    found = suspects(shipped(), target, set(served))
    return {s.name: sorted(s.versions) for s in found}


def test_versions_that_left_the_scheme_of_a_resource_that_lives_on_are_looked_for() -> None:
    at_1_37 = names("1.37")
    assert at_1_37["priorityclasses.scheduling.k8s.io"] == ["scheduling.k8s.io/v1alpha1"]
    assert at_1_37["servicecidrs.networking.k8s.io"] == ["networking.k8s.io/v1alpha1"]
    assert "priorityclasses.scheduling.k8s.io" not in names("1.35"), "1.35 still reads it"
    assert "ingresses.networking.k8s.io" not in at_1_37, "v1beta1 is not served, and still read"
    assert "podsecuritypolicies.policy" not in at_1_37, "nobody reads what is stored of it"


def test_what_is_off_by_default_is_looked_for_where_it_is_on() -> None:
    served = ("scheduling.k8s.io", "workloads")
    assert "workloads.scheduling.k8s.io" not in names("1.37")
    assert names("1.37", served)["workloads.scheduling.k8s.io"] == [
        "scheduling.k8s.io/v1alpha1",
        "scheduling.k8s.io/v1alpha2",
    ]


def test_no_version_is_unreadable_while_it_is_served() -> None:
    lost = [r for r in shipped().apis if r.unreadable]
    assert len(lost) > 30
    for row in lost:
        assert row.what == "object"
        assert row.removed, row.name
        assert key(row.removed) <= key(row.unreadable), row.name


def test_the_table_of_stored_versions_is_the_answer_of_a_command() -> None:
    rows = stored(shipped(), "1.34")
    assert {(r.kind, r.unreadable) for r in rows} >= {("ServiceCIDR", "1.34"), ("CronJob", "1.21")}
    assert all(key(r.unreadable) <= key("1.34") for r in rows)
    assert all(r.source and r.resource for r in stored(shipped()))


def protobuf(version: str, kind: str) -> bytes:
    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    meta = field(1, version.encode()) + field(2, kind.encode())
    return b"k8s\x00" + field(1, meta) + field(2, b"\x0a\x03\x0a\x01a")


def test_a_value_tells_its_version_in_each_encoding() -> None:
    body = {"kind": "IPAddress", "apiVersion": "networking.k8s.io/v1alpha1", "spec": {}}
    assert api_version(json.dumps(body).encode()) == "networking.k8s.io/v1alpha1"
    assert api_version(protobuf("scheduling.k8s.io/v1", "PriorityClass")) == "scheduling.k8s.io/v1"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"k8s:enc:aescbc:v1:key1:\x00\x01", "encrypted at rest"),
        (b"\xd9\xd9\xf7\xa1", "in a way that pawl cannot read"),
        (b"k8s\x00", "no protobuf"),
        (b"k8s\x00\x0a\x50\x0a\x02v1", "no protobuf"),
        (b"k8s\x00\x12\x02v1", "no protobuf"),
        (b'{"apiVersion": 1}', "no JSON"),
        (b"", "in a way that pawl cannot read"),
    ],
)
def test_what_cannot_be_told_is_said(value: bytes, why: str) -> None:
    with pytest.raises(NotSeen, match=why):
        api_version(value)


def test_where_an_api_server_keeps_its_objects() -> None:
    assert of_flags(()).prefix == "/registry"
    told = of_flags(
        ("--etcd-prefix=k8s/", "--etcd-servers-overrides=/events#https://e:1,apps/foos#https://f:1")
    )
    assert (told.prefix, told.elsewhere) == ("/k8s", ("events", "apps/foos"))


def test_what_the_target_cannot_read_refuses_and_names_the_first_objects() -> None:
    collector = Collector(Judge(shipped(), "1.37"), now=0.0)
    collector.add(
        [
            Running(minor="1.35"),
            Encoded(
                resource="priorityclasses",
                kind="PriorityClass",
                api_version="scheduling.k8s.io/v1alpha1",
                count=2,
                examples=("old", "older"),
            ),
        ]
    )
    (found,) = plan_findings(collector.report().findings)
    assert (found.code, found.severity, found.minor) == ("PAWL-S017", "blocker", "1.36")
    assert found.where == "etcd/priorityclasses.scheduling.k8s.io"
    assert found.message == (
        "2 objects lie in etcd as scheduling.k8s.io/v1alpha1, which an API server of 1.36 or newer "
        "cannot read: it can list no priorityclasses at all; the first of them: old, older."
    )
    assert "kubectl replace" in found.remedy
