"""Deadlines of HTTP calls: a machine that is off is found out before a busy one is given up."""

from __future__ import annotations

import httpx2

CONNECT_SECONDS = 3.0
"""For a connection, and again for its TLS handshake. The kernel answers the first within one round
trip however busy its machine is, and a lost SYN is sent again after 1 s; only a machine that is not
there is silent, and each look at the cluster waits for it."""


def within(seconds: float) -> httpx2.Timeout:
    """`seconds` for each part of a call, but no more than `CONNECT_SECONDS` to connect."""
    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def late(where: str, error: httpx2.TimeoutException, seconds: float) -> str:
    """The sentence for a deadline that was missed."""
    if isinstance(error, httpx2.ConnectTimeout):
        return f"{where} took no connection within {min(seconds, CONNECT_SECONDS):g} s"
    return f"{where} did not answer within {seconds:g} s"
