"""The prober against real etcd, kube-apiserver and HAProxy; a drained API server loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_rig import STARTS, Rig

from pawl.core import evidence as ev
from pawl.core.evidence_summary import measure
from pawl.probes import process

pytestmark = pytest.mark.lab


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "rig")
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_drained_restart_loses_nothing_and_is_seen(rig: Rig) -> None:
    config, out = rig.directory / "pawl.yaml", rig.directory / "probes"
    handle = process.start(config, out)
    try:
        assert process.start(config, out) == handle
        time.sleep(3)
        rig.balancer("set server apiservers/s0 state drain")
        time.sleep(1)
        rig.end("api-0")
        rig.end("etcd-0")
        rig.start_etcd(0)
        rig.start_api(0)
        rig.wait_ready(0)
        rig.balancer("set server apiservers/s0 state ready")
        time.sleep(3)
    finally:
        assert process.stop(handle)
    records, bad = ev.parse(handle.path.read_bytes().splitlines())
    measured = measure(records, records[0].at, records[-1].at, bad)
    assert measured is not None
    assert measured.whole
    assert measured.etcd is not None
    assert measured.watch is not None
    assert [lane.failed for lane in measured.lanes] == [0, 0]
    assert (measured.etcd.lost, measured.etcd.wrong, measured.etcd.failed) == (0, 0, 0)
    assert measured.etcd.read_back_from == 3
    assert "e0" in [span.host for span in measured.etcd.down], "its restart was seen"
    assert measured.etcd.hashes_equal
    assert (measured.watch.missed, measured.watch.relisted) == (0, 0)
    assert handle.path.stat().st_mode & 0o777 == 0o600
    _ends_when_nobody_will_read_it(rig)


def _ends_when_nobody_will_read_it(rig: Rig) -> None:
    """As when a lab is taken down under a prober: file and cluster are gone."""
    handle = process.start(rig.directory / "pawl.yaml", rig.directory / "probes")
    try:
        handle.path.unlink()
        rig.close()
        end = time.monotonic() + STARTS
        while process.running(handle.path.parent):
            assert time.monotonic() < end, "it measures for nobody"
            time.sleep(0.2)
    finally:
        process.stop(handle, 1.0)
