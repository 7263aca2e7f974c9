"""CreateConsoleLogin: a code that logs its caller in to the console once."""

from typing import Any

from backfleet import identity, logins, sockets
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.values import value_object
from backfleet.wire.errors import ApiError


class NoConsoleLogin(ApiError):
    """The caller has no key of their own, or too many codes that nobody used."""

    code = "OperationDenied.NoConsoleLogin"
    status = 400


@value_object
class CreateConsoleLogin:
    """No parameters."""


@operation(
    BACKFLEET,
    "CreateConsoleLogin",
    action="backfleet:CreateConsoleLogin",
    needs_tls=True,
    answer={"LoginCode": str, "Path": str, "Url": str, "ExpireTime": int},
    errors=(NoConsoleLogin,),
)
def create_console_login(call: Call, asked: CreateConsoleLogin) -> dict[str, Any]:
    """Return a code that logs the caller in to the console once, within ten minutes.

    Path has it behind a `#`, which browsers send to no server; Url is Path on the plain listener, as the machine of the
    server reaches it. Whoever has the code may do what the caller may, so show
    it to nobody. It works for as long as the access key that made it is active; temporary credentials get none.
    """
    caller = call.caller
    if caller.session is not None or not caller.access_key_id:
        raise NoConsoleLogin("Temporary credentials get no console login; sign with an access key.")
    try:
        with call.services.database.transaction() as tx:
            code = logins.make_code(tx, caller.access_key_id, now=call.now, draw=call.services.draw)
    except identity.LimitReached as reached:
        raise NoConsoleLogin(
            f"{reached.limit} logins of this key wait to be used; each is over after ten minutes."
        ) from None
    path = f"/console/login#{code}"
    return {
        "LoginCode": code,
        "Path": path,
        "Url": f"http://{sockets.reachable_address(call.services.settings.http)}{path}",
        "ExpireTime": seconds(call.now + logins.CODE_LIFE),
    }
