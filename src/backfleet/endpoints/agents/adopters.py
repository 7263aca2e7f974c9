"""What adopting hosts needs of parts that this endpoint does not know; the composition root gives it."""

from collections.abc import Callable
from datetime import datetime

from backfleet import hold
from backfleet.fleet import Instance
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class Adopters:
    """Whether hosts are adopted now, into which account, and who writes it down."""

    watch: hold.Watch
    account_of: Callable[[Transaction], str]
    note: Callable[[Transaction, Instance, str, datetime], None]  # with the fingerprint of the host's key
