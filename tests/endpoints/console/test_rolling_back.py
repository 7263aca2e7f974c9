"""The button that takes a rollout back: where it is, what it does, and where it is not."""

import re
from collections.abc import Callable

import pytest

from endpoints.console.site import Browser
from operations.environment import Environment
from rollouts.fleet import POLICY, Fleet, rolls_back
from rollouts.test_installs import ONE_RING, empty, fails
from rollouts.test_settings import SETTINGS, WANTED, set_cores, settings_of
from upgrades.helpers import Helpers, report_of

BUTTON = '<button name="action" value="roll-back"'


@pytest.fixture
def hosts(env: Environment) -> Fleet:
    """Hosts on an older version than the newest."""
    env.release("1.0")
    env.release("2.0")
    return Fleet(Helpers(env))


def start(admin: Browser, policy: str) -> str:
    """Start a rollout by the form; return its page."""
    admin.get("/rollouts/new")
    made = admin.post("/rollouts/new", {"policy": policy, "action": "start"})
    assert made.status == 303, made.text
    return made.location.removeprefix("/console")


def test_settings_are_taken_back_by_the_button(admin: Browser, hosts: Fleet) -> None:
    """Each client has what it had; the page says so, and the button is gone."""
    clients = hosts.grow(3)
    set_cores(hosts, clients[0], 8)
    path = start(admin, hosts.policy(text=SETTINGS))
    rollout = path.rpartition("/")[2]
    assert hosts.run(rollout)["State"] == "completed"
    assert [settings_of(hosts, client) for client in clients] == [WANTED] * 3
    page = admin.get(path).text
    assert f'{BUTTON} class="danger" data-ask="Roll back this rollout?">Roll back</button>' in page
    assert admin.post(path, {"action": "roll-back"}).status == 303
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert [settings_of(hosts, client) for client in clients] == [{"most_cores": 8}, {}, {}]
    page = admin.get(path).text
    assert ("rolled back" in page, BUTTON in page) == (True, False)


def test_whoever_may_only_look_takes_nothing_back(
    browser_of: Callable[..., Browser], admin: Browser, hosts: Fleet
) -> None:
    """The server decides, whatever a page shows."""
    hosts.grow(3)
    path = start(admin, hosts.policy(text=SETTINGS))
    assert hosts.run(path.rpartition("/")[2])["State"] == "completed"
    reader = browser_of("reader", "ReadOnlyAccess")
    reader.get(path)
    assert reader.post(path, {"action": "roll-back"}).status == 403
    assert hosts.show(path.rpartition("/")[2])["State"] == "completed"


@pytest.mark.parametrize("kind", ["precheck", "stage"])
def test_a_rollout_that_changed_nothing_has_no_such_button(admin: Browser, hosts: Fleet, kind: str) -> None:
    """There is nothing to take back."""
    hosts.grow(3)
    path = start(admin, hosts.policy(text=POLICY.replace('version = "2.0"', f'version = "2.0"\nkind = "{kind}"')))
    assert hosts.run(path.rpartition("/")[2])["State"] == "completed"
    assert BUTTON not in admin.get(path).text


def test_an_install_that_halted_can_be_ended(admin: Browser, hosts: Fleet) -> None:
    """It cannot go back, and nobody has to resume it."""
    instances = empty(hosts, 3)
    hosts.answers[instances[0]] = fails
    path = start(admin, hosts.policy(text=ONE_RING))
    rollout = path.rpartition("/")[2]
    assert hosts.run(rollout)["State"] == "halted"
    page = admin.get(path).text
    assert (BUTTON in page, 'name="action" value="cancel"' in page) == (False, True)
    assert admin.post(path, {"action": "cancel"}).status == 303
    assert hosts.show(rollout)["State"] == "cancelled"


def test_a_rollout_of_which_one_ring_went_back_can_be_taken_back_whole(admin: Browser, hosts: Fleet) -> None:
    """The button is there until nobody has the version any more. States are words that people use."""
    clients = hosts.grow(4)
    path = start(admin, hosts.policy())
    rollout = path.rpartition("/")[2]
    there = next(client for client in clients if hosts.members(rollout)[client]["Ring"] == "rest")
    hosts.answers[hosts.instance_of(there)] = lambda item: report_of(item, code="AlreadyCurrent")
    assert hosts.run(rollout)["State"] == "completed"
    page = admin.get(path).text
    assert ("1 already there" in page, "alreadythere" in page, "already_there" in page) == (True, False, False)
    hosts.ask("RollBackRollout", RolloutId=rollout, Ring="canary")
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert BUTTON in admin.get(path).text
    assert admin.post(path, {"action": "roll-back"}).status == 303
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert BUTTON not in admin.get(path).text


def test_the_rings_of_a_rollout_that_was_cancelled_do_not_run(admin: Browser, hosts: Fleet) -> None:
    """Nor is one of them to come."""
    hosts.grow(3)
    path = start(admin, hosts.policy())
    assert admin.post(path, {"action": "cancel"}).status == 303
    page = admin.get(path).text
    assert (page.count(">not begun</span>"), ">pending</span>" in page) == (2, False)


def buttons(admin: Browser, path: str) -> list[str]:
    """Return the buttons of a rollout as a whole."""
    form = admin.get(path).text.partition('<form class="row"')[2].partition("</form>")[0]
    return re.findall(r'name="action" value="([a-z-]+)"', form)


def test_the_buttons_are_those_that_would_do_something(admin: Browser, hosts: Fleet) -> None:
    """Of a rollout that waits for a manual gate, that was paused with a failure, and that halted by one."""
    hosts.grow(4)
    gate = 'name = "rest"\ngates = [{ kind = "manual" }]'
    path = start(admin, hosts.policy().replace('name = "rest"', gate))
    rollout = path.rpartition("/")[2]
    assert buttons(admin, path) == ["pause", "cancel"]
    hosts.run(rollout, 5)
    assert buttons(admin, path) == ["resume", "pause", "roll-back", "cancel"]
    for member in hosts.members(rollout).values():
        hosts.answers[member["InstanceId"]] = rolls_back
    assert admin.post(path, {"action": "resume"}).status == 303
    assert hosts.run(rollout)["State"] == "halted"
    assert buttons(admin, path) == ["resume", "retry", "roll-back", "cancel"]
    assert admin.post(path, {"action": "retry"}).status == 303
    assert buttons(admin, path) == ["resume", "roll-back", "cancel"]


def test_a_rollout_that_was_paused_with_a_spent_budget_is_tried_again_and_resumed(admin: Browser, hosts: Fleet) -> None:
    """The refusal of the resume names the retry, and there is a button for it."""
    hosts.answers = {hosts.instance_of(client): rolls_back for client in hosts.grow(4)}
    path = start(admin, hosts.policy())
    hosts.step()
    assert admin.post(path, {"action": "pause"}).status in (303, 409)
    hosts.step()
    assert "retry" in buttons(admin, path)
