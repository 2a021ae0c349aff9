"""Flags: changed and compared."""

from __future__ import annotations

import pytest

from pawl.core import flags


def test_emulation_is_set_in_place_and_taken_away() -> None:
    start = ("--a=b", "--emulated-version=1.35", "--c=d")
    assert flags.with_emulation(start, "1.36") == ("--a=b", "--emulated-version=1.36", "--c=d")
    assert flags.with_emulation(start, "") == ("--a=b", "--c=d")
    assert flags.with_emulation(("--a=b",), "1.36") == ("--a=b", "--emulated-version=1.36")


@pytest.mark.parametrize(
    ("value", "minor"),
    [("1.36", "1.36"), ("kube=1.36", "1.36"), ("wardle=1.2,kube=1.36", "1.36"), ("wardle=1.2", "")],
)
def test_the_emulated_minor_of_kube(value: str, minor: str) -> None:
    assert flags.emulated_minor((f"--emulated-version={value}",)) == minor


def test_equality_ignores_order_and_spelling() -> None:
    assert flags.same(("--a", "b", "--c=d"), ("--c=d", "-a=b"))
    assert not flags.same(("--a=b",), ("--a=c",))
