"""What a session is, and how long one lasts. Pure."""

from dataclasses import field
from datetime import datetime, timedelta

from backfleet import identity
from backfleet.values import value_object


@value_object
class Credential:
    """What a session was begun with, and depends on: an access key, or the security token of a role.

    `repr` leaves the token out.
    """

    access_key_id: str = ""
    security_token: str = field(default="", repr=False)  # sealed, as it was issued; "" for an access key


@value_object
class Lifetime:
    """How long sessions last: without a request, and in any case."""

    idle: timedelta
    longest: timedelta


@value_object
class Session:
    """A session that is not over."""

    caller: identity.Caller
    credential: Credential
    began_at: datetime
    used_at: datetime
    ends_at: datetime  # whatever its person does

    def idles_until(self, lifetime: Lifetime) -> datetime:
        """Return when it ends if nothing is asked for any more."""
        return min(self.used_at + lifetime.idle, self.ends_at)
