"""What both HTTP clients speak: requests, answers, and the ways in which a try can end badly.

The exceptions are as fine as the retry rules of real clients need them (see `retries`): whether
the server can have seen the request decides whether a write may be sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `path` carries the query."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class TryFailed(Exception):
    """One try got no complete answer. The text is short and holds no secret."""


class DialFailed(TryFailed):
    """No connection: refused, unreachable, or the TLS handshake did not finish."""


class NotProcessed(TryFailed):
    """The server promised not to have processed it (GOAWAY, REFUSED_STREAM, or never sent)."""


class ConnectionLost(TryFailed):
    """The connection ended without an answer: the server may or may not have processed it."""


class StreamReset(TryFailed):
    """The server reset this stream with an error: it may or may not have been processed."""


class Late(TryFailed):
    """No answer within the time that was left."""
