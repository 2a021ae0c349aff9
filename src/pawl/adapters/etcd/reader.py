"""Each etcd member as it reports itself at its own endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pawl.adapters.etcd.gateway import Gateway, Listed, MemberList, Range, Status, Versions, hex_id
from pawl.adapters.etcd.members import client_url, host_of
from pawl.core.config import HostConfig
from pawl.core.errors import PawlError
from pawl.core.model import EtcdMember, Unread

Endpoint = tuple[HostConfig, str]


class EtcdReader:
    """Reads all members concurrently; what does not answer is told, not guessed."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self._gateway = gateway
        self._port = port

    async def read(
        self, hosts: Sequence[HostConfig]
    ) -> tuple[tuple[EtcdMember, ...], tuple[Unread, ...]]:
        """Members in the order of their names, and what could not be read.

        The member list is taken from the first endpoint that gives a linearizable answer; all
        members' own reads run beside it.
        """
        endpoints = [(h, client_url(h, self._port)) for h in hosts]
        if not endpoints:
            return (), ()
        answers = await asyncio.gather(*(self._endpoint(h, u) for h, u in endpoints))
        unread = [u for a in answers for u in a.unread]
        listing = next((a.listing for a in answers if a.listing is not None), None)
        if listing is None:
            why = "no endpoint gave a linearizable answer: is there a quorum?"
            return (), (*unread, Unread(source="etcd member list", why=why))
        alarms: dict[int, set[str]] = {}
        for told in answers:
            for number, alarm in told.alarms:
                alarms.setdefault(number, set()).add(alarm)
        by_host = {a.host.name: a for a in answers}
        members: list[EtcdMember] = []
        listed_hosts: set[str] = set()
        for listed in listing.members:
            host = host_of(listed, hosts)
            answer = by_host.get(host.name) if host else None
            if host is None or answer is None:
                label = listed.name or hex_id(listed.id)
                unread.append(
                    Unread(
                        source=f"etcd member {label}",
                        why=f"its URLs ({', '.join(listed.peer_urls)}) belong to no host with the "
                        "role etcd; add the host to pawl.yaml",
                    )
                )
            if host:
                listed_hosts.add(host.name)
            members.append(_member(listed, host, answer, sorted(alarms.get(listed.id, ()))))
        for host, url in endpoints:
            if host.name not in listed_hosts:
                unread.append(
                    Unread(
                        source=f"etcd at {host.name}",
                        why=f"no member has an address of this host ({url}); "
                        "take the role etcd from it, or let it join",
                    )
                )
        return tuple(sorted(members, key=lambda m: (m.name, m.member_id))), tuple(unread)

    async def _endpoint(self, host: HostConfig, url: str) -> _Answer:
        status, versions, read, listing, alarms = await asyncio.gather(
            self._gateway.status(url),
            self._gateway.versions(url),
            self._gateway.read(url),
            self._gateway.members(url),
            self._gateway.alarms(url),
            return_exceptions=True,
        )
        failures = {
            str(result): what
            for what, result in {
                "status": status,
                "version": versions,
                "linearizable read": read,
                "alarms": alarms,
            }.items()
            if isinstance(result, BaseException)
        }
        for result in (status, versions, read, listing, alarms):
            if isinstance(result, BaseException) and not isinstance(result, PawlError):
                raise result
        unread = tuple(
            Unread(source=f"etcd {what} at {host.name}", why=why) for why, what in failures.items()
        )
        return _Answer(
            host=host,
            url=url,
            status=status if isinstance(status, Status) else None,
            versions=versions if isinstance(versions, Versions) else None,
            healthy=isinstance(read, Range),
            listing=listing if isinstance(listing, MemberList) else None,
            alarms=()
            if isinstance(alarms, BaseException)
            else tuple((a.member, a.alarm) for a in alarms.alarms),
            unread=unread,
        )


class _Answer:
    """What one endpoint said; None where it said nothing."""

    def __init__(
        self,
        *,
        host: HostConfig,
        url: str,
        status: Status | None,
        versions: Versions | None,
        healthy: bool,
        listing: MemberList | None,
        alarms: tuple[tuple[int, str], ...],
        unread: tuple[Unread, ...],
    ) -> None:
        self.host = host
        self.url = url
        self.status = status
        self.versions = versions
        self.healthy = healthy
        self.listing = listing
        self.alarms = alarms
        self.unread = unread


def _member(
    listed: Listed, host: HostConfig | None, answer: _Answer | None, alarms: Sequence[str]
) -> EtcdMember:
    status = (answer and answer.status) or Status()
    versions = (answer and answer.versions) or Versions()
    # Whoever answers at this address with another id is not this member.
    itself = status.header.member_id == listed.id
    if not itself:
        status = Status()
    return EtcdMember(
        name=listed.name,
        host=host.name if host else "",
        member_id=hex_id(listed.id),
        client_url=answer.url if answer else next(iter(listed.client_urls), ""),
        cluster_id=hex_id(status.header.cluster_id) if itself else "",
        peer_urls=listed.peer_urls,
        version=(status.version or None) if itself else None,
        cluster_version=(versions.cluster or None) if itself else None,
        storage_version=(versions.storage or status.storage_version or "") if itself else None,
        downgrade_target=status.downgrade.target if status.downgrade.enabled else "",
        learner=listed.learner,
        leader=itself and status.leader == listed.id,
        healthy=bool(answer and answer.healthy and itself),
        term=status.term,
        raft_index=status.raft_index,
        applied_index=status.applied,
        db_size=status.db_size,
        db_in_use=status.db_in_use,
        alarms=tuple(alarms),
    )
