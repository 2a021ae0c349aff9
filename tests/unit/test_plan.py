"""The plan as data: digest, decoding, and the refusal of what this pawl does not know."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from pawl.core.plan import Target, decode, encode
from pawl.core.planner import plan
from pawl.testing.clusters import cluster, config

STATE = cluster()
PLAN = plan(STATE, Target(kubernetes="1.37.0", etcd="3.6.14"), config(STATE))


def tampered(change: object) -> bytes:
    raw = json.loads(encode(PLAN))
    change(raw)  # type: ignore[operator]
    return json.dumps(raw).encode()


def test_it_survives_its_own_json() -> None:
    assert decode(encode(PLAN)) == PLAN


def test_a_changed_plan_does_not_decode() -> None:
    def longer_soak(raw: dict[str, list[dict[str, object]]]) -> None:
        raw["steps"][5]["why"] = "because"

    with pytest.raises(ValueError, match="changed after it was made"):
        decode(tampered(longer_soak))


def test_an_unknown_action_is_refused_with_its_path() -> None:
    def invent(raw: dict[str, list[dict[str, dict[str, str]]]]) -> None:
        raw["steps"][3]["action"]["do"] = "format-disk"

    with pytest.raises(ValueError, match=r"format-disk.*\$\.steps\[3\]\.action"):
        decode(tampered(invent))


def test_an_unknown_field_of_an_action_is_refused() -> None:
    def smuggle(raw: dict[str, list[dict[str, dict[str, str]]]]) -> None:
        raw["steps"][3]["action"]["shell"] = "rm -rf /"

    with pytest.raises(ValueError, match=r"shell.*\$\.steps\[3\]\.action"):
        decode(tampered(smuggle))


def test_another_schema_is_refused() -> None:
    newer = replace(PLAN, schema=99).sealed()
    with pytest.raises(ValueError, match="schema 99"):
        decode(encode(newer))


def test_a_plan_holds_no_paths_keys_or_addresses() -> None:
    text = encode(PLAN).decode()
    for secret in ("known_hosts", "etcd.key", "198.18.", "PRIVATE"):
        assert secret not in text
