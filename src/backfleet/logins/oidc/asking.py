"""Asking a provider: a code for tokens, and its keys. Where it may go and how long it takes is limited (`outbound`)."""

import base64
import hmac
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

from backfleet import identity
from backfleet.identity.id_tokens import ALGORITHMS, KEYS_PER_PROVIDER
from backfleet.logins.oidc.attempts import Attempt
from backfleet.logins.oidc.model import LoginRefused, Offer
from backfleet.outbound import SECONDS, Destinations, NoAnswer, NotAllowed, Resolve, fetch, resolve

KEYS_LIFE: Final = timedelta(minutes=10)  # after which the provider's keys are fetched again
KEYS_AT_MOST_EVERY: Final = timedelta(seconds=30)  # if a token is signed with a key that is not among them
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class Provider:
    """The provider of one way to log in, as this process asks it. Threads may share it."""

    def __init__(
        self,
        offer: Offer,
        destinations: Destinations,
        trust: ssl.SSLContext,
        *,
        seconds: float = SECONDS,
        resolve: Resolve = resolve,
    ) -> None:
        """Begin without having asked.

        Args:
            offer: The way to log in.
            destinations: Where the settings allow to go.
            trust: Whose certificates are believed.
            seconds: For one answer.
            resolve: Finds the addresses of names.
        """
        self._offer, self._destinations, self._trust = offer, destinations, trust
        self._seconds, self._resolve = seconds, resolve
        self._lock = threading.Lock()
        self._keys, self._fetched_at = "", datetime.min.replace(tzinfo=UTC)

    def token_for(
        self,
        code: str,
        attempt: Attempt,
        redirect_uri: str,
        provider: identity.Provider,
        clock: Callable[[], datetime],
    ) -> identity.VerifiedToken:
        """Exchange a code for tokens, and return the ID token once everything about it was checked.

        1. exchange   the code, with the verifier that only this attempt has
        2. signature  by a key of the provider
        3. claims     issuer, audience, times (`identity.verify_token`), and that the audience is this client
        4. nonce      that of this attempt

        Raises:
            LoginRefused: one of them failed.
        """
        token = self._exchange(code, attempt, redirect_uri)
        try:
            found = self._verified(provider, token, clock)
        except identity.BadToken as problem:
            raise LoginRefused(
                f"The token of {self._offer.name} is refused: {problem.why}. Nobody was logged in."
            ) from None
        if self._offer.client_id not in found.audiences:
            raise LoginRefused(f"The token of {self._offer.name} is for another client. Nobody was logged in.")
        nonce = found.claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), attempt.nonce.encode()):
            raise LoginRefused(f"The token of {self._offer.name} is of another login. Nobody was logged in.")
        return found

    def _exchange(self, code: str, attempt: Attempt, redirect_uri: str) -> str:
        """Return the ID token for a code. Raises LoginRefused."""
        offer, headers = self._offer, dict(FORM)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": offer.client_id,
        }
        if offer.client_secret:
            pair = f"{quote(offer.client_id, safe='')}:{quote(offer.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        found = self._ask("POST", offer.token_url, urlencode(fields).encode(), headers)
        token = found.get("id_token")
        if not isinstance(token, str):
            raise LoginRefused(f"{offer.name} sent no ID token. Nobody was logged in.")
        return token

    def _verified(
        self, provider: identity.Provider, token: str, clock: Callable[[], datetime]
    ) -> identity.VerifiedToken:
        """Verify a token with the registered keys, or with those that the provider shows. Raises BadToken."""
        if not self._offer.keys_url:
            return identity.verify_token(provider, token, clock())
        keys = self._keys_of(clock(), KEYS_LIFE)
        try:
            return identity.verify_token(replace(provider, keys=keys), token, clock())
        except identity.BadToken as problem:
            fresh = self._keys_of(clock(), KEYS_AT_MOST_EVERY) if problem.fault == "Signature" else keys
            if fresh == keys:
                raise
        return identity.verify_token(replace(provider, keys=fresh), token, clock())

    def _keys_of(self, now: datetime, oldest: timedelta) -> str:
        """Return the provider's keys, fetched again if they are older than that. Raises LoginRefused."""
        with self._lock:
            if not self._keys or now - self._fetched_at >= oldest:
                document = self._ask("GET", self._offer.keys_url, None, {"Accept": "application/json"})
                self._keys, self._fetched_at = signing_keys(document), now
            return self._keys

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
        """Return the JSON object that an address answers. No redirect is followed. Raises LoginRefused."""
        name = self._offer.name
        try:
            place = self._destinations.place_of(url, self._resolve)
            reply = fetch(place, method, body=body, headers=headers, trust=self._trust, seconds=self._seconds)
        except NotAllowed as problem:
            raise LoginRefused(f"The server may not ask {name}: {problem}.") from None
        except (NoAnswer, OSError) as problem:
            raise LoginRefused(f"{name} gave no answer: {str(problem)[:200]}. Try again later.") from None
        try:
            found = json.loads(reply.body) if reply.status == 200 else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise LoginRefused(f"{name} refused the login: it answered {reply.status}. Begin again at the login page.")
        return found


def signing_keys(document: dict[str, Any]) -> str:
    """Return the keys of a provider that can sign tokens here, as a key set; others of its keys are left out. Pure."""
    listed = document.get("keys")
    keys = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict)
        and key.get("kty") in ALGORITHMS
        and key.get("use", "sig") == "sig"
        and key.get("alg", ALGORITHMS[key["kty"]]) == ALGORITHMS[key["kty"]]
        and key.get("crv", "P-256") == "P-256"
    ]
    return json.dumps({"keys": keys[:KEYS_PER_PROVIDER]})
