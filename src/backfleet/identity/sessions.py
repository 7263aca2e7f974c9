"""Temporary credentials: a role's, for a session.

The token carries everything about its session, sealed with a key of the vault's own: a forged or changed one is refused
without a question to the database. Only what can end a session early is looked up, in `standing`.
"""

import json
import zlib
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from backfleet.identity import _store
from backfleet.identity.callers import ACCOUNT, Caller, Session, role_caller
from backfleet.identity.errors import LimitReached
from backfleet.identity.policy import parse_document
from backfleet.identity.roles import Role, role_from
from backfleet.identity.vault import CannotOpen, Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction

KEY_PREFIX: Final = "STS."
SHORTEST_SESSION: Final = timedelta(minutes=15)
LONGEST_POLICY: Final = 2048  # bytes; with it, a token stays below 4 KiB, for signature V1 puts it into the URL
LONGEST_TOKEN: Final = 8192  # characters that are read at all
ROLES_IN_A_CHAIN: Final = 4  # sessions that made sessions
PURPOSE: Final = "security tokens"
SECRET_LENGTH: Final = 30  # characters of [a-z0-9]: 155 bits


class TokenNotOurs(Exception):
    """A security token that we did not give out, or that was changed since."""


class RootCannotAssume(Exception):
    """The account itself may not act in a role's place: nothing could hold it back."""


class SessionTooLong(Exception):
    """The role's sessions last at most `longest`."""

    def __init__(self, longest: timedelta) -> None:
        super().__init__(f"at most {longest}")
        self.longest = longest


@dataclass(frozen=True, slots=True)
class SecurityToken:
    """What a security token says. Prints without the secret. Moments in seconds since 1970."""

    access_key_id: str
    secret: str = field(repr=False)
    account_id: str
    role_id: str
    name: str  # of the session
    issued: int
    ends: int
    policy: str = ""
    source_identity: str = ""
    made_with: str = ""  # the long-term key that the chain of sessions began with
    provider: str = ""  # or the identity provider, by its id
    through: tuple[str, ...] = ()  # the roles in between, oldest first

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return now.timestamp() >= self.ends


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """Temporary credentials at the only moment they are shown. Prints without the secrets."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime
    caller: Caller


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What somebody who assumes a role asks for."""

    name: str
    duration: timedelta
    policy: str = ""
    source_identity: str = ""


def check_options(role: Role, wish: SessionOptions) -> None:
    """Raises SessionTooLong or MalformedPolicy."""
    if not SHORTEST_SESSION <= wish.duration <= role.max_session:
        raise SessionTooLong(role.max_session)
    if wish.policy:
        parse_document(wish.policy, "Session")


def issue_credentials(
    vault: Vault, role: Role, wish: SessionOptions, caller: Caller, *, now: datetime, draw: Draw
) -> TemporaryCredentials:
    """Credentials of a new session in a role's place, for one whom the role trusts: that is decided before.

    A session made with temporary credentials ends with these at the latest: nobody can renew themselves for ever.

    Raises:
        RootCannotAssume: the caller is the account itself.
        SessionTooLong: longer than the role allows, or too short.
        MalformedPolicy: the engine could not carry the session's policy out to the letter.
        LimitReached: too many sessions that made sessions.
    """
    if caller.kind == ACCOUNT or not (caller.access_key_id or caller.session):
        raise RootCannotAssume
    check_options(role, wish)
    ends = int((now + wish.duration).timestamp())
    session = Session(role.name, wish.name, wish.policy, wish.source_identity, ends)
    if caller.session is not None and caller.role_id is not None:
        session = _chained(session, caller.session, caller.role_id)
    return _sealed(vault, role, session, caller.access_key_id, now=now, draw=draw)


def issue_federated_credentials(
    vault: Vault, role: Role, wish: SessionOptions, provider_id: str, *, now: datetime, draw: Draw
) -> TemporaryCredentials:
    """Credentials of a new session in a role's place, for one whom an identity provider vouches for.

    Raises:
        SessionTooLong: longer than the role allows, or too short.
        MalformedPolicy: the engine could not carry the session's policy out to the letter.
    """
    check_options(role, wish)
    ends = int((now + wish.duration).timestamp())
    session = Session(role.name, wish.name, wish.policy, wish.source_identity, ends, (), provider_id)
    return _sealed(vault, role, session, "", now=now, draw=draw)


def open_token(vault: Vault, token: str) -> SecurityToken:
    """What a security token says. Asks nobody.

    Raises:
        TokenNotOurs: we did not give it out, or it was changed since, or another version of this program gave it out
            and meant things by it that this one does not know.
    """
    if len(token) > LONGEST_TOKEN:
        raise TokenNotOurs
    try:
        said = json.loads(zlib.decompress(vault.box(PURPOSE).unseal_bytes(token)))
        return SecurityToken(**{**said, "through": tuple(said["through"])})
    except (CannotOpen, TypeError, KeyError):  # the latter: of another version, that said other things
        raise TokenNotOurs from None


def session_caller(tx: Transaction, ticket: SecurityToken, *, now: datetime) -> Caller | None:
    """The caller that a genuine token stands for; None if the session is over.

    It is over when its time is, also by what the role allows now; when the role is gone, or one it was made through;
    and when the key or the identity provider that it was made with is gone or switched off.
    """
    roles = _store.roles_by_id(tx, [ticket.role_id, *ticket.through])
    row = roles.get(ticket.role_id)
    if row is None or row.account_id != ticket.account_id or not roles.keys() >= set(ticket.through):
        return None
    if ticket.is_over(now) or now.timestamp() >= ticket.issued + row.max_session:
        return None
    if ticket.made_with and not _store.is_key_active(tx, ticket.made_with):
        return None
    if ticket.provider and not _store.has_provider(tx, ticket.provider):
        return None
    role = role_from(row)
    return role_caller(role, _session(ticket, role.name), ticket.made_with)


def _chained(made: Session, by: Session, by_role: str) -> Session:
    """A session made by a session. Raises LimitReached."""
    through = (*by.through, by_role)
    if len(through) >= ROLES_IN_A_CHAIN:
        raise LimitReached("Session.Role", ROLES_IN_A_CHAIN)
    source = by.source_identity or made.source_identity
    return replace(made, ends=min(made.ends, by.ends), source_identity=source, through=through, provider=by.provider)


def _sealed(
    vault: Vault, role: Role, session: Session, made_with: str, *, now: datetime, draw: Draw
) -> TemporaryCredentials:
    ticket = SecurityToken(
        f"{KEY_PREFIX}{draw(20)}",
        draw(SECRET_LENGTH),
        role.account_id,
        role.id,
        session.name,
        int(now.timestamp()),
        session.ends,
        session.policy,
        session.source_identity,
        made_with,
        session.provider,
        session.through,
    )
    said = json.dumps(asdict(ticket), separators=(",", ":"), ensure_ascii=False)
    token = vault.box(PURPOSE).seal_bytes(zlib.compress(said.encode(), 9))
    expires = datetime.fromtimestamp(ticket.ends, UTC)
    return TemporaryCredentials(
        ticket.access_key_id, ticket.secret, token, expires, role_caller(role, session, made_with)
    )


def _session(ticket: SecurityToken, role_name: str) -> Session:
    return Session(
        role_name, ticket.name, ticket.policy, ticket.source_identity, ticket.ends, ticket.through, ticket.provider
    )
