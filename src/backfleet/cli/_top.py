"""backfleet top: the fleet in a terminal, redrawn."""

import shutil
import time
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._drawing import Drawing
from backfleet.cli._fleet_picture import picture
from backfleet.cli._options import WholeNumber, calls_the_api, json_option
from backfleet.cli._print import print_json, print_text
from backfleet.cli._waiting import Poller, stoppable
from backfleet.clock import utc_now

LISTED = 50  # rollouts and tasks that are asked for


@click.command()
@click.option("--seconds", type=WholeNumber(1, 3600), default=2, show_default=True, help="Between two pictures.")
@click.option("--once", is_flag=True, help="Print one picture and exit.")
@click.option("--site-tag", default="site", show_default=True, help="The tag of instances that names their site.")
@json_option
@calls_the_api
def top(api: Client, seconds: int, once: bool, site_tag: str, as_json: bool) -> None:
    """Show the fleet by version and site, and what moves, until Ctrl-C; with --once or --json once."""
    if as_json:
        print_json(_asked(api, Poller("run it again"), site_tag))
        return
    if once:
        size = shutil.get_terminal_size((120, 1000))
        print_text("\n".join(_lines(api, Poller("run it again"), site_tag, (size.columns, size.lines))))
        return
    poller = Poller("`backfleet top` shows it again")
    with stoppable(list), Drawing() as drawing:
        while True:
            drawing.show(_lines(api, poller, site_tag, drawing.size))
            time.sleep(seconds)


def _lines(api: Client, poller: Poller, site_tag: str, size: tuple[int, int]) -> list[str]:
    found = _asked(api, poller, site_tag)
    return picture(found, found["Rollouts"], found["Tasks"], utc_now().timestamp(), size)


def _asked(api: Client, poller: Poller, site_tag: str) -> dict[str, Any]:
    """Return what the picture shows: the counts, the map, and what moves."""

    def ask(action: str, **parameters: Any) -> dict[str, Any]:
        return poller.poll(lambda: api.call("backfleet", action, **parameters))

    fleet = ask("DescribeFleet", SiteTag=site_tag, PageSize=1)
    rollouts = ask("ListRollouts", PageSize=LISTED)["Rollouts"]
    tasks = ask("ListTasks", PageSize=LISTED)["Tasks"]
    return {"Counts": fleet["Counts"], "Map": fleet["Map"], "Rollouts": rollouts, "Tasks": tasks}
