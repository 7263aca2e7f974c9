"""What only a caller can see of a server: its address, the certificate that it serves, and the time it has.

Nothing here takes longer than a few seconds: a doctor is asked when something does not answer.
"""

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from backfleet.checks import Finding, Severity, in_time, named_some
from backfleet.checks.certificates import check_times, is_for, names_in
from backfleet.cli._schemes import wrong_scheme
from backfleet.clock import Clock

RESOLVE_SECONDS: Final = 3.0
CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 5.0
NOTICEABLE: Final = timedelta(seconds=5)
REFUSED: Final = timedelta(minutes=15)  # a server refuses requests whose time differs by more (time_window_seconds)


def host_and_port(address: str) -> tuple[str, int]:
    """Return the host and the port of an address with a scheme.

    Raises:
        ValueError: it has no host, or no number as its port.
    """
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def check_address(address: str) -> Finding:
    """Check that the name of a server is known, and that something takes connections there."""
    try:
        host, port = host_and_port(address)
    except ValueError as problem:
        return Finding("Endpoint", Severity.ERROR, f"{address} is no address: {problem}", "write it as HOST:PORT")
    try:
        found = in_time(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), RESOLVE_SECONDS)
    except (OSError, UnicodeError) as problem:
        advice = "correct the name, or enter it in the name service (or /etc/hosts) of this machine"
        return Finding("Endpoint", Severity.ERROR, f"the name service does not know {host}: {problem}", advice)
    addresses = [str(each[4][0]) for each in found]
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as problem:
        advice = "is `backfleet serve` running there (its log), is the port right, and does a firewall let it through?"
        found_text = f"{address} takes no connection ({named_some(addresses)}): {problem}"
        return Finding("Endpoint", Severity.ERROR, found_text, advice)
    return Finding.ok("Endpoint", f"{address} takes connections")


def check_served_certificate(address: str, trust: ssl.SSLContext, now: datetime) -> Finding:
    """Check the certificate that a server serves: its time, its names, and who signed it.

    Args:
        address: With its scheme, https.
        trust: The authorities that the command line trusts.
        now: The time by this machine's clock.
    """
    host, port = host_and_port(address)
    code = "ServedCertificate"
    try:
        content = _served(host, port)
        certificate = x509.load_der_x509_certificate(content)
    except (OSError, ValueError) as problem:
        asks = "is it a Backfleet server, and its https listener? Without TLS: --endpoint http://HOST:PORT"
        found, advice = wrong_scheme(address) or (str(problem), asks)
        return Finding(code, Severity.ERROR, f"{address} does not speak TLS: {found}", advice)
    timely = check_times(code, certificate, now, "restart `backfleet serve`, which renews it")
    if timely.severity is Severity.ERROR:
        return timely
    if not is_for(certificate, host):
        found = f"it is not for {host}, but for {named_some(names_in(certificate))}"
        return Finding(code, Severity.ERROR, found, f"call it by one of these, or set public_host={host} on the server")
    try:
        with (
            socket.create_connection((host, port), CONNECT_SECONDS) as plain,
            trust.wrap_socket(plain, server_hostname=host),
        ):
            return timely
    except ssl.SSLCertVerificationError as problem:
        advice = "name the server's tls/ca.pem with --ca FILE, or `backfleet configure --ca FILE`"
        return Finding(code, Severity.ERROR, f"no trusted authority signed it: {problem.verify_message}", advice)
    except OSError as problem:
        return Finding(code, Severity.ERROR, f"the TLS handshake failed: {problem}", "see the server's log")


def _served(host: str, port: int) -> bytes:
    """Return the certificate that is served."""
    with (
        socket.create_connection((host, port), CONNECT_SECONDS) as plain,
        _no_trust().wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


def check_clock(address: str, clock: Clock, ask: Callable[[str], str | None] | None = None) -> Finding:
    """Check that the clocks of this machine and of the server agree.

    Args:
        address: That of the server.
        clock: This machine's.
        ask: Returns the time that the server names, as in HTTP; by default it is asked.
    """
    before = clock()
    named = (ask or _date_of)(address)
    after = clock()
    try:
        there = parsedate_to_datetime(named or "").astimezone(UTC)
    except ValueError:
        return Finding("CallerClock", Severity.NOTE, "the server names no time", "")
    # The server's time is cut to a second, and was read between the question and the answer.
    ahead = before + (after - before) / 2 - (there + timedelta(seconds=0.5))
    if abs(ahead) <= NOTICEABLE:
        return Finding.ok("CallerClock", "this machine's and the server's agree")
    seconds = abs(ahead).total_seconds()
    found = f"this machine's is {seconds:.0f} s {'ahead of' if ahead > timedelta() else 'behind'} the server's"
    advice = "set whichever is wrong: `timedatectl set-ntp true`"
    if abs(ahead) >= REFUSED:
        return Finding("CallerClock", Severity.ERROR, f"{found}, so that it refuses every request", advice)
    return Finding("CallerClock", Severity.WARNING, found, advice)


def _date_of(address: str) -> str | None:
    """Return the Date header of a server. The certificate is not looked at: it may be the very thing that is wrong."""
    host, port = host_and_port(address)
    if address.startswith("https:"):
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=_no_trust())
    else:
        connection = HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().headers.get("Date")
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _no_trust() -> ssl.SSLContext:
    """Return a context for looking at what is served, whatever it is worth: nothing secret is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
