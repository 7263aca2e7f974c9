"""One attempt to log in by a provider, from the click until the browser is back. Pure, but for what is spent.

Sources: RFC 6749 (code), RFC 7636 (PKCE), RFC 9207 (`iss`), OpenID Connect Core 1.0, section 3.1.

The browser keeps the attempt, sealed, in a cookie of its own, so that any replica can finish it, and so that an address
from somebody else's browser logs nobody in.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from backfleet import identity
from backfleet.ids import Draw
from backfleet.logins.oidc.model import LoginRefused, Offer, Offers
from backfleet.storage import Transaction
from backfleet.values import value_object

ATTEMPT_LIFE: Final = timedelta(minutes=10)
LONGEST_CODE: Final = 4096  # characters
LONGEST_SEALED: Final = 8192  # characters
PURPOSE: Final = "logins by a provider"
SPENT: Final = "console-oidc"  # beside the ids of keys, whose nonces are in the same table
AGAIN: Final = "Begin again at the login page."


@value_object
class Attempt:
    """What must be the same when the browser comes back. `repr` leaves the secrets out."""

    offer: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    wanted: str  # the page to open after the login
    until: float  # seconds since 1970


def begin(
    offers: Offers, offer: Offer, vault: identity.Vault, wanted: str, *, now: datetime, draw: Draw
) -> tuple[str, str]:
    """Return the provider's address for an attempt, and the sealed attempt that the browser is to keep."""
    until = (now + ATTEMPT_LIFE).timestamp()
    attempt = Attempt(offer.id, draw(43), draw(43), draw(64), wanted[:1000], until)
    digest = hashlib.sha256(attempt.verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": offer.client_id,
        "redirect_uri": offers.redirect_of(offer),
        "scope": offer.scope,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    join = "&" if "?" in offer.authorization_url else "?"
    sealed = vault.box(PURPOSE).seal(json.dumps(asdict(attempt)))
    return f"{offer.authorization_url}{join}{urlencode(asked)}", sealed


def finish(
    tx: Transaction,
    vault: identity.Vault,
    offer: Offer,
    issuer: str,
    sealed: str,
    query: Mapping[str, str],
    *,
    now: datetime,
) -> tuple[Attempt, str]:
    """Return the attempt that a browser came back from, and its code. It is accepted once.

    Args:
        tx: The transaction in which the attempt is spent.
        vault: What the attempt was sealed with.
        offer: Which way to log in the address is of.
        issuer: That of the offer's provider.
        sealed: What the browser kept.
        query: What the provider added to the address.
        now: The time.

    Raises:
        LoginRefused: something does not fit; the provider is not asked for anything.
    """
    attempt = _opened(vault, sealed)
    state = query.get("state", "")
    if attempt is None or attempt.offer != offer.id or not hmac.compare_digest(attempt.state.encode(), state.encode()):
        raise LoginRefused(f"This browser did not begin this login, or it began another one since. {AGAIN}")
    if now.timestamp() >= attempt.until:
        raise LoginRefused(f"The login took longer than {ATTEMPT_LIFE.seconds // 60} minutes. {AGAIN}")
    if not identity.spend_nonce(tx, SPENT, attempt.state, now=now, keep=ATTEMPT_LIFE * 2):
        raise LoginRefused(f"This login was used already. {AGAIN}")
    if query.get("iss", issuer) != issuer:
        raise LoginRefused("The answer is of another provider than the one that was asked. Nobody was logged in.")
    if query.get("error"):
        known = query["error"] if query["error"].replace("_", "").isalpha() and len(query["error"]) < 60 else "an error"
        raise LoginRefused(f"{offer.name} did not log you in: it answered {known}.")
    code = query.get("code", "")
    if not 0 < len(code) <= LONGEST_CODE:
        raise LoginRefused(f"{offer.name} sent no code that can be used. {AGAIN}")
    return attempt, code


def _opened(vault: identity.Vault, sealed: str) -> Attempt | None:
    if not 0 < len(sealed) <= LONGEST_SEALED:
        return None
    try:
        return Attempt(**json.loads(vault.box(PURPOSE).unseal(sealed)))
    except (identity.CannotOpen, TypeError, ValueError):  # the last two: another version's fields
        return None
