"""A rollout of settings goes back: every client gets what was set for it before, and no other change is lost."""

from collections.abc import Callable
from typing import Any

import pytest

from backfleet import fleet
from backfleet_host.contract import Report
from rollouts.fleet import Fleet, succeeds
from rollouts.test_settings import SETTINGS, WANTED, orders, set_cores, settings_of
from upgrades.helpers import report_of

GATE = '[[ring]]\nname = "rest"\ngates = [{{ kind = "backups", first_run = "each" }}]'


def then(what: str) -> str:
    text = SETTINGS.replace('[[ring]]\nname = "rest"', GATE)
    return text.replace("[settings]", f'[failure]\nthen = "{what}"\n[settings]')


def test_a_rollout_that_is_rolled_back_sets_what_was_set_before(hosts: Fleet) -> None:
    """Of one client something, of another nothing: hosts and answers have it as it was."""
    clients = hosts.grow(4)
    set_cores(hosts, clients[0], 8)
    rollout = hosts.roll_out(text=SETTINGS)
    assert hosts.run(rollout)["State"] == "completed"
    given: dict[str, dict[str, Any]] = {}

    def notes(client: str) -> Any:
        def answer(item: Any) -> Report:
            given[client] = next(each.get("settings", {}) for each in orders(hosts) if each["order_id"] == item.id)
            return succeeds(item)

        return answer

    for client in clients:
        hosts.answers[hosts.instance_of(client)] = notes(client)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert found["State"] == "rolled_back"
    assert {each["State"] for each in hosts.members(rollout).values()} == {"rolled_back"}
    expected = {client: {"most_cores": 8} if client == clients[0] else {} for client in clients}
    assert {client: settings_of(hosts, client) for client in clients} == expected
    assert given == expected
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}


def test_what_somebody_set_since_stays(hosts: Fleet) -> None:
    """Only what is still as the rollout left it goes back."""
    clients = hosts.grow(3)
    set_cores(hosts, clients[0], 8)
    rollout = hosts.roll_out(text=SETTINGS)
    hosts.run(rollout)
    set_cores(hosts, clients[1], 4)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.run(rollout)
    assert [settings_of(hosts, client) for client in clients] == [{"most_cores": 8}, {"most_cores": 4}, {}]


def test_a_host_that_saved_them_and_never_said_so_gets_what_is_stored(hosts: Fleet) -> None:
    """Its order was lost: nothing was stored for its client, and that is as it was before."""
    clients = hosts.grow(3)
    for client in clients:
        set_cores(hosts, client, 8)
    hosts.answers[hosts.instance_of(clients[0])] = lambda item: report_of(item, "failed", code="DiskFull")
    rollout = hosts.roll_out('[failure]\nmax_failed = "100%"', text=SETTINGS)
    hosts.run(rollout)
    hosts.answers.clear()
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert [settings_of(hosts, client) for client in clients] == [{"most_cores": 8}] * 3


@pytest.mark.parametrize("what", ["roll-back-member", "roll-back-ring", "roll-back-rollout"])
def test_settings_after_which_a_backup_fails_go_back_by_themselves(sqlite_hosts: Fleet, what: str) -> None:
    """The member, its ring, or all of it, as the policy says; nobody else is touched."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    for client in clients:
        set_cores(hosts, client, 8)
    rollout = hosts.roll_out(text=then(what))
    for _ in range(4):
        hosts.step()
    canaries = [client for client, found in hosts.members(rollout).items() if found["Ring"] == "canary"]
    assert [settings_of(hosts, client) for client in canaries] == [WANTED] * 2
    hosts.back_up(canaries[0])
    hosts.back_up(canaries[1], "failed")
    hosts.run(rollout, 12)
    hosts.run(rollout, 4)
    back = [canaries[1]] if what == "roll-back-member" else canaries
    assert {client for client in clients if settings_of(hosts, client) == WANTED} == set(canaries) - set(back)
    assert {hosts.members(rollout)[client]["State"] for client in back} == {"rolled_back"}


@pytest.mark.parametrize(("what", "left"), [("hold", "failed"), ("roll-back-member", "rolled_back")])
def test_a_member_that_was_tried_again_goes_back_to_what_was_set_before_the_first_try(
    sqlite_hosts: Fleet, what: str, left: str
) -> None:
    """Its host saved the settings twice, and the second time they may have been those of the rollout already."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    for number, client in enumerate(clients):
        set_cores(hosts, client, 10 + number)
    rollout = hosts.roll_out(text=then(what))
    for _ in range(4):
        hosts.step()
    one, two = [client for client, found in hosts.members(rollout).items() if found["Ring"] == "canary"]
    hosts.back_up(one)
    hosts.back_up(two, "failed")
    hosts.run(rollout, 12)
    hosts.run(rollout, 4)
    assert (hosts.show(rollout)["State"], hosts.members(rollout)[two]["State"]) == ("halted", left)
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.ask("ResumeRollout", RolloutId=rollout)
    for _ in range(4):
        hosts.step()
    assert [hosts.members(rollout)[two]["State"], settings_of(hosts, two)] == ["verifying", WANTED]
    hosts.back_up(two)
    hosts.run(rollout, 12)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert [settings_of(hosts, client) for client in clients] == [{"most_cores": 10 + number} for number in range(4)]


def unset_cores(hosts: Fleet, client: str) -> None:
    """Have it as if nobody had set it, as a roll-back of settings does."""
    with hosts.helpers.transaction() as tx:
        fleet.set_preferences(
            tx, client, fleet.Preferences(), unset=["most_cores"], sealed_password=None, now=hosts.now
        )


@pytest.mark.parametrize(
    ("change", "left"),
    [(lambda hosts, client: set_cores(hosts, client, 5), {"most_cores": 5}), (unset_cores, {})],
    ids=["set", "unset"],
)
def test_what_somebody_set_between_two_tries_is_what_goes_back(
    sqlite_hosts: Fleet, change: Callable[[Fleet, str], None], left: dict[str, Any]
) -> None:
    """The value from before the first try is not what anybody wants any more; nor is any, where it was unset."""
    hosts = sqlite_hosts
    clients = hosts.grow(2)
    for client in clients:
        set_cores(hosts, client, 8)
    rollout = hosts.roll_out(text=then("hold").replace("count = 2", "count = 1"))
    for _ in range(4):
        hosts.step()
    one = next(client for client, found in hosts.members(rollout).items() if found["Ring"] == "canary")
    hosts.back_up(one, "failed")
    hosts.run(rollout, 12)
    assert hosts.members(rollout)[one]["State"] == "failed"
    change(hosts, one)
    assert settings_of(hosts, one).get("most_cores") == left.get("most_cores")
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.ask("ResumeRollout", RolloutId=rollout)
    for _ in range(4):
        hosts.step()
    assert settings_of(hosts, one) == WANTED
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert settings_of(hosts, one) == left


def test_another_rollout_in_between_does_not_hide_how_it_was(sqlite_hosts: Fleet) -> None:
    """It sets something else, and is taken back first; so is the older one then."""
    hosts = sqlite_hosts
    [client] = hosts.grow(1)
    set_cores(hosts, client, 8)
    text = SETTINGS.replace("count = 2", "count = 1").replace('[[ring]]\nname = "rest"\n', "")
    older = hosts.roll_out(text=text)
    assert hosts.run(older)["State"] == "completed"
    other = text.replace("most_cores = 2", "most_cores = 4").replace('name = "courier to 2.0"', 'name = "more cores"')
    newer = hosts.roll_out(text=other)
    assert hosts.run(newer)["State"] == "completed"
    assert settings_of(hosts, client)["most_cores"] == 4
    for rollout in (newer, older):
        hosts.ask("RollBackRollout", RolloutId=rollout)
        assert hosts.run(rollout)["State"] == "rolled_back"
    assert settings_of(hosts, client) == {"most_cores": 8}
