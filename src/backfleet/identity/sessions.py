"""Sessions: temporary credentials of roles.

A security token holds everything about its session, sealed with a vault key of its own. A forged or changed token is
refused without reading the database. `session_caller` looks up only what can end a session early.
"""

import hashlib
import json
import zlib
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached
from backfleet.identity.model import (
    ACCOUNT,
    Caller,
    Role,
    SecurityToken,
    Session,
    SessionOptions,
    TemporaryCredentials,
    role_caller,
)
from backfleet.identity.policy import parse_document
from backfleet.identity.vault import CannotOpen, Vault
from backfleet.ids import Draw
from backfleet.storage import Transaction

KEY_PREFIX: Final = "STS."
SHORTEST_SESSION: Final = timedelta(minutes=15)
LONGEST_SESSION_POLICY: Final = (
    2048  # bytes; keeps a token below 4 KiB, because signature V1 puts the token into the URL
)
LONGEST_TOKEN: Final = 8192  # characters; a longer one is refused unread
ROLES_IN_A_CHAIN: Final = 4  # sessions that were made by sessions
LONGEST_PERSON: Final = 160  # characters
PURPOSE: Final = "security tokens"
SECRET_LENGTH: Final = 30  # characters of [a-z0-9]: 155 bits


class TokenNotOurs(Exception):
    """The security token was not issued here, or it was changed since."""


class RootCannotAssume(Exception):
    """The account itself may not assume a role, because no policy could limit it."""


class SessionTooLong(Exception):
    """The requested duration is not allowed: the role's sessions last at most `longest`."""

    def __init__(self, longest: timedelta) -> None:
        super().__init__(f"a session of this role lasts at most {longest}")
        self.longest = longest


def issue_credentials(
    vault: Vault, role: Role, options: SessionOptions, caller: Caller, *, now: datetime, draw: Draw
) -> TemporaryCredentials:
    """Issue temporary credentials of a role to a caller. Whether the role trusts the caller is decided before.

    A session made with temporary credentials ends no later than these, so that nobody can renew a session for ever.

    Raises:
        RootCannotAssume: the caller is the account itself.
        SessionTooLong: the duration is longer than the role allows, or too short.
        MalformedPolicy: the engine could not carry out the session's policy exactly.
        LimitReached: the chain of sessions would be longer than ROLES_IN_A_CHAIN.
    """
    if caller.kind == ACCOUNT or not (caller.access_key_id or caller.session):
        raise RootCannotAssume
    session = _new_session(role, options, now)
    if caller.session is not None and caller.role_id is not None:
        session = _chained(session, caller.session, caller.role_id)
    return _issue(vault, role, session, caller.access_key_id, now=now, draw=draw)


def issue_federated_credentials(
    vault: Vault, role: Role, options: SessionOptions, provider_id: str, person: str, *, now: datetime, draw: Draw
) -> TemporaryCredentials:
    """Issue temporary credentials of a role to someone whom an identity provider authenticated.

    Args:
        person: who that is, see `federated_person`.

    Raises:
        SessionTooLong: the duration is longer than the role allows, or too short.
        MalformedPolicy: the engine could not carry out the session's policy exactly.
    """
    session = replace(_new_session(role, options, now), provider=provider_id, person=person)
    return _issue(vault, role, session, "", now=now, draw=draw)


def federated_person(issuer: str, subject: str) -> str:
    """Return the name of whom an identity provider authenticated, the same for every registration of that provider.

    A long one is a hash: it stands in security tokens.
    """
    plain = f"{issuer}#{subject}"  # an issuer has no fragment
    return plain if len(plain) <= LONGEST_PERSON else hashlib.sha256(plain.encode()).hexdigest()


def open_token(vault: Vault, token: str) -> SecurityToken:
    """Return the content of a security token. The database is not read.

    Raises:
        TokenNotOurs: the token was not issued here, was changed, or was issued by another version of this program with
            fields that this one does not know.
    """
    if len(token) > LONGEST_TOKEN:
        raise TokenNotOurs
    try:
        content = json.loads(zlib.decompress(vault.box(PURPOSE).unseal_bytes(token)))
        return SecurityToken(**{**content, "through": tuple(content["through"])})
    except (CannotOpen, TypeError, KeyError):  # the last two: another version's fields
        raise TokenNotOurs from None


def session_caller(tx: Transaction, token: SecurityToken, *, now: datetime) -> Caller | None:
    """Return the caller that a genuine token belongs to; None if the session is over.

    It is over when the token has expired, or is older than the role allows now; when the role, or a role that it was
    made through, is deleted; and when its access key is deleted or inactive, or its identity provider is deleted.
    """
    roles = _store.roles.by_id(tx, [token.role_id, *token.through])
    role = roles.get(token.role_id)
    if role is None or role.account_id != token.account_id or not roles.keys() >= set(token.through):
        return None
    if token.is_over(now) or now.timestamp() >= token.issued + role.max_session.total_seconds():
        return None
    if token.made_with and not _store.access_keys.is_active(tx, token.made_with):
        return None
    if token.provider and not _store.providers.exists(tx, token.provider):
        return None
    session = Session(
        role.name,
        token.name,
        token.policy,
        token.source_identity,
        token.ends,
        token.through,
        token.provider,
        token.person,
    )
    return role_caller(role, session, token.made_with)


def _new_session(role: Role, options: SessionOptions, now: datetime) -> Session:
    """Return the session that was asked for. Raises SessionTooLong or MalformedPolicy."""
    if not SHORTEST_SESSION <= options.duration <= role.max_session:
        raise SessionTooLong(role.max_session)
    if options.policy:
        parse_document(options.policy, "Session")
    ends = int((now + options.duration).timestamp())
    return Session(role.name, options.name, options.policy, options.source_identity, ends)


def _chained(made: Session, by: Session, by_role: str) -> Session:
    """Return a session as it is when another session makes it. Raises LimitReached."""
    through = (*by.through, by_role)
    if len(through) >= ROLES_IN_A_CHAIN:
        raise LimitReached("Session.Role", ROLES_IN_A_CHAIN)
    source = by.source_identity or made.source_identity
    return replace(
        made,
        ends=min(made.ends, by.ends),
        source_identity=source,
        through=through,
        provider=by.provider,
        person=by.person,
    )


def _issue(
    vault: Vault, role: Role, session: Session, made_with: str, *, now: datetime, draw: Draw
) -> TemporaryCredentials:
    content = SecurityToken(
        access_key_id=f"{KEY_PREFIX}{draw(20)}",
        secret=draw(SECRET_LENGTH),
        account_id=role.account_id,
        role_id=role.id,
        name=session.name,
        issued=int(now.timestamp()),
        ends=session.ends,
        policy=session.policy,
        source_identity=session.source_identity,
        made_with=made_with,
        provider=session.provider,
        through=session.through,
        person=session.person,
    )
    fields = asdict(content)
    if not content.person:
        del fields["person"]  # so that a replica of an earlier version can open it
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    token = vault.box(PURPOSE).seal_bytes(zlib.compress(text.encode(), 9))
    expires = datetime.fromtimestamp(content.ends, UTC)
    caller = role_caller(role, session, made_with)
    return TemporaryCredentials(content.access_key_id, content.secret, token, expires, caller)
