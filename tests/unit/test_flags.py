"""The flags file: read, changed, written, compared."""

from __future__ import annotations

import pytest

from pawl.core import flags


def test_a_file_is_read_and_written_back() -> None:
    text = "# by hand\nFLAGS=--a=b --c d -v=2 --bare\n"
    assert flags.parse_file(text) == ("--a=b", "--c=d", "--v=2", "--bare")
    assert flags.parse_file(flags.render_file(("--a=b", "--c=d"))) == ("--a=b", "--c=d")


def test_the_last_assignment_wins_and_quotes_are_taken_off() -> None:
    assert flags.parse_file("FLAGS=--old\nFLAGS='--a=b --c=d'\n") == ("--a=b", "--c=d")


def test_a_file_without_the_variable_is_an_error() -> None:
    with pytest.raises(ValueError, match="FLAGS="):
        flags.parse_file("OPTIONS=--a\n")


@pytest.mark.parametrize("bad", ["--a=b c", "--a='x'", "--a=$HOME", "", "--a=b\n--c"])
def test_what_the_format_would_change_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="flag"):
        flags.render_file((bad,))


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
