"""Windows and calendars as their users have them: by the API, and heeded by rollouts."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from backfleet import fleet
from rollouts.fleet import POLICY, Fleet

ONE_RING = POLICY.replace('[[ring]]\nname = "canary"\ncount = 2\n', "")
EMPTY = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nEND:VCALENDAR\n"


def window(hosts: Fleet, begins_in: float, hours: float, more: str = "") -> str:
    """Return the window of a policy: so many hours, in so many hours from now."""
    begin = hosts.now + timedelta(hours=begins_in)
    return f'[window]\ntimes = ["{begin:%H:%M}-{begin + timedelta(hours=hours):%H:%M}"]\n{more}'


def freeze(hosts: Fleet, hours: float = 1, name: str = "audit") -> None:
    """Put a calendar with a freeze that lasts for so many hours from an hour ago."""
    begin, end = hosts.now - timedelta(hours=1), hosts.now + timedelta(hours=hours)
    entry = {"Freezes.1.Summary": "audit", "Freezes.1.Begin": begin.isoformat(), "Freezes.1.End": end.isoformat()}
    hosts.ask("PutCalendar", Name=name, **entry)


def test_no_order_leaves_outside_the_window(hosts: Fleet) -> None:
    """It waits with its reason; once the window is open everything moves."""
    hosts.grow(4)
    rollout = hosts.roll_out(window(hosts, 2, 3))
    hosts.run(rollout, 10)
    assert hosts.env.tasks() == 0
    assert "its window: " in hosts.show(rollout)["WaitsFor"]
    hosts.at += 2 * 3600
    assert hosts.run(rollout)["State"] == "completed"


def test_a_deadline_that_leaves_no_time_for_an_order_is_named_itself(sqlite_hosts: Fleet) -> None:
    """A policy without a window has no times to change."""
    sqlite_hosts.grow(4)
    (fault,) = sqlite_hosts.ask("PreviewRollout", Policy=sqlite_hosts.policy(hours=0.2))["Faults"]
    assert (fault["Key"], "15 minutes" in fault["Wanted"]) == ("deadline", True)


def test_each_host_is_changed_by_its_own_clock(hosts: Fleet) -> None:
    """It is night where its agent says that it is."""
    here, there = hosts.grow(4), hosts.grow(4)
    with hosts.helpers.transaction() as tx:
        beats = [(client, "Asia/Tokyo") for client in there] + [(client, "Mars/Olympus") for client in here]
        made = [fleet.Heartbeat(hosts.instance_of(client), hosts.now, time_zone=zone) for client, zone in beats]
        fleet.note_heartbeats(tx, made)
    tokyo = hosts.now.astimezone(ZoneInfo("Asia/Tokyo"))
    times = f"{tokyo:%H}:00-{tokyo + timedelta(hours=2):%H}:00"
    rollout = hosts.roll_out(f'[window]\ntimes = ["{times}"]\ntime_zone = "host"', text=ONE_RING)
    hosts.run(rollout, 12)
    states = {client: found["State"] for client, found in hosts.members(rollout).items()}
    assert states == dict.fromkeys(there, "succeeded") | dict.fromkeys(here, "waiting")
    shown = hosts.ask("DescribeInstance", InstanceId=hosts.instance_of(there[0]))
    assert shown["TimeZone"] == "Asia/Tokyo"


def test_no_order_leaves_during_a_freeze(hosts: Fleet) -> None:
    """A calendar that is replaced is heeded at once: a freeze can be put while a rollout runs, and lifted."""
    hosts.grow(4)
    hosts.ask("PutCalendar", Name="audit", Ics=EMPTY)
    rollout = hosts.roll_out('[window]\ncalendars = ["audit"]')
    freeze(hosts, 100)
    hosts.run(rollout, 5)
    assert hosts.env.tasks() == 0
    assert "audit" in hosts.show(rollout)["WaitsFor"]
    hosts.ask("PutCalendar", Name="audit", Ics=EMPTY)
    assert hosts.run(rollout)["State"] == "completed"


def test_a_calendar_in_use_is_not_deleted(hosts: Fleet) -> None:
    """Until its rollout has ended."""
    hosts.grow(4)
    freeze(hosts)
    rollout = hosts.roll_out('[window]\ncalendars = ["audit"]')
    status, body = hosts.try_to("DeleteCalendar", Name="audit")
    assert (status, body["Code"]) == (409, "CalendarInUse")
    assert rollout in body["Message"]
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.ask("DeleteCalendar", Name="audit")
    assert hosts.try_to("DescribeCalendar", Name="audit")[1]["Code"] == "CalendarNotFound"
    assert hosts.ask("ListCalendars")["TotalCount"] == 0


def test_a_calendar_with_faults_leaves_the_one_before(hosts: Fleet) -> None:
    """Every fault is in the answer."""
    freeze(hosts)
    before = hosts.ask("DescribeCalendar", Name="audit")
    bad = EMPTY.replace("END:VC", "BEGIN:VEVENT\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:soon\nEND:VEVENT\nEND:VC")
    status, body = hosts.try_to("PutCalendar", Name="audit", Ics=bad)
    assert (status, body["Code"]) == (400, "CalendarNotAccepted")
    assert {(fault["Line"], fault["Key"]) for fault in body["Faults"]} == {(4, "DTSTART"), (6, "DTSTART")}
    assert hosts.ask("DescribeCalendar", Name="audit") | {"RequestId": ""} == before | {"RequestId": ""}


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('times = ["Mon-Thu 22-05"]', "window.times"),
        ('times = ["Mon-Thu 22:00-05:00", "Someday 10:00-11:00"]', "window.times"),
        ('times = ["10:00-10:00"]', "window.times"),
        ('times = ["FREQ=HOURLY 10:00-11:00"]', "window.times"),
        ('times = ["FREQ=WEEKLY;INTERVAL=2 10:00-11:00"]', "window.times"),
        ('time_zone = "Europe/Berlinn"', "window.time_zone"),
        ('time_zone = "../../etc/passwd"', "window.time_zone"),
        ('time_zone = "host"\ndefault_time_zone = "host"', "window.default_time_zone"),
        ('calendars = ["holidays"]', "window.calendars"),
        ('times = ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30 10:00-11:00"]', "window.times"),
        ('times = ["10:00-10:05"]', "window.times"),  # no order ends within it
    ],
)
def test_a_window_that_cannot_be_is_a_fault(hosts: Fleet, lines: str, key: str) -> None:
    """By preview and by apply; what the text alone shows has its line."""
    hosts.grow(4)
    policy = hosts.policy(f"[window]\n{lines}")
    status, body = hosts.try_to("CreateRollout", Policy=policy, Start="true")
    assert (status, body["Code"]) == (400, "PolicyNotAccepted"), lines
    (fault,) = body["Faults"]
    assert fault["Key"] == key
    wanted = next(at for at, line in enumerate(policy.splitlines(), 1) if line.startswith(key.removeprefix("window.")))
    assert fault["Line"] == wanted
    assert re.search(r"\w", fault["Wanted"])
