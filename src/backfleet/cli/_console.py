"""backfleet console: a link that logs in to the console once."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, json_option
from backfleet.cli._print import moment, print_json, say


@click.command()
@click.option("--address", metavar="URL", help="Where the console is reached, such as https://backfleet.example.")
@json_option
@calls_the_api
def console(api: Client, address: str | None, as_json: bool) -> None:
    """Print a link that logs you in to the console once, within ten minutes. Show it to nobody."""
    found: dict[str, Any] = api.call("backfleet", "CreateConsoleLogin")
    link = f"{address.rstrip('/')}{found['Path']}" if address else found["Url"]
    if as_json:
        print_json(found | {"Url": link})
        return
    say(link)
    say(f"It works once, until {moment(found['ExpireTime'])}.", err=True)
