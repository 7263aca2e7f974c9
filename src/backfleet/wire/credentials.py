"""An access key, and a session's token where there is one. Prints without the secret."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller signs with."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)  # "" for a long-term key
