"""Authentication of agents: whose request it is, and that it is not a replay."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial

from backfleet import fleet
from backfleet.endpoints.agents import signatures
from backfleet.endpoints.agents.group_commit import Given, Kind, Permit, Result, Together, nothing_more
from backfleet.endpoints.agents.identity_cache import IdentityCache
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.replay_cache import ReplayCache
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from backfleet.fleet import Heartbeat
from backfleet.short_requests import AnyRequest
from backfleet.storage import Transaction, Unavailable
from backfleet.values import changed
from backfleet_host.contract import OWN_AGENT

REMEMBERED_SECONDS = 600.0  # an identity is read again after this time
AGENTS_KEPT = 100  # texts by which agents name themselves; a fleet has a few, a stranger may send any


class Authenticator:
    """Authenticates the requests of one node's agents. Each of them counts as a heartbeat.

    A signature is accepted once on this node by the replay cache. Over all nodes, and over the end of any of them, it
    is written down before the request is answered: by the transaction that the request makes (`spend`), or by one of
    its own if the request changes nothing (`spend_alone`). One whose time is outside the window is written down before
    the request is handled.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._identities, self._replays = IdentityCache(), ReplayCache()

    async def authenticate(self, request: AnyRequest, *, may_be_gone: bool = False) -> AgentSignature:
        """Return the signature of a request that is from the instance it names, and is no replay.

        Args:
            request: what came.
            may_be_gone: also accept an instance that is deregistered; then it is no heartbeat.

        Raises:
            NotAuthenticated: it is not signed, not by that instance, or was made before.
            The database's errors, if the instance is not remembered here.
        """
        signature = signatures.read_signature(request.headers)
        if signature is None:
            raise NotAuthenticated("it is not signed")
        node, now = self._node, self._node.clock()
        ordinary = signatures.is_ordinary(signature, now=now, window_ms=node.window_ms)
        since = now.timestamp() - REMEMBERED_SECONDS
        known = self._identities.recall(signature.instance_id, since) if ordinary else None
        known = known or await self._identity(signature.instance_id)
        signatures.check(signature, known, now=now, window_ms=node.window_ms, may_be_gone=may_be_gone)
        if node.covers(signature):
            raise NotAuthenticated("it was signed before the server was restored")
        self._replays.accept(signature, now=now, window_ms=node.window_ms)
        if not ordinary:
            await node.in_thread(partial(self._spend_in_thread, signature))
            signature = changed(signature, is_spent=True)
        if known is not None and not known.deregistered:
            node.heartbeats.add(_heartbeat(request, signature, now, node.window_ms))
        return signature

    def spend(self, tx: Transaction, signature: AgentSignature, now: datetime) -> None:
        """Use the request id up for all nodes, in the transaction of its request.

        Raises:
            NotAuthenticated: it was used before.
        """
        if not signature.is_spent:
            self._remember(tx, signature, now)

    def permit(self, signature: AgentSignature) -> Permit:
        """Return what allows a write of a request that came now: its request id, which is used up for all nodes."""
        return Permit(self._spend_each, (signature, self._node.clock()))

    def _spend_each(
        self, tx: Transaction, used: Sequence[tuple[AgentSignature, datetime]]
    ) -> list[NotAuthenticated | None]:
        """Use up the request ids of many requests, each with the moment it came, in their transaction. See `spend`.

        Returns:
            Of each why it is refused; None if it is not.
        """
        if not used:
            return []
        marks = [None if signature.is_spent else signature.fingerprint for signature, _ in used]
        until = max(at for _, at in used) + timedelta(milliseconds=2 * self._node.window_ms)
        left = fleet.remember_each(tx, {mark for mark in marks if mark is not None}, until=until)
        refused: list[NotAuthenticated | None] = []
        for mark in marks:
            refused.append(None if mark is None or mark in left else NotAuthenticated("its signature was used before"))
            if mark is not None:
                left.discard(mark)  # of two that are the same, the first one counts
        return refused

    async def spend_alone(self, signature: AgentSignature, *, apart_seconds: float = 0.0) -> None:
        """Use the signature up for all nodes, for a request that changes nothing.

        Returns after the commit: with headers that a killed node forgot, a report could be forged. While the database
        is unavailable the signature waits in memory for the next batch, so that agents stay connected.

        Args:
            signature: what the request was signed with.
            apart_seconds: see `GroupCommit.write`.

        Raises:
            NotAuthenticated: it was used before.
        """
        await self.spend_with(signature, Kind.SIGNATURE, "", nothing_more, None, apart_seconds=apart_seconds)

    async def spend_with(
        self,
        signature: AgentSignature,
        kind: Kind,
        order: str,
        work: Together[Given, Result],
        given: Given,
        *,
        apart_seconds: float = 0.0,
    ) -> Result | None:
        """Do the same, and have something written in its transaction that may be missing.

        Returns:
            What `work` returned; None if the database is unavailable, and nothing was written.

        Raises:
            NotAuthenticated: it was used before; then nothing is written.
        """
        try:
            return await self._node.group_commit.write_together(
                kind, order, work, given, self.permit(signature), apart_seconds=apart_seconds
            )
        except Unavailable:
            self.spend_later(signature)
            return None

    def spend_later(self, signature: AgentSignature) -> None:
        """Use the signature up with the next batch: the transaction that was to do it failed, or may have."""
        node = self._node
        until = signatures.remembered_until(signature, now=node.clock(), window_ms=node.window_ms)
        node.heartbeats.remember_request(signature.fingerprint, until)

    def forget(self, instance_id: str) -> None:
        """Forget an instance that was deregistered, and close its socket."""
        self._identities.forget(instance_id)
        self._node.sockets.end(instance_id)

    async def _identity(self, instance_id: str) -> fleet.AgentIdentity | None:
        """Read an identity. While the database is unavailable, return it as it was last read."""

        def read() -> fleet.AgentIdentity | None:
            with self._node.database.reading() as tx:
                return fleet.agent_identity(tx, instance_id)

        try:
            found = await self._node.in_thread(read)
        except Unavailable:
            remembered = self._identities.recall(instance_id)
            if remembered is None:
                raise
            return remembered
        if found is None or found.deregistered:
            self.forget(instance_id)
        else:
            self._identities.remember(found, self._node.clock().timestamp())
        return found

    def _spend_in_thread(self, signature: AgentSignature) -> None:
        with self._node.database.transaction() as tx:
            self._remember(tx, signature, self._node.clock())

    def _remember(self, tx: Transaction, signature: AgentSignature, now: datetime) -> None:
        until = signatures.remembered_until(signature, now=now, window_ms=self._node.window_ms)
        if not fleet.remember_request(tx, signature.fingerprint, until=until):
            raise NotAuthenticated("its signature was used before")


def has_own_agent(request: AnyRequest) -> bool:
    """Return whether a request comes from our own agent, which goes on with its tasks when it starts again."""
    return (_agent_version(request) or "").startswith(OWN_AGENT)


def _heartbeat(request: AnyRequest, signature: AgentSignature, now: datetime, window_ms: int) -> Heartbeat:
    signed = min(signature.milliseconds, round(now.timestamp() * 1000) + window_ms)
    return Heartbeat(signature.instance_id, now, _agent_version(request), None, signature.skew_ms(now), signed)


def _agent_version(request: AnyRequest) -> str | None:
    """Read the version from `User-Agent: linux_amd64/<version>`: the short heartbeat has it nowhere else."""
    return _version_in(request.headers.get("User-Agent", ""))


@lru_cache(maxsize=AGENTS_KEPT)
def _version_in(user_agent: str) -> str | None:
    platform, _, version = user_agent.partition("/")
    is_version = "_" in platform and version.isascii() and version.isprintable()
    return version[:64] or None if is_version else None
