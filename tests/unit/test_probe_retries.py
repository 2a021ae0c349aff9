"""The prober tries again exactly where client-go does."""

from __future__ import annotations

import pytest

from pawl.probes.http2 import Http2Connection
from pawl.probes.retries import Retry, after_answer, after_failure
from pawl.probes.transport import Answer, ConnectionLost, DialFailed, NotProcessed, TryFailed


@pytest.mark.parametrize(
    ("method", "failure", "expected"),
    [
        ("PATCH", NotProcessed("GOAWAY"), Retry("not-processed", 0.0)),
        ("PATCH", ConnectionLost("eof"), None),
        ("GET", ConnectionLost("eof"), Retry("get-after-connection-lost", 1.0)),
        ("GET", DialFailed("refused"), None),
    ],
)
def test_failures(method: str, failure: TryFailed, expected: Retry | None) -> None:
    assert after_failure(method, failure, 0) == expected


def test_only_429_and_5xx_with_whole_seconds_are_repeated() -> None:
    assert after_answer(Answer(429, {"retry-after": "5"}, b"")) == Retry("retry-after-429", 5.0)
    assert after_answer(Answer(503, {}, b"")) is None
    assert after_answer(Answer(404, {"retry-after": "1"}, b"")) is None


def test_goaway_is_taken_out_of_the_stream_wherever_the_segments_are_cut() -> None:
    goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + (5).to_bytes(4, "big") + b"\0\0\0\0"
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
    data = ping + goaway + ping
    for cut in range(len(data)):
        connection = Http2Connection("x")
        first, last = connection._split(data[:cut]), connection._split(data[cut:])
        assert first[0] + last[0] == ping + ping
        assert first[1] + last[1] == [5]
