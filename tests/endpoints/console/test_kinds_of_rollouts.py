"""The page of a rollout that brings settings, or a client to hosts that have none, while it runs."""

import re

import pytest

from backfleet import upgrades
from backfleet_host.contract import Report
from endpoints.console.site import Browser
from endpoints.console.test_rolling_back import hosts, start
from rollouts.fleet import Fleet
from rollouts.test_installs import INSTALL, empty
from rollouts.test_settings import SETTINGS
from upgrades.helpers import report_of

__all__ = ["hosts"]


def no_space(item: upgrades.Item) -> Report:
    return report_of(item, "failed", code="InternalError", message="no space is left")


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        (SETTINGS, "courier to proxy_kind = CUSTOM, proxy_host = proxy.example, most_cores = 2 (settings)"),
        (INSTALL, "courier to 2.0 (install)"),
    ],
    ids=["settings", "install"],
)
def test_the_page_of_a_rollout_of_another_kind(admin: Browser, hosts: Fleet, text: str, goal: str) -> None:
    """One canary failed, the other is under way; what is pending is said in words."""
    empty(hosts, 4) if text is INSTALL else hosts.grow(4)
    path = start(admin, hosts.policy("[failure]\nmax_failed = 2", text=text))
    members = hosts.members(path.rpartition("/")[2])
    first = next(each["InstanceId"] for each in members.values() if each["Ring"] == "canary")
    hosts.silent = {each["InstanceId"] for each in members.values()} - {first}
    hosts.answers[first] = no_space
    for _ in range(2):
        hosts.step()
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", admin.get(path).text))
    for words in (goal, "2 members; 1 upgrading; 1 failed", "2 members; 2 pending", "1 failure of 2 that may happen"):
        assert words in page, page
    assert "InternalError, no space is left" in page
    assert goal.partition(" (")[0] in re.sub(r"<[^>]*>", "", admin.get("/rollouts").text)
