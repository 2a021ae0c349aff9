"""Whose Lease it is: controller-manager and scheduler name themselves HOSTNAME_UUID in theirs."""

from __future__ import annotations


def host_of(identity: str) -> str:
    """The host of a Lease's holder, "" for no holder. client-go's components put a UUID behind the
    host name, which may be a full one."""
    return identity.partition("_")[0].partition(".")[0]
