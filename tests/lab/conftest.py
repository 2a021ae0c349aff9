"""Real labs for tests: named after this process, shared where they can be, always taken down, and
as soon as no later test needs them: six idle clusters beside it make any other slow.

A session that was killed cannot clean up; the next one does, because the name tells the process.

While writing tests: PAWL_TEST_LAB=NAME takes a lab that is up, and leaves it up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import Cluster
from pawl_process import end_all

from pawl.core.errors import Refused
from pawl.interfaces.labs import open_lab
from pawl.lab import host
from pawl.lab.cluster import Lab
from pawl.lab.spec import LabSpec
from pawl.lab.store import default_root
from pawl.lab.versions import resolve

LabMaker = Callable[..., Lab]
SHARED = {"etcd": "etcd_cluster", "small": "small_lab"}
"""Labs of several modules and the fixture by which tests take them; others are one module's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that share a lab run one after the other, so that it is gone for all others."""
    here = Path(__file__).parent
    shared: dict[Path, str] = {}
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.lab)
            names = set(SHARED.values()) & set(getattr(item, "fixturenames", ()))
            shared[item.path] = max(names, default=shared.get(item.path, ""))
    items.sort(key=lambda item: shared.get(item.path, ""), reverse=True)


def _left_over() -> list[str]:
    """Labs of test sessions whose process is gone."""
    found = []
    for path in default_root().glob("t*-*"):
        pid = path.name[1:].split("-", 1)[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            found.append(path.name)
    return found


@pytest.fixture(scope="session")
def raised() -> dict[str, Lab]:
    """Word -> lab that was raised in this session."""
    return {}


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    """A run that a failed test has left would hold the lab's Lease against the next one."""
    yield
    end_all()


@pytest.fixture(scope="module", autouse=True)
def labs_of_this_module(request: pytest.FixtureRequest, raised: dict[str, Lab]) -> Iterator[None]:
    """At a module's end, take down what no later test of the session uses."""
    yield
    items = request.session.items
    last = max(i for i, item in enumerate(items) if item.path == request.path)
    later = {name for item in items[last + 1 :] for name in getattr(item, "fixturenames", ())}
    for word in [w for w in raised if SHARED.get(w) not in later]:
        raised.pop(word).down()


@pytest.fixture(scope="session")
def lab_maker(raised: dict[str, Lab]) -> Iterator[LabMaker]:
    """Makes labs: `lab_maker("roll", workers=2)` gives a lab that is up.

    Keywords are fields of LabSpec, and `kubernetes` and `etcd` for versions. `start=False` only
    names the lab and registers it for the clean-up.
    """
    try:
        host.check()
    except Refused as refused:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(refused))
    for name in _left_over():
        open_lab(name).down()
    standing = os.environ.get("PAWL_TEST_LAB", "")

    def make(
        word: str,
        *,
        kubernetes: str = "1.36",
        etcd: str = "3.5",
        start: bool = True,
        **fields: object,
    ) -> Lab:
        if standing:
            return open_lab(standing)
        lab = raised[word] = open_lab(f"t{os.getpid()}-{word}")
        if start:
            lab.up(wanted(lab.name, kubernetes, etcd, **fields))
        return lab

    try:
        yield make
    finally:
        for lab in raised.values():
            lab.down()


def wanted(name: str, kubernetes: str = "1.36", etcd: str = "3.5", **fields: object) -> LabSpec:
    """What to ask `Lab.up` for; one machine of each role unless told otherwise."""
    sizes = {"control_planes": 1, "etcd_members": 1, "workers": 1, **fields}
    return LabSpec(
        name=name,
        index=0,
        versions={
            "kubernetes": resolve("kubernetes", kubernetes),
            "etcd": resolve("etcd", etcd),
        },
        **sizes,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="session")
def etcd_cluster(lab_maker: LabMaker, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three etcd members, for tests that roll them forth and back and leave all of them healthy."""
    lab = lab_maker("etcd", control_planes=1, etcd_members=3, workers=0)
    return Cluster(lab, tmp_path_factory.mktemp("etcd"))


@pytest.fixture(scope="session")
def small_lab(lab_maker: LabMaker) -> Lab:
    """One machine of each role. Whoever breaks a machine mends it with `small_lab.up()`."""
    return lab_maker("small")
