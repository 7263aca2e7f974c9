"""The functions that need the SSH library, which takes a moment to load: they load it when they are called."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from backfleet.carriers.ssh.model import Hop, SshKey, SshProblem
from backfleet.carriers.ssh.worker import Visits
from backfleet.outbound import Destinations
from backfleet.storage import Database


def make_key(account_id: str, name: str, private: str | None, *, now: datetime, seal: Callable[[str], str]) -> SshKey:
    """Return a key for a private half, or with one that is made here and shown to nobody.

    Raises:
        ValueError: the private half cannot be used.
    """
    from backfleet.carriers.ssh import keys

    private = private or keys.make_private_key()
    public, fingerprint = keys.public_of(private)
    return SshKey(account_id, name, public, fingerprint, now, seal(private))


def read_host_keys(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return host keys as they are stored. Raises ValueError."""
    from backfleet.carriers.ssh import keys

    return keys.read_host_keys(lines)


def described(line: str) -> str:
    """Return a stored host key as people compare it: `ssh-ed25519 SHA256:...`."""
    from backfleet.carriers.ssh import keys

    return keys.described(line)


def scan_hosts(hops: Sequence[Hop], allowed: Destinations) -> list[tuple[str, ...] | SshProblem]:
    """Return the host keys that each SSH server shows, or what was wrong. All are asked at once."""
    from backfleet.carriers.ssh.connecting import scan

    async def scan_all() -> list[tuple[str, ...] | SshProblem]:
        async def one(hop: Hop) -> tuple[str, ...] | SshProblem:
            try:
                return await scan(hop, allowed)
            except SshProblem as problem:
                return problem

        return await asyncio.gather(*map(one, hops))

    return asyncio.run(scan_all())


def make_visitor(
    database: Database,
    clock: Callable[[], datetime],
    allowed: Destinations,
    open_key: Callable[[str], str],
    *,
    handed: timedelta,
    lease: timedelta,
) -> Visits:
    """Return who visits hosts. See `Visitor`."""
    from backfleet.carriers.ssh.visiting import Visitor

    return Visitor(database, clock, allowed, open_key, handed, lease)
