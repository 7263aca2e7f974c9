"""backfleet relay: a cache of releases near the hosts of a site."""

import asyncio
import re
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from backfleet import sockets
from backfleet.authorities import believing
from backfleet.cli._options import fail, json_option
from backfleet.cli._print import print_json, say
from backfleet.clock import utc_now
from backfleet.logs import log_to_stderr

DEFAULT_LISTEN: Final = "0.0.0.0:8480"  # the hosts of a site are to reach it
LEAST_SIZE: Final = 64 << 20  # bytes
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class _Size(click.ParamType[int]):
    """Bytes, as 20GB, 500M or a whole number."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        found = re.fullmatch(r"([0-9]{1,12})\s*([KMGT]?)(?:i?B)?", str(value), re.ASCII | re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no size; write it as 20GB, 500M or a whole number of bytes", param, ctx)
        size = int(found[1]) * _UNITS[found[2].upper()]
        if size < LEAST_SIZE:
            self.fail(f"{value!r} is less than {LEAST_SIZE >> 20}M, which no artifact fits into", param, ctx)
        return size


@click.command()
@click.option("--upstream", metavar="URL", required=True, help="The server: https://HOST[:PORT].")
@click.option(
    "--cache", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder of this relay alone."
)
@click.option("--size", default="20GB", show_default=True, type=_Size(), help="What artifacts may take there.")
@click.option("--listen", metavar="HOST:PORT", default=DEFAULT_LISTEN, show_default=True, help="Where hosts come.")
@click.option("--ca", metavar="FILE", default="", help="The server's authority, its ca.pem. Default: the system's.")
@click.option("--tls-cert", metavar="FILE", help="The relay's own certificate. Without it hosts come by http.")
@click.option("--tls-key", metavar="FILE", help="The key of that certificate.")
@click.option(
    "--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)
)
@json_option
def relay(
    upstream: str,
    cache: Path,
    size: int,
    listen: str,
    ca: str,
    tls_cert: str | None,
    tls_key: str | None,
    log_level: str,
    as_json: bool,
) -> None:
    """Pass releases on to the hosts of a site: each is fetched once over the line to the server.

    Hosts that name this relay in /etc/backfleet/host.toml (`relays = ["http://HOST:8480"]`) ask it first, verify what
    it sends as ever, and go to the server when it fails.
    """
    from backfleet import relay as relaying  # imported late: the list of all commands needs none of it

    log_to_stderr(log_level)
    address, trusted, tls = _address(upstream), _trusted(ca), _own_certificate(tls_cert, tls_key)
    try:
        kept = relaying.Cache(cache, size)
    except relaying.CacheInUse as problem:
        fail(str(problem))
    try:
        listener = sockets.inherited_sockets().get("relay") or sockets.bind("listen", listen)
    except sockets.CannotListen as problem:
        kept.close()
        fail(str(problem))
    place = relaying.Place(address, trusted, listener, tls)
    scheme = "https" if place.tls else "http"
    here = f"{scheme}://{sockets.reachable_address(sockets.address_of(listener))}"

    def announce() -> None:
        if as_json:
            print_json({"event": "ready", "upstream": place.upstream, "address": here})
        else:
            say(f"relay of {place.upstream} at {here}")

    asyncio.run(relaying.run(place, kept, utc_now, announce))


def _address(upstream: str) -> str:
    parts = urlsplit(upstream)
    try:
        is_whole = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or parts.username or parts.query or parts.fragment:
        fail("--upstream takes https://HOST[:PORT], without name, password or query")
    return upstream.rstrip("/")


def _trusted(ca: str) -> ssl.SSLContext:
    try:
        return believing(ca)
    except OSError as problem:
        fail(f"--ca {ca} cannot be used: {problem.strerror or problem}; name the server's ca.pem")


def _own_certificate(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        fail("--tls-cert and --tls-key go together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except OSError as problem:
        fail(f"{cert} and {key} cannot be used: {problem.strerror or problem}")
    return context
