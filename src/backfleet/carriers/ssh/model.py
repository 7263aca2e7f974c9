"""Hosts that the server goes to by SSH, and what may be wrong with one. Plain values: no SQL, no network."""

import ipaddress
import re
from datetime import datetime
from typing import Final

from backfleet.values import value_object

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
USER: Final = r"[a-z_][a-z0-9_.-]{0,31}\$?"
ROOT: Final = r"/[A-Za-z0-9._/-]{1,127}"
HOSTNAME: Final = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
MOST_HOPS: Final = 3  # jump hosts of one host
MOST_KEYS: Final = 8  # host keys of one host


class SshProblem(Exception):
    """A host cannot be worked on. `code` is the kind of trouble, the text says what was found and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def may_pass(self) -> bool:
        """Whether waiting may help. All else needs somebody."""
        return self.code == UNREACHABLE


UNREACHABLE: Final = "SshUnreachable"
HOST_KEY_CHANGED: Final = "SshHostKeyChanged"
LOGIN_REFUSED: Final = "SshLoginRefused"
SUDO_REFUSED: Final = "SshSudoRefused"
KEY_MISSING: Final = "SshKeyMissing"
NOT_ALLOWED: Final = "SshNotAllowed"
UNFIT: Final = "SshHostUnfit"


@value_object
class Hop:
    """One SSH server on the way, and the keys that it is known by, a line of OpenSSH's public form each."""

    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]

    @property
    def place(self) -> str:
        """`HOST:PORT`, as people write it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@value_object
class SshHost:
    """One host: how it is reached, and what its last visit found."""

    instance_id: str
    account_id: str
    target: Hop
    key_name: str
    sudo: bool  # commands run as root by `sudo -n`
    root: str  # the folder on the host that belongs to the host program
    jumps: tuple[Hop, ...] = ()  # from the server's side to the host's
    problem_code: str = ""
    problem: str = ""
    visited_at: datetime | None = None  # the last visit that found it in order


@value_object
class SshKey:
    """A key that the server logs in with. `sealed` is the private half."""

    account_id: str
    name: str
    public: str
    fingerprint: str
    created_at: datetime
    sealed: str


def check_address(text: str) -> str:
    """Return an address or a name of a host as it is stored. Raises ValueError."""
    plain = text.strip("[]")
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        if not re.fullmatch(HOSTNAME, text):
            raise ValueError(f"{text[:64]!r} is neither an address nor the name of a host") from None
        return text.lower()
