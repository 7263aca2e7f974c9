"""Where simulated agents reach a server."""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Server:
    """Where one replica is reached."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
