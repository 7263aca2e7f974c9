"""The option --expires: hosts that are away or busy are waited for."""

from typing import Any, Final

import click

from backfleet.cli._durations import Duration

LONGEST: Final = 30 * 86400  # seconds: the API's maximum


def expires_option(command: Any) -> Any:
    """Give a command --expires, as the argument `expires`: seconds, or None."""
    return click.option(
        "--expires",
        type=Duration(),
        metavar="DURATION",
        help="Wait for hosts that are away or busy, for so long (7d, at most 30d). Default: they are refused.",
    )(command)


def expiry(expires: int | None) -> dict[str, object]:
    """Return the parameter of the API, only if the option was given.

    Raises:
        click.BadParameter: the server would refuse it.
    """
    if expires is None:
        return {}
    if not 60 <= expires <= LONGEST:
        raise click.BadParameter("must be from 1m to 30d", param_hint="--expires")
    return {"ExpiresInSeconds": expires}
