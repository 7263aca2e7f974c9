"""Codes with which hosts enrol. A code is shown once and kept as a hash."""

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backfleet.fleet import _store
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


@dataclass(frozen=True, slots=True)
class Activation:
    """How many hosts may enrol with one code, from where, until when."""

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

    def refuses(self, code: str, source_ip: str, now: datetime) -> str:
        """Why a host with this code may not enrol; empty if it may. A wrong code is told first and told least."""
        if not hmac.compare_digest(hash_of(code), self.code_hash):
            return "the activation id or code is wrong"
        if self.disabled:
            return "the activation is disabled"
        if now > self.created_at + timedelta(hours=self.hours):
            return "the activation has expired"
        if self.address_range and not _within(source_ip, self.address_range):
            return "the activation is not for this address"
        return ""

    def name_of(self, number: int, asked: str, hostname: str) -> str:
        """What the host that enrols as this number is called: its own wish, `<name>-<number>`, or its host name."""
        if asked or not self.name:
            return asked or hostname
        digits = len(str(self.instance_count))
        return f"{self.name}-{number:0{digits}d}"


def hash_of(code: str) -> str:
    """What is kept of a code."""
    return hashlib.sha256(code.encode()).hexdigest()


def create_activation(
    tx: Transaction,
    *,
    account_id: str,
    region: str,
    count: int,
    hours: int,
    name: str,
    description: str,
    address_range: str,
    now: datetime,
    draw: Draw,
) -> tuple[Activation, str]:
    """A new activation and its code, which nobody can read again."""
    drawn = draw(32)
    activation_id = "-".join((drawn[:8], drawn[8:12], drawn[12:16], drawn[16:20], drawn[20:]))
    code = new_id("a", draw, 24)
    made = Activation(
        activation_id,
        account_id,
        region,
        count,
        0,
        0,
        hours,
        name,
        description,
        address_range,
        False,
        now,
        hash_of(code),
    )
    _store.add_activation(tx, made)
    return made, code


def find_activations(
    tx: Transaction,
    account_id: str,
    region: str,
    *,
    activation_id: str | None,
    name: str | None,
    page: Page,
    tags: Sequence[tuple[str, str | None]] = (),
) -> Listing[Activation]:
    """An account's activations, newest first."""
    return _store.activations_page(tx, account_id, region, activation_id, name, page, tags)


def activation(tx: Transaction, account_id: str, region: str, activation_id: str) -> Activation | None:
    """One activation of the account, locked against hosts that enrol with it."""
    found = _store.activation(tx, activation_id, lock=True)
    return found if found is not None and (found.account_id, found.region) == (account_id, region) else None


def disable_activation(tx: Transaction, activation_id: str) -> None:
    """Nobody enrols with it any more; who has stays."""
    _store.set_activation_disabled(tx, activation_id)


def delete_activation(tx: Transaction, activation_id: str) -> None:
    """Forget it, and its tags."""
    _store.drop_tags(tx, "activation", [activation_id], None)
    _store.drop_activation(tx, activation_id)


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
