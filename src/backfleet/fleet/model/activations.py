"""Activations: permissions to enrol hosts."""

import hashlib
import hmac
import ipaddress
from datetime import datetime, timedelta

from backfleet.values import value_object


@value_object
class Activation:
    """How many hosts may enrol with one code, from which addresses, until when."""

    id: str
    account_id: str
    region: str
    instance_count: int
    registered_count: int
    deregistered_count: int
    hours: int
    name: str
    description: str
    address_range: str
    disabled: bool
    created_at: datetime
    code_hash: str

    def refusal(self, code: str, source_ip: str, now: datetime) -> str:
        """Return why a host with this code may not enrol, or "" if it may.

        The code is checked first, so that without it nobody learns the activation's state.
        """
        if not hmac.compare_digest(hash_code(code), self.code_hash):
            return "the activation id or code is wrong"
        if self.disabled:
            return "the activation is disabled"
        if now > self.created_at + timedelta(hours=self.hours):
            return "the activation has expired"
        if self.address_range and not _is_within(source_ip, self.address_range):
            return "the activation is not for this address"
        return ""

    def instance_name(self, number: int, requested: str, hostname: str) -> str:
        """Return the name of the host that enrols as this number.

        It is the requested name, or `<activation name>-<number>`, or the host name: the first that is not empty.
        """
        if requested or not self.name:
            return requested or hostname
        digits = len(str(self.instance_count))
        return f"{self.name}-{number:0{digits}d}"


def hash_code(code: str) -> str:
    """Return the hash of an activation code; the code itself is not stored."""
    return hashlib.sha256(code.encode()).hexdigest()


def _is_within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
