"""Versions and minors have the order of semantic versioning."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pawl.core.version import Minor, Version

NUMBERS = st.integers(min_value=0, max_value=60)
PRE = st.sampled_from(["", "alpha.0", "alpha.1", "beta.0", "rc.1", "rc.10"])
VERSIONS = st.builds(Version, NUMBERS, NUMBERS, NUMBERS, PRE)


def test_the_order_of_semver() -> None:
    told = ["1.37.0-alpha.1", "1.37.0-alpha.beta", "1.37.0-beta.2", "1.37.0-beta.11", "1.37.0-rc.1"]
    ordered = [Version.parse(v) for v in [*told, "1.37.0", "1.37.1", "1.38.0"]]
    assert all(a < b for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize("text", ["v1.36.0", "1.36.0+k3s1", " 1.36.0 "])
def test_what_components_print_is_read(text: str) -> None:
    assert str(Version.parse(text)) == "1.36.0"
    assert Minor.parse(text) == Minor(1, 36)


@pytest.mark.parametrize("text", ["", "latest", "1", "1.x", "1.36.0.1", "01"])
def test_anything_else_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        Minor.parse(text)


def test_minors_count() -> None:
    assert Minor(1, 36) + 1 == Minor(1, 37)
    assert Minor(1, 37) - Minor(1, 33) == 4
    with pytest.raises(ValueError, match="different majors"):
        Minor(2, 0) - Minor(1, 36)


@given(version=VERSIONS)
@settings(max_examples=50, derandomize=True)
def test_text_and_value_agree(version: Version) -> None:
    assert Version.parse(str(version)) == version


@given(versions=st.lists(VERSIONS, min_size=3, max_size=3))
@settings(max_examples=100, derandomize=True)
def test_the_order_is_total(versions: list[Version]) -> None:
    a, b, c = sorted(versions)
    assert a <= b <= c
    assert a <= c
    assert (a == b) == (not a < b and not b < a)
