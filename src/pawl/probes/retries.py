"""When a real client tries again, as one pure table: Go's transport below, client-go above.

Sources: golang.org/x/net/http2 `shouldRetryRequest`; net/http `persistConn.shouldRetryRequest`;
k8s.io/client-go v0.37 rest/request.go (`isErrRetryableFunc`) and rest/with_retry.go: ten retries,
an error that may be retried waits 1 s ("artificial Retry-After"), GET alone is repeated after a
lost connection, 429 and 5xx are repeated for every verb where the server says Retry-After.
etcd's writes here may always be repeated: key and value are unique to the request.
"""

from __future__ import annotations

from dataclasses import dataclass

from pawl.probes.transport import (
    Answer,
    ConnectionLost,
    NotProcessed,
    StreamReset,
    TryFailed,
)

MAX_RETRIES = 10
"""client-go's default `maxRetries`."""
TRANSPORT_RETRIES = 6
"""Go's HTTP/2 transport gives up after six tries of its own."""
ERROR_WAIT = 1.0
"""Seconds that client-go waits after an error that may be retried."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `wait` seconds; `rule` names why, as the report shows it."""

    rule: str
    wait: float


def after_failure(method: str, failure: TryFailed, transport_retries: int) -> Retry | None:
    """What client-go does after a try without an answer; None means that the caller sees it."""
    match failure:
        case NotProcessed() if transport_retries < TRANSPORT_RETRIES:
            return Retry("not-processed", 0.0 if transport_retries == 0 else 0.1)
        case ConnectionLost() if method == "GET":
            return Retry("get-after-connection-lost", ERROR_WAIT)
        case StreamReset() | _:
            return None


def after_answer(answer: Answer) -> Retry | None:
    """client-go's `checkWait`: 429 and 5xx with a Retry-After of whole seconds, any verb."""
    if answer.status != 429 and answer.status // 100 != 5:
        return None
    seconds = answer.headers.get("retry-after", "")
    if not seconds.isdigit():
        return None
    return Retry(f"retry-after-{answer.status}", float(seconds))
