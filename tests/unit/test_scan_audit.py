"""Audit logs: the cheap look finds exactly the records that matter, and folds them by client."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pawl.adapters.scan import audit
from pawl.adapters.scan.audit import AuditLog, blocks, local, of_flags
from pawl.core.knowledge.store import shipped
from pawl.core.lint.judge import Judge
from pawl.core.scan.auditlog import DEPRECATED, Calls, matching, needles, time_of
from pawl.core.scan.facts import Audited, Call, Missed, Served
from pawl.core.scan.lens import Lens

SERVED = (
    Served(api_version="batch/v1beta1", kind="CronJob", resource="cronjobs"),
    Served(api_version="networking.k8s.io/v1beta1", kind="ServiceCIDR", resource="servicecidrs"),
    Served(api_version="apps/v1", kind="Deployment", resource="deployments"),
)


def lens(target: str = "1.25") -> Lens:
    made = Lens(Judge(shipped(), target))
    for fact in SERVED:
        made.serve(fact)
    return made


def record(
    group: str = "batch",
    version: str = "v1beta1",
    resource: str = "cronjobs",
    *,
    removed: str = "1.25",
    time: str = "2026-11-23T10:00:00.000001Z",
    stage: str = "ResponseComplete",
    agent: str = "velero/v1",
    verb: str = "list",
) -> bytes:
    notes = {"authorization.k8s.io/decision": "allow"}
    if removed:
        notes |= {"k8s.io/deprecated": "true", "k8s.io/removed-release": removed}
    return json.dumps(
        {
            "kind": "Event",
            "stage": stage,
            "verb": verb,
            "user": {"username": "v"},
            "sourceIPs": ["198.18.0.9"],
            "userAgent": agent,
            "objectRef": {
                "resource": resource,
                "namespace": "a",
                "apiGroup": group,
                "apiVersion": version,
            },
            "requestReceivedTimestamp": time,
            "annotations": notes,
        },
        separators=(",", ":"),
    ).encode()


PLAIN = record("apps", "v1", "deployments", removed="")


def calls(data: bytes, target: str = "1.25") -> list[Call]:
    folded = Calls("cp-1", lens(target))
    for line in matching(data, needles(lens(target), "1.24")):
        folded.add(line)
    assert folded.unparsable == 0
    return list(folded.facts())


def test_records_are_folded_by_client_and_api() -> None:
    data = b"\n".join(
        [
            PLAIN,
            record(),
            record(verb="watch", time="2026-11-23T11:00:00Z"),
            record(stage="RequestReceived"),
            record(agent="other/v2"),
            PLAIN,
        ]
    )
    (first, second) = calls(data)
    assert (first.agent, first.count, first.verbs) == ("velero/v1", 2, ("list", "watch"))
    assert (first.first[:19], first.last[:19]) == ("2026-11-23T10:00:00", "2026-11-23T11:00:00")
    assert (first.removed, first.addresses, first.namespaces) == ("1.25", ("198.18.0.9",), ("a",))
    assert (second.agent, second.count) == ("other/v2", 1)


def test_what_was_never_marked_as_deprecated_is_told_by_its_group_and_version() -> None:
    unmarked = record("networking.k8s.io", "v1beta1", "servicecidrs", removed="")
    assert [c.resource for c in calls(unmarked, "1.37")] == ["servicecidrs"]
    assert calls(unmarked, "1.36") == []
    assert calls(record("snapshot.storage.k8s.io", "v1beta1", "x", removed=""), "1.37") == []


def test_only_what_goes_away_and_is_served_is_looked_for() -> None:
    assert needles(lens("1.25"), "1.24") == (DEPRECATED,)  # batch/v1beta1 is marked since 1.21
    assert set(needles(lens("1.37"), "1.20")) > {DEPRECATED}


def test_a_record_cut_short_is_counted() -> None:
    folded = Calls("cp-1", lens())
    folded.add(record()[:-20])
    assert (folded.unparsable, folded.facts()) == (1, ())


@given(
    st.lists(st.sampled_from([b"", b"x", b"aa", b"ab", b"xabx", b"bb", b"abab"]), max_size=12),
    st.booleans(),
)
def test_the_cheap_look_finds_each_matching_line_once(lines: list[bytes], end: bool) -> None:
    block = b"\n".join(lines) + (b"\n" if end else b"")
    wanted = (b"ab", b"bb")
    assert list(matching(block, wanted)) == [x for x in lines if any(w in x for w in wanted)]


@given(st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"-")), max_size=9))
def test_blocks_are_whole_lines_and_lose_nothing(lines: list[bytes]) -> None:
    import io

    data = b"\n".join(lines)
    got = list(blocks(io.BytesIO(data), size=4))
    assert b"".join(got) == data
    assert all(b.endswith(b"\n") for b in got[:-1])


@pytest.mark.parametrize("name", ["audit.log", "audit-2026.log.gz"])
def test_a_local_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = b"\n".join([PLAIN, record(time="2026-11-23T12:00:00Z"), b""])
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    facts = local(path, lens(), "1.24")
    assert [type(f) for f in facts] == [Call, Audited]
    log = facts[1]
    assert isinstance(log, Audited)
    assert (log.first[:13], log.last[:13]) == ("2026-11-23T10", "2026-11-23T12")


def test_a_local_file_that_cannot_be_read_is_missed(tmp_path: Path) -> None:
    (missing,) = local(tmp_path / "none", lens(), "1.24")
    assert isinstance(missing, Missed)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(record() * 1000)[:-30])
    assert any(isinstance(f, Missed) for f in local(cut, lens(), "1.24"))


def test_where_the_flags_say_that_the_log_is() -> None:
    flags = ["--a=b", "--audit-log-path=/var/log/audit.log"]
    assert of_flags("h", flags) == AuditLog(host="h", path="/var/log/audit.log")
    assert of_flags("h", ["--a=b"]).path == ""
    assert of_flags("h", []).path == audit.UNKNOWN


def test_the_time_of_a_record() -> None:
    assert time_of(record()) == "2026-11-23T10:00:00.000001Z"
    assert time_of(b"{}") == ""
