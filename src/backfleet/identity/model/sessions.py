"""Temporary credentials: what is asked for, what a security token holds, and what is handed out."""

from dataclasses import field
from datetime import datetime, timedelta

from backfleet.identity.model.callers import Caller
from backfleet.values import value_object


@value_object
class SessionOptions:
    """What someone who assumes a role asks for."""

    name: str
    duration: timedelta
    policy: str = ""
    source_identity: str = ""


@value_object
class SecurityToken:
    """The content of a security token. `repr` leaves the secret out.

    The field names are the token's JSON keys: tokens that were handed out must stay readable. Moments are in seconds
    since 1970.
    """

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
    provider: str = ""  # or the id of the identity provider that it began with
    through: tuple[str, ...] = ()  # ids of the roles in between, oldest first
    person: str = ""  # whom the provider authenticated; tokens of earlier versions lack it

    def is_over(self, now: datetime) -> bool:
        """Return whether the token has expired."""
        return now.timestamp() >= self.ends


@value_object
class TemporaryCredentials:
    """New temporary credentials, which are shown this once. `repr` leaves the secrets out."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime
    caller: Caller
