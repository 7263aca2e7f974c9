"""An access key, with a session's token if it is temporary."""

from dataclasses import field

from backfleet.values import value_object


@value_object
class Credentials:
    """What a caller signs with. Printing it does not show the secrets."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)  # "" for a long-term key
