"""The file of flags: read as systemd reads it, written so that systemd reads the same."""

from __future__ import annotations

import pytest

from pawl.adapters.hosts.flagsfile import parse, rewrite
from pawl.core.errors import StepFailed
from pawl.core.flags import emulated_minor, with_emulation


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("# by hand\nFLAGS=--a=b --c=d\n", ("--a=b", "--c=d")),
        ("FLAGS=--a b -v=2 --bare\n", ("--a=b", "--v=2", "--bare")),
        ("FLAGS='--a=b --c=d'\n", ("--a=b", "--c=d")),
        ("FLAGS=--a=b \\\n  --c=d\n", ("--a=b", "--c=d")),
        ("FLAGS=--old\nFLAGS=--new\n", ("--new",)),  # systemd.exec(5): later settings override
        ("FLAGS=--a='it\n", ("--a='it",)),
        ("#FLAGS=--a\nOTHER=--b\n", ()),
    ],
)
def test_a_file_is_read_as_systemd_reads_it(text: str, flags: tuple[str, ...]) -> None:
    assert parse(text, "FLAGS") == flags


def test_a_value_in_a_word_of_its_own_goes_with_its_flag() -> None:
    """Else the old minor would be left behind as an argument that nothing takes."""
    flags = parse("FLAGS=--a=b --emulated-version 1.36 --c=d\n", "FLAGS")
    assert emulated_minor(flags) == "1.36"
    assert rewrite("", "FLAGS", with_emulation(flags, "")) == "FLAGS=--a=b --c=d\n"


def test_other_lines_stay_and_the_variable_is_there_once() -> None:
    text = "# by hand\nFLAGS=--old\nOTHER=1\nFLAGS=--older\n"
    assert rewrite(text, "FLAGS", ["--a=b"]) == "# by hand\nFLAGS=--a=b\nOTHER=1\n"
    assert rewrite("OTHER=1\n", "FLAGS", ["--a=b"]) == "OTHER=1\nFLAGS=--a=b\n"


@pytest.mark.parametrize("bad", ["--a=b c", "--a='x'", "--a=$HOME", "", "--a=b\n--c"])
def test_what_the_format_would_change_is_refused(bad: str) -> None:
    with pytest.raises(StepFailed, match="flag"):
        rewrite("", "FLAGS", [bad])
