"""An agent, as a process of its own, reports the runs of its clients."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.runs.ledger import Ledger, Run
from backfleet_host.agent.runs.sending import RunSender
from backfleet_host.agent.timings import Timings
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


class Pauses(threading.Event):
    """An event that is not waited for, and knows for how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return self.is_set()


def test_one_report_that_is_lost_holds_no_rollout_up_for_minutes(tmp_path: Path) -> None:
    """Runs are sent again after seconds, and only a server that stays away is asked less and less often."""
    ledger, pauses, failures = Ledger(tmp_path / "runs"), Pauses(), iter(range(10))

    def post(*_: object, **__: object) -> Any:
        if next(failures, None) is not None:
            raise Unreachable("no answer in time")
        pauses.set()
        return SimpleNamespace(is_final=True)

    ledger.put(Run("r-1", "courier", "1.0", begun=1.0))
    sender = RunSender(cast("Server", SimpleNamespace(post=post)), ledger, Timings())
    sender.wake()
    sender.run(pauses)
    _, first, second, *_, last = pauses.seconds
    assert 2.5 <= first <= 5.0 <= second <= 10.0
    assert 150.0 <= last <= 300.0
    assert ledger.unsent(10) == []
