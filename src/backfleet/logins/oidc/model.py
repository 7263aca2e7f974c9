"""A way to log in by a provider, and why a login by one is refused. Pure."""

from dataclasses import field
from typing import Final

from backfleet.values import value_object

ROOT: Final = "/console/login/oidc"


class LoginRefused(Exception):
    """A login by a provider is refused. The text is for the person, and holds nothing of what the provider sent."""


@value_object
class Offer:
    """One way to log in. `repr` leaves the secret out."""

    id: str  # in addresses
    name: str  # on the button
    account_id: str
    provider: str  # its name in the account
    role_arn: str
    client_id: str
    authorization_url: str
    token_url: str
    keys_url: str = ""  # "" = the keys that are registered with the provider
    client_secret: str = field(default="", repr=False)  # "" = a public client
    scope: str = "openid"
    person: str = "sub"  # the claim that names the session

    @property
    def provider_arn(self) -> str:
        """The ARN of the provider."""
        return f"acs:ram::{self.account_id}:oidc-provider/{self.provider}"


@value_object
class Offers:
    """Every way to log in by a provider, and where browsers find the console."""

    console_url: str = ""
    each: tuple[Offer, ...] = ()

    def find(self, offer_id: str) -> Offer | None:
        """Return a way to log in by its id; None if there is none."""
        return next((offer for offer in self.each if offer.id == offer_id), None)

    def start_of(self, offer: Offer) -> str:
        """Return where a login begins: at the address that the provider sends the browser back to."""
        return f"{self.console_url}{ROOT}/{offer.id}"

    def redirect_of(self, offer: Offer) -> str:
        """Return where the provider sends the browser back to: one address each, so that none is taken for another."""
        return f"{self.start_of(offer)}/done"
