"""What makers of clients have in common, whatever the cloud: where they may go, and which secrets they may use."""

from collections.abc import Callable

from backfleet.carriers.ecs.model import KEY_REFUSED, NOT_ALLOWED, EcsAccount, EcsProblem, Trouble
from backfleet.carriers.ecs.problems import not_allowed
from backfleet.carriers.ecs.sessions import Sessions
from backfleet.outbound import Destinations, NotAllowed, resolve


class Permits:
    """Where the server may go for cloud accounts, and what it may use there; with the sessions that it has."""

    def __init__(self, allowed: Destinations, open_secret: Callable[[str], str], may_use_own: Callable[[str], bool]):
        """Begin with no session.

        Args:
            allowed: where the server may go.
            open_secret: opens the sealed secret of a key.
            may_use_own: whether an account may use the credentials that the server finds where it runs.
        """
        self.allowed, self._open, self._may_use_own = allowed, open_secret, may_use_own
        self.roles = Sessions()

    def check_place(self, account: EcsAccount, url: str) -> None:
        """Do nothing if the server may go there. Raises EcsProblem."""
        try:
            self.allowed.place_of(url, resolve)
        except NotAllowed as problem:
            raise not_allowed(account.cloud, problem) from None
        except OSError:
            return  # the call says that it has no address

    def check_own(self, account: EcsAccount) -> None:
        """Do nothing if this account may use the credentials of the server itself. Raises EcsProblem."""
        if not self._may_use_own(account.account_id):
            setting = f"{account.cloud.value}_own_credentials_for"
            text = f"the credentials of the server itself may not be used: name the account in `{setting}`"
            raise EcsProblem(account.code(NOT_ALLOWED), text, Trouble.ACCOUNT)

    def opened(self, account: EcsAccount, sealed: str) -> str:
        """Return a secret of an account; "" if there is none. Raises EcsProblem."""
        try:
            return self._open(sealed) if sealed else ""
        except ValueError as problem:
            text = f"a secret cannot be opened: {problem}"
            raise EcsProblem(account.code(KEY_REFUSED), text, Trouble.ACCOUNT) from None


def none_found(account: EcsAccount, problem: Exception) -> EcsProblem:
    """Return the problem of an account for which the SDK finds no credentials."""
    return EcsProblem(account.code(KEY_REFUSED), f"no credentials were found: {problem}"[:300], Trouble.ACCOUNT)
