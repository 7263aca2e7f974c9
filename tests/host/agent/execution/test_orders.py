"""Orders from the list to the report, with real processes: each is carried out once, whatever dies in between."""

import json

import pytest

from backfleet_host.agent.execution.order_output import report_line
from backfleet_host.contract import Report, read_output
from host.agent.conftest import Host, actions, order, until
from host.agent.gateway import Gateway, ReceivedReport


def report_in(reports: list[ReceivedReport]) -> Report | None:
    return read_output(b"".join(one.body for one in reports).decode())[1]


def test_an_order_is_carried_out_and_reported(gateway: Gateway, acting_host: Host) -> None:
    """First an empty `running`, then the stages, last the report. All are signed, none is sent twice."""
    acting_host.start()
    assert acting_host.ready() == {"event": "running", "instance_id": "mi-test0001", "mode": "restricted"}
    gateway.hand_out("t-1", order())
    end = gateway.end_of("t-1")
    assert (end.name, end.query["exitCode"], end.query["dropped"]) == ("finish", "0", "0")
    assert list(end.query) == ["taskId", "invokeVersion", "start", "end", "exitCode", "dropped"]
    reports = gateway.reports_about("t-1")
    assert [one.name for one in reports] == ["running", "finish"]
    assert reports[0].body == b""
    assert read_output(end.body.decode())[0] == "switch"
    found = report_in(reports)
    assert found is not None
    assert (found.outcome, found.current_version) == ("succeeded", "1.0")
    assert actions(acting_host.places) == ["carry u-1"]
    assert gateway.refused == []
    assert acting_host.kill(15) == 0
    assert acting_host.all_processes_end()


def test_the_log_names_package_versions_and_outcome(gateway: Gateway, acting_host: Host) -> None:
    """Whoever reads it months later need not look up what a task was."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order())
    gateway.end_of("t-1")
    gateway.wait_for(lambda: "ends: finish" in acting_host.log.read_text())
    begins, ends = (line for line in acting_host.log.read_text().splitlines() if "begins" in line or "ends" in line)
    assert begins.endswith("task t-1: begins: upgrade rclone to 1.0 (order u-1)")
    assert ends.endswith("task t-1: ends: finish: upgrade rclone: succeeded, 1.0 runs")


def test_a_task_that_waits_before_the_agent_starts_is_found(gateway: Gateway, acting_host: Host) -> None:
    """No kick is needed: the list is fetched at start."""
    gateway.hand_out("t-1", order(), kick=False)
    acting_host.start()
    assert gateway.end_of("t-1").name == "finish"
    assert gateway.lists[0]["reason"] == "startup"
    assert {"currentTime", "offset", "timeZone", "cold_start"} <= set(gateway.lists[0])


def test_a_long_order_reports_its_stages_while_it_runs(gateway: Gateway, acting_host: Host) -> None:
    """Chunks hold complete lines and never the report. Chunks and final body together are the output."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: any(one.body for one in gateway.reports_about("t-1", "running")))
    (acting_host.places.root / "go").touch()
    gateway.end_of("t-1")
    lines = b"".join(one.body for one in gateway.reports_about("t-1")).decode().splitlines()
    assert [json.loads(line).get("stage") for line in lines] == ["admit", "switch", None]


def test_a_report_that_is_too_long_is_sent_without_its_details(gateway: Gateway, acting_host: Host) -> None:
    """Cut in the middle it could not be read."""
    acting_host.start()
    gateway.hand_out("t-1", order("talks"), kick=False)
    end = gateway.end_of("t-1")
    found = report_in(gateway.reports_about("t-1"))
    assert found is not None
    assert found.details == {"cut": True}
    assert end.query["dropped"] == "0"


def test_an_unforeseen_error_is_reported(gateway: Gateway, acting_host: Host) -> None:
    """The server learns what happened, with exit code 1."""
    acting_host.start()
    gateway.hand_out("t-1", order("raises"), kick=False)
    assert gateway.end_of("t-1").query["exitCode"] == "1"
    found = report_in(gateway.reports_about("t-1"))
    assert found is not None
    assert found.code == "InternalError"
    assert "nobody foresaw this" in found.message


def test_an_order_outlives_its_agent(gateway: Gateway, acting_host: Host) -> None:
    """The agent is killed: the process goes on, the next agent finds it and reports, nothing runs twice."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: gateway.reports_about("t-1", "running") and actions(acting_host.places))
    acting_host.kill()
    assert acting_host.task_processes()
    acting_host.start()
    acting_host.ready()
    (acting_host.places.root / "go").touch()
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert actions(acting_host.places) == ["carry u-1"]
    found = report_in(gateway.reports_about("t-1"))
    assert found is not None
    assert found.outcome == "succeeded"


def test_an_order_that_ended_while_no_agent_ran_is_reported_by_the_next(gateway: Gateway, acting_host: Host) -> None:
    """Its end is on disk."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: actions(acting_host.places))
    acting_host.kill()
    (acting_host.places.root / "go").touch()
    assert acting_host.all_processes_end()
    acting_host.start()
    assert gateway.end_of("t-1").name == "finish"
    assert actions(acting_host.places) == ["carry u-1"]


def test_sigterm_ends_the_agent_and_not_the_order(gateway: Gateway, acting_host: Host) -> None:
    """The agent ends within seconds with exit code 0."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: actions(acting_host.places))
    assert acting_host.kill(15) == 0
    assert acting_host.task_processes()
    (acting_host.places.root / "go").touch()
    assert acting_host.all_processes_end()


def test_an_order_whose_process_was_killed_is_recovered(gateway: Gateway, acting_host: Host) -> None:
    """The upgrader recovers, and the report says what the host runs now."""
    acting_host.start()
    gateway.hand_out("t-1", order("dies"), kick=False)
    end = gateway.end_of("t-1")
    assert (end.name, end.query["exitCode"]) == ("finish", "1")
    found = report_in(gateway.reports_about("t-1"))
    assert found is not None
    assert (found.message, found.current_version) == ("recovered", "0.9")
    assert actions(acting_host.places) == ["carry u-1", "recover u-1"]


def test_a_recovery_that_dies_is_tried_three_times(gateway: Gateway, acting_host: Host) -> None:
    """The server then gets a report that the end is unknown."""
    acting_host.start()
    gateway.hand_out("t-1", order("dies-always"), kick=False)
    end = gateway.end_of("t-1")
    assert (end.name, end.query["errCode"]) == ("error", "-13")
    assert actions(acting_host.places) == ["carry u-1"] + ["recover u-1"] * 3


def test_an_order_that_is_listed_again_is_not_carried_out_again(gateway: Gateway, acting_host: Host) -> None:
    """While it runs it is ignored. Afterwards its report is sent again, also after a restart."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order())
    gateway.end_of("t-1")
    gateway.reports.clear()  # the server has lost everything
    gateway.kick()
    again = gateway.end_of("t-1")
    assert again.query["exitCode"] == "0"
    acting_host.kill()
    gateway.reports.clear()
    acting_host.start()
    assert gateway.end_of("t-1").query == again.query
    assert actions(acting_host.places) == ["carry u-1"]


def test_an_order_that_is_listed_while_its_report_is_under_way_is_reported_again(
    gateway: Gateway, acting_host: Host
) -> None:
    """The server may lose the report after its answer: what it asked for meanwhile counts."""
    gateway.behaviour.answer_after_a_list["finish"] = 1
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order())
    gateway.end_of("t-1")
    gateway.reports.clear()  # the server has lost everything, and has not answered yet
    gateway.kick()
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert actions(acting_host.places) == ["carry u-1"]


def test_a_new_version_of_a_task_is_a_new_task(gateway: Gateway, acting_host: Host) -> None:
    """Each pair of task id and invokeVersion is carried out once."""
    acting_host.start()
    gateway.hand_out("t-1", order(), kick=False)
    gateway.end_of("t-1")
    gateway.reports.clear()
    gateway.hand_out("t-1", order(order_id="u-2"), kick=False, task={"invokeVersion": 2})
    gateway.kick("kick_vm task run t-1")
    assert gateway.end_of("t-1").query["invokeVersion"] == "2"
    assert actions(acting_host.places) == ["carry u-1", "carry u-2"]


def test_an_order_that_does_not_stop_is_killed_and_recovered(gateway: Gateway, acting_host: Host) -> None:
    """After its grace period. The report says what the host runs then."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: actions(acting_host.places))
    gateway.stop_task("t-1")
    end = gateway.end_of("t-1")
    assert end.name == "finish"
    assert actions(acting_host.places) == ["carry u-1", "recover u-1"]
    assert acting_host.all_processes_end()


def test_an_order_that_is_stopped_in_time_reports_taskcancelled(gateway: Gateway, acting_host: Host) -> None:
    """Its process ends by itself, and nothing was done."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("listens"))
    gateway.wait_for(lambda: actions(acting_host.places))
    gateway.stop_task("t-1")
    assert gateway.end_of("t-1").query["exitCode"] == "1"
    report = report_in(gateway.reports_about("t-1"))
    assert report is not None
    assert report.code == "TaskCancelled"
    assert actions(acting_host.places) == ["carry u-1", "stopped u-1"]


def test_an_order_may_finish_although_it_was_stopped(gateway: Gateway, acting_host: Host) -> None:
    """The report says how it ended, not that it was stopped."""
    acting_host.start()
    acting_host.ready()
    gateway.hand_out("t-1", order("waits"))
    gateway.wait_for(lambda: actions(acting_host.places))
    gateway.stop_task("t-1")
    gateway.wait_for(lambda: len(gateway.echoes) == 2)
    (acting_host.places.root / "go").touch()
    assert gateway.end_of("t-1").query["exitCode"] == "0"


@pytest.mark.parametrize(
    ("content", "fields", "param", "value"),
    [
        pytest.param("echo hello", {}, "TypeInvalid", "OrdersOnly", id="a shell command"),
        pytest.param(order(), {"type": "RunPythonScript"}, "TypeInvalid", "OrdersOnly", id="another type"),
        pytest.param(" " + order(), {}, "TypeInvalid", "OrdersOnly", id="an order after a blank"),
        pytest.param("x", {"commandContent": "%%%"}, "TypeInvalid", "OrdersOnly", id="not base64"),
        pytest.param("#!backfleet-order 1\n{}", {}, "CommandContentInvalid", "the order lacks", id="a broken order"),
        pytest.param(order(), {"cron": "* * * * * *"}, "cron", "RepeatNotSupported", id="a repeated order"),
        pytest.param(order(), {"containerId": "c"}, "UnsupportedContainerRuntime", "Containers", id="in a container"),
    ],
)
def test_a_restricted_agent_accepts_nothing_but_orders(
    gateway: Gateway, acting_host: Host, content: str, fields: dict[str, str], param: str, value: str
) -> None:
    """A server that was taken over cannot run commands of its choice."""
    acting_host.start()
    gateway.hand_out("t-1", content, kick=False, task=fields)
    end = gateway.end_of("t-1")
    assert end.name == "invalid"
    assert end.query["param"] == param
    assert end.query["value"].startswith(value)
    assert len(gateway.reports_about("t-1")) == 1
    assert actions(acting_host.places) == []
    assert not acting_host.task_processes()


def test_a_task_id_with_a_path_is_left_out(gateway: Gateway, acting_host: Host) -> None:
    """The other entries of the list are carried out."""
    acting_host.start()
    gateway.hand_out("../../../evil", order(), kick=False)
    gateway.hand_out("t-1", order(), kick=False)
    gateway.end_of("t-1")
    assert sorted(path.name for path in acting_host.places.tasks.iterdir()) == ["t-1"]
    assert not list(acting_host.places.root.rglob("*evil*"))


def test_files_and_sessions_are_refused(gateway: Gateway, acting_host: Host) -> None:
    """Files by a report; sessions are answered as unknown."""
    acting_host.start()
    acting_host.ready()
    gateway.extra = {"file": [{"task": {"taskID": "f-1", "name": "x", "content": "eA=="}}], "session": [{}]}
    gateway.kick()
    refused = gateway.wait_for(lambda: gateway.reports_about("f-1"))[0]
    assert refused.query == {"taskId": "f-1", "taskType": "sendfile", "param": "TypeInvalid", "value": "OrdersOnly"}
    gateway.extra = {}
    gateway.kick("kick_vm session start s-1")
    assert gateway.wait_for(lambda: "unknow:kick_vm session start s-1" in gateway.echoes)


def test_ten_tasks_run_at_a_time(gateway: Gateway, acting_host: Host) -> None:
    """The eleventh waits. Stopped while it waits, it never runs."""
    acting_host.start()
    acting_host.ready()
    for number in range(11):
        gateway.hand_out(f"t-{number:02d}", order("waits", f"u-{number}"), kick=False)
    gateway.kick()
    gateway.wait_for(lambda: len(actions(acting_host.places)) == 10)
    gateway.stop_task("t-10")
    gateway.wait_for(lambda: not gateway.stops)
    (acting_host.places.root / "go").touch()
    ends = [gateway.end_of(f"t-{number:02d}", 30).name for number in range(11)]
    assert ends == ["finish"] * 10 + ["stopped"]
    assert until(lambda: len(actions(acting_host.places)) == 10)


def test_a_long_status_keeps_the_package_that_was_asked_for() -> None:
    """The others are cut: they can be asked for, too."""
    packages = [{"package": name, "drift": ["x" * 200]} for name in ("rclone", *(f"other-{n}" for n in range(40)))]
    report = Report("c-1-0", "status", "rclone", "succeeded", current_version="1.0", details={"packages": packages})
    line = report_line(report, 2000)
    _, cut = read_output(line)
    assert cut is not None
    assert len(line) <= 2000
    assert cut.details == {"packages": [packages[0]], "cut": True}
    assert report_line(report, 100_000) == report.as_line()
    _, cut = read_output(report_line(report, 400))
    assert cut is not None
    assert cut.details == {"cut": True}
