"""What is wrong with a certificate: its time, and the names in it. Pure."""

import ipaddress
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from backfleet.checks.finding import Finding, Severity

SOON: Final = timedelta(days=30)


def check_times(
    code: str, certificate: x509.Certificate, now: datetime, advice: str, soon: timedelta = SOON
) -> Finding:
    """Check that a certificate is valid now, and will be for a while.

    Args:
        code: That of the finding.
        certificate: The certificate.
        now: The time.
        advice: What to do if it is not.
        soon: One that ends within this time is reported.
    """
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        found = f"it is not valid before {begins:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M} UTC here"
        return Finding(code, Severity.ERROR, found, f"set the clock if it is wrong; else {advice}")
    if now >= ends:
        return Finding(code, Severity.ERROR, f"it expired on {ends:%Y-%m-%d %H:%M} UTC", advice)
    if ends - now < soon:
        return Finding(code, Severity.WARNING, f"it expires on {ends:%Y-%m-%d}, in {(ends - now).days} days", advice)
    return Finding.ok(code, f"valid until {ends:%Y-%m-%d}")


def names_in(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a certificate is for."""
    try:
        carried = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *carried.get_values_for_type(x509.DNSName),
        *map(str, carried.get_values_for_type(x509.IPAddress)),
    ]


def is_for(certificate: x509.Certificate, host: str) -> bool:
    """Return whether a certificate is for a name or an address. Source of wildcards: RFC 6125, 6.4.3."""
    names = names_in(certificate)
    bare = host.strip("[]")
    try:
        return str(ipaddress.ip_address(bare)) in names
    except ValueError:
        wanted = bare.rstrip(".").lower()
        return any(wanted in (name.lower(), name.lower().replace("*", wanted.partition(".")[0], 1)) for name in names)
