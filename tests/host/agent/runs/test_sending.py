"""An agent, as a process of its own, reports the runs of its clients."""

from pathlib import Path
from typing import Any

from backfleet_host.layout import Places
from host.agent.conftest import host_of
from host.agent.gateway import Gateway
from host.agent.runs.clients import HostWithRuns


def results(gateway: Gateway) -> dict[str, str]:
    """Return the newest result of each run that arrived."""
    return {run["id"]: run["result"] for run in gateway.runs}


def ended(gateway: Gateway, number: int) -> Any:
    gateway.wait_for(lambda: sum(bool(result) for result in results(gateway).values()) >= number)
    return results(gateway)


def test_runs_arrive_also_those_from_while_the_server_was_away(gateway: Gateway, places: Places, source: Path) -> None:
    """Each once by its id, although an answer is lost; and an agent that starts anew sends none a second time."""
    client = HostWithRuns(places.root)
    with host_of(places, source) as host:
        host.start()
        host.ready()
        client.call("backup", "0")
        ended(gateway, 1)
        gateway.behaviour.refuse["runs"] = 2
        gateway.behaviour.lose_answers["runs"] = 1
        client.call("backup", "5")
        assert len(ended(gateway, 2)) == 2
        gateway.wait_for(lambda: not gateway.behaviour.lose_answers["runs"])
        arrived = {run["id"]: run for run in gateway.runs}.values()
        assert {(run["package"], run["version"], run["backup"]) for run in arrived} == {("courier", "1.0", True)}
        host.kill()
        sent = len(gateway.runs)
        host.start()
        host.ready()
        client.call("backup", "0")
        assert len(ended(gateway, 3)) == 3
        assert len({run["id"] for run in gateway.runs[sent:]}) <= 2, "the last one, and the one whose answer was lost"
