"""The names in the server's certificate: what is known at once, and later what the name service knows."""

import asyncio
import logging
import ssl

from backfleet.certificates import (
    Certificates,
    looked_up_names,
    names_of_this_machine,
    own_address,
    prepare_certificates,
)
from backfleet.clock import Clock
from backfleet.settings import Settings

log = logging.getLogger(__name__)


def certificate_names(settings: Settings) -> list[str]:
    """Return the names that the server's certificate has from the start: those that are known without a question."""
    return [*names_of_this_machine(), *filter(None, [own_address(), *settings.public_host.split(",")])]


def complete_certificate(
    settings: Settings, files: Certificates, tls: ssl.SSLContext, loop: asyncio.AbstractEventLoop, clock: Clock
) -> None:
    """Add what the name service knows to the certificate, beside the start: a dead one takes long to say so. Blocks.

    Args:
        settings: those of the server.
        files: the certificate's.
        tls: what serves it, in `loop`.
        loop: where handshakes are made.
        clock: the time.
    """
    try:
        names = [*certificate_names(settings), *looked_up_names()]
        before = files.server.read_bytes()
        prepare_certificates(settings.data, names, now=clock())
        if files.server.read_bytes() != before or settings.processes > 1:  # perhaps a sibling was first
            # In the loop: between its two steps no handshake may begin.
            loop.call_soon_threadsafe(tls.load_cert_chain, files.server, files.server_key)
    except (OSError, ValueError, RuntimeError) as problem:
        log.warning("this machine's names could not be added to the certificate", extra={"reason": str(problem)})
