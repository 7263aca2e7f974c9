"""Members that are alike as one value, so that a million of them can be simulated.

Those of a ring that nothing tells apart begin by rank, whoever is free to. Of those that begin in one decision, hosts
that behave in the same way go on together for ever. So a ring is one value that waits, and each decision takes from it
as many as the pace allows: one value for each kind of host. The rules are the same, and so is what comes out.
"""

from collections.abc import Iterable, Iterator, Mapping

from backfleet.rollouts.model import Member, Move
from backfleet.rollouts.policy import Policy, Then
from backfleet.rollouts.simulation.engine import Host
from backfleet.rollouts.states import MemberState


def may_group(policy: Policy, members: Iterable[Member]) -> bool:
    """Return whether nothing but its rank tells when a member begins.

    Domains, jitter and time zones do, and what is rolled back goes back one by one.
    """
    is_alike = not policy.pace.jitter_seconds and policy.failure.then is Then.HOLD
    return is_alike and not any(member.domains or member.zone or member.is_held for member in members)


class Groups:
    """The clients that each value of a board stands for."""

    def __init__(self, members: Iterable[Member], hosts: Mapping[str, Host]) -> None:
        """Name all members, none of which has begun, and how their hosts behave."""
        self._hosts = hosts
        self._waiting: dict[str, list[str]] = {}  # by value: the last one begins next
        self._begun: dict[str, list[str]] = {}
        self._first: list[Member] = []
        alike: dict[tuple[int, bool, int], list[Member]] = {}
        for member in members:
            alike.setdefault((member.ring, member.is_reachable, member.needs_seconds), []).append(member)
        for number, found in enumerate(alike.values()):
            found.sort(key=lambda each: (each.rank, each.client_id), reverse=True)
            name = f"\n{number}"  # no client is called so
            self._waiting[name] = [each.client_id for each in found]
            self._first.append(found[-1].changed({"client_id": name, "size": len(found), "from_version": ""}))

    def members(self) -> list[Member]:
        """Return the values to begin with."""
        return list(self._first)

    def split(self, member: Member, move: Move) -> Iterator[Member]:
        """Yield what moves of a value, and then what is left of it where it is not all."""
        waiting = self._waiting.get(member.client_id)
        if waiting is None or move.to is not MemberState.UPGRADING:
            yield member
            return
        size = move.size or member.size
        by_host: dict[int, list[str]] = {}
        for _ in range(size):
            client_id = waiting.pop()
            by_host.setdefault(id(self._hosts[client_id]), []).append(client_id)
        for clients in by_host.values():
            self._begun[clients[0]] = clients
            yield member.changed({"client_id": clients[0], "size": len(clients)})

    def clients_of(self, member: Member) -> list[str]:
        """Return the clients that a value stands for; their order means nothing."""
        return self._waiting.get(member.client_id) or self._begun.get(member.client_id) or [member.client_id]
