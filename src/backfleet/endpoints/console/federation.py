"""Logins by identity providers, in threads of their own: a slow provider must not hold up pages."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

from backfleet import identity, logins
from backfleet.authorities import believing
from backfleet.clock import Clock
from backfleet.logins import oidc
from backfleet.operations.catalogue import Call, Services
from backfleet.operations.sts import log_in_with_oidc
from backfleet.outbound import Destinations

AT_ONCE: Final = 4  # logins that ask a provider
MOST_WAITING: Final = 32  # that wait for one of these
_UNFIT: Final = re.compile(r"[^A-Za-z0-9.@_-]")  # for the name of a session of a role


class Federation:
    """The identity providers by which people log in to this console."""

    def __init__(self, services: Services, clock: Clock) -> None:
        """Read the settings.

        Raises:
            ValueError: the file that `console_oidc_file` names, or `outbound_allowed`, cannot be used.
            OSError: the file that `outbound_authority` names cannot be read.
        """
        settings = services.settings
        self.offers = oidc.read_offers(settings.console_oidc_file)
        self._services, self._clock = services, clock
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="logins by providers")
        self._waiting = 0
        self._providers: dict[str, oidc.Provider] = {}
        if self.offers.each:
            trust = believing(settings.outbound_authority)
            destinations = Destinations.read(settings.outbound_allowed)
            self._providers = {offer.id: oidc.Provider(offer, destinations, trust) for offer in self.offers.each}

    def begin(self, offer: oidc.Offer, wanted: str) -> tuple[str, str]:
        """Return the provider's address for one login, and what the browser keeps until it is back."""
        services = self._services
        return oidc.begin(self.offers, offer, services.vault, wanted, now=self._clock(), draw=services.draw)

    async def finish(
        self, offer: oidc.Offer, sealed: str, query: Mapping[str, str], call: Call, lifetime: logins.Lifetime
    ) -> tuple[str, str]:
        """Return the page that was wanted, and what the browser shows from now on: a new session.

        Raises:
            oidc.LoginRefused: nobody is logged in.
            ApiError: the role does not trust this person, or the database has a trouble.
        """
        if self._waiting >= AT_ONCE + MOST_WAITING:
            raise oidc.LoginRefused("Too many people log in at once. Try again in a minute.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: self._log_in(offer, sealed, query, call, lifetime))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Accept no more logins."""
        self._threads.shutdown(wait=False)

    def _log_in(
        self, offer: oidc.Offer, sealed: str, query: Mapping[str, str], call: Call, lifetime: logins.Lifetime
    ) -> tuple[str, str]:
        database, vault = call.services.database, call.services.vault
        with database.transaction() as tx:
            try:
                known = identity.find_provider(tx, offer.account_id, offer.provider)
            except identity.NotFound:
                raise oidc.LoginRefused(f"{offer.name} is not registered here any more.") from None
            attempt, code = oidc.finish(tx, vault, offer, known.issuer, sealed, query, now=call.now)
        asked = self._providers[offer.id]
        token = asked.token_for(code, attempt, self.offers.redirect_of(offer), known, self._clock)
        issued = log_in_with_oidc(call, known, token, offer.role_arn, session_name(token.claims, offer.person))
        shortest = min(lifetime.longest, max(issued.expires - call.now, timedelta()))
        lasting = logins.Lifetime(lifetime.idle, shortest)
        credential = logins.Credential(issued.access_key_id, issued.token)
        with database.transaction() as tx:
            return attempt.wanted, logins.begin(tx, credential, lasting, now=call.now, draw=call.services.draw)


def session_name(claims: Mapping[str, Any], claim: str) -> str:
    """Return the name of a person's session, as trails show it: that claim, or the subject. Pure."""
    found = claims.get(claim)
    name = _UNFIT.sub("_", found if isinstance(found, str) and found else str(claims["sub"]))[:64]
    return name if len(name) > 1 else f"user-{name}"
