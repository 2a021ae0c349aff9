"""The two newest minors derive again, from their own source, to the very same bytes.

Reads some 200 MB of Go module source (downloaded when it is not in the module cache) and compiles
one small Go program; about a minute on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tools.knowledge import extract, history, openapi, scheme, sources, tables  # noqa: E402
from tools.knowledge.__main__ import built  # noqa: E402

NEWEST = (sources.LAST_MINOR - 1, sources.LAST_MINOR)


@pytest.mark.parametrize("minor", NEWEST)
def test_a_minor_derives_to_the_same_bytes(minor: int) -> None:
    assert extract.encode(extract.minor(minor)) == extract.path(minor).read_bytes()
    document = openapi.load(sources.kubernetes(minor)["k8s.io/kubernetes"][1])
    assert openapi.schema(document) == history.at(history.load(), minor)
    assert scheme.kinds(sources.directories(minor)) == scheme.at(scheme.load(), minor)


def test_etcds_flags_derive_to_the_same_bytes() -> None:
    line = max(sources.ETCD)
    assert (
        extract.encode(extract.etcd_flags(line))
        == (extract.EXTRACTS / f"etcd-{line}.json").read_bytes()
    )


def test_the_tables_build_to_the_same_bytes() -> None:
    for name, data in built().items():
        assert (tables.DATA / name).read_bytes() == data, f"{name}: run `… tools.knowledge build`"


@pytest.mark.parametrize("minor", NEWEST)
def test_removed_kinds_are_absent_from_the_release_and_present_in_the_one_before(
    minor: int,
) -> None:
    """Against the releases' own OpenAPI documents, not against the extracts."""

    def kinds(n: int) -> set[str]:
        return set(openapi.kinds(openapi.load(sources.kubernetes(n)["k8s.io/kubernetes"][1])))

    if minor == NEWEST[0]:  # the one before the oldest of them needs one source more
        before, after = set(extract.load(minor - 1)["kinds"]), kinds(minor)
    else:
        before, after = kinds(minor - 1), kinds(minor)
    from pawl.core.knowledge.store import shipped

    rows = [r for r in shipped().apis if r.removed == f"1.{minor}" and r.what != "subresource"]
    named = {f"{r.group}/{r.version}/{r.kind}" for r in rows}
    assert named == before - after - {
        k for k in before - after if extract.load(minor - 1)["kinds"][k]["what"] == "subresource"
    }
