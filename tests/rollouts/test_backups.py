"""A rollout whose members are judged by their real backups, as the hosts report them."""

from typing import Any

from backfleet import backups
from rollouts.fleet import POLICY, Fleet

BACKUPS = 'name = "rest"\ngates = [{{ kind = "backups", first_run = "each", failures_above_baseline = 0 }}]'
JUDGED = POLICY.replace('name = "rest"', BACKUPS)


def of_ring(hosts: Fleet, rollout: str, ring: str) -> list[str]:
    return [client for client, found in hosts.members(rollout).items() if found["Ring"] == ring]


def states(hosts: Fleet, rollout: str, clients: list[str]) -> list[Any]:
    members = hosts.members(rollout)
    return [members[client]["State"] for client in clients]


def test_f20_a_release_healthy_by_its_command_whose_backups_fail_halts_on_the_canaries(hosts: Fleet) -> None:
    """Every host reports success; the first real backup of a canary fails. Nobody else is reached."""
    hosts.grow(8)
    rollout = hosts.roll_out(text=JUDGED)
    hosts.run(rollout, 4)
    canaries = of_ring(hosts, rollout, "canary")
    assert states(hosts, rollout, canaries) == ["verifying", "verifying"]
    hosts.back_up(canaries[0], "failed")
    found = hosts.run(rollout)
    assert (found["State"], found["Rings"][1]["Pending"]) == ("halted", 6)
    failed = hosts.members(rollout)[canaries[0]]
    assert (failed["State"], failed["FirstRun"]) == ("failed", "failed")
    assert "its first backup under the new version failed" in failed["Reason"]
    assert {hosts.helpers.client(client).version for client in of_ring(hosts, rollout, "rest")} == {"1.0"}


def test_f20_a_first_backup_that_fails_is_decided_on_at_once(hosts: Fleet) -> None:
    """The worker is notified, and does not wait until the rollout's next look is due. A good one waits for that."""
    hosts.grow(4)
    rollout = hosts.roll_out(text=JUDGED)
    hosts.run(rollout, 4)
    one, two = of_ring(hosts, rollout, "canary")
    hosts.back_up(one)
    assert backups.TOPIC not in hosts.helpers.published
    hosts.back_up(two, "failed")
    assert hosts.helpers.published.count(backups.TOPIC) == 1
    hosts.decide()
    assert hosts.show(rollout)["State"] == "halted"


def test_f20_it_is_taken_back_where_the_policy_says_so(hosts: Fleet) -> None:
    """Every canary gets an order to go to the version that it had."""
    clients = hosts.grow(6)
    rollout = hosts.roll_out('[failure]\nthen = "roll-back-rollout"', text=JUDGED)
    hosts.run(rollout, 4)
    for canary in of_ring(hosts, rollout, "canary"):
        hosts.back_up(canary, "failed")
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}


def test_f21_members_wait_for_their_first_backup_and_go_on_when_it_succeeds(hosts: Fleet) -> None:
    """Those of the old version, before the order, and of the others say nothing."""
    clients = hosts.grow(6)
    for client in clients:
        hosts.back_up(client)
    rollout = hosts.roll_out(text=JUDGED)
    hosts.run(rollout, 4)
    canaries = of_ring(hosts, rollout, "canary")
    hosts.back_up(canaries[0], version="1.0")
    hosts.back_up(canaries[0], ago=86400)
    hosts.run(rollout, 4)
    assert states(hosts, rollout, canaries) == ["verifying", "verifying"]
    for canary in canaries:
        hosts.back_up(canary)
    hosts.run(rollout, 6)
    assert states(hosts, rollout, canaries) == ["succeeded", "succeeded"]
    assert hosts.run(rollout)["State"] == "completed"


def test_f21_failures_beyond_the_baseline_keep_the_next_ring_closed(hosts: Fleet) -> None:
    """The first backups succeeded, a later one fails. What failed as often before is no news."""
    text = POLICY.replace('name = "rest"', BACKUPS.replace("above_baseline = 0", "above_baseline = 1"))
    clients = hosts.grow(6)
    for client in clients:
        hosts.back_up(client)
    rollout = hosts.roll_out(text=text)
    hosts.run(rollout, 4)
    canaries = of_ring(hosts, rollout, "canary")
    for _ in range(2):
        hosts.back_up(canaries[0])
        hosts.at += 5
        hosts.back_up(canaries[0], "failed")
    hosts.back_up(canaries[1])
    found = hosts.run(rollout, 6)
    assert (found["State"], found["Rings"][1]["Pending"]) == ("running", 4)
    assert "2 more failed than before the rollout, 1 are allowed" in found["WaitsFor"]


def test_f21_what_failed_as_often_before_holds_nothing_up(hosts: Fleet) -> None:
    """Half of the backups failed before the rollout, too."""
    clients = hosts.grow(6)
    for client in clients:
        hosts.back_up(client)
        hosts.back_up(client, "failed")
    rollout = hosts.roll_out(text=JUDGED)
    hosts.run(rollout, 4)
    for canary in of_ring(hosts, rollout, "canary"):
        hosts.back_up(canary, ago=3)
        hosts.back_up(canary, "failed")
    hosts.run(rollout, 6)
    assert hosts.show(rollout)["Rings"][1]["Pending"] == 0


def test_a_result_that_nobody_knows_is_not_taken_for_a_success(hosts: Fleet) -> None:
    """The member waits, and after its time fails; a later backup that is known ends the wait."""
    hosts.grow(4)
    rollout = hosts.roll_out(text=JUDGED)
    hosts.run(rollout, 4)
    one, two = of_ring(hosts, rollout, "canary")
    hosts.back_up(one, "unknown")
    hosts.back_up(two, "unknown")
    hosts.run(rollout, 4)
    assert states(hosts, rollout, [one, two]) == ["verifying", "verifying"]
    hosts.back_up(one)
    hosts.pass_time(49 * 3600)
    found = hosts.run(rollout, 4)
    assert states(hosts, rollout, [one, two]) == ["succeeded", "failed"]
    assert "its result is not known" in hosts.members(rollout)[two]["Reason"]
    assert found["State"] == "halted"


def test_f21_a_jump_of_failures_halts_a_ring_that_already_runs(hosts: Fleet) -> None:
    """Where the check watches: members of the first ring had good first backups, and bad ones later."""
    hosts.grow(6)
    text = JUDGED.replace("above_baseline = 0 }", "above_baseline = 0, watch = true }")
    rollout = hosts.roll_out(text=text)
    hosts.run(rollout, 4)
    canaries, rest = of_ring(hosts, rollout, "canary"), of_ring(hosts, rollout, "rest")
    hosts.silent |= {hosts.instance_of(client) for client in rest}
    for canary in canaries:
        hosts.back_up(canary)
    assert hosts.run(rollout, 4)["State"] == "running"
    hosts.back_up(canaries[0], "failed")
    found = hosts.run(rollout, 4)
    assert found["State"] == "halted"
    assert "1 more failed than before the rollout" in found["Reason"]


def test_f21_a_check_that_watches_the_canaries_waits_for_their_first_results(hosts: Fleet) -> None:
    """No result yet halts nothing; the first failure does."""
    hosts.grow(6)
    watch = 'gates = [{{ kind = "backups", failures_above_baseline = 0, watch = true }}]'
    text = POLICY.replace('name = "canary"', f'name = "canary"\n{watch}') + "\n[verify]\nfirst_run_hours = 48\n"
    rollout = hosts.roll_out(text=text)
    assert hosts.run(rollout, 4)["State"] == "running"
    hosts.back_up(of_ring(hosts, rollout, "canary")[0], "failed")
    assert hosts.run(rollout, 4)["State"] == "halted"


def halted_by_backups(hosts: Fleet) -> tuple[str, list[str]]:
    """Return a rollout that a failed first backup halted, and its canaries: all of them failed."""
    hosts.grow(6)
    rollout = hosts.roll_out(text=JUDGED)
    hosts.run(rollout, 4)
    canaries = of_ring(hosts, rollout, "canary")
    for canary in canaries:
        hosts.back_up(canary, "failed")
    assert hosts.run(rollout)["State"] == "halted"
    return rollout, canaries


def test_members_that_are_tried_again_and_rolled_back_lose_the_version(hosts: Fleet) -> None:
    """A retry forgets nobody who has the new version, also before anybody resumes."""
    rollout, canaries = halted_by_backups(hosts)
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout)["Retried"] == 2
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert states(hosts, rollout, canaries) == ["rolled_back", "rolled_back"]
    assert {hosts.helpers.client(client).version for client in canaries} == {"1.0"}


def test_a_member_whose_backup_failed_waits_for_another_one_when_it_is_tried_again(hosts: Fleet) -> None:
    """It has the version: no order leaves, and only a backup that begins after the retry counts."""
    rollout, canaries = halted_by_backups(hosts)
    hosts.silent = {hosts.instance_of(canary) for canary in canaries}  # they would never end an order
    hosts.ask("RetryRolloutMembers", RolloutId=rollout)
    hosts.ask("ResumeRollout", RolloutId=rollout)
    hosts.run(rollout, 4)
    assert states(hosts, rollout, canaries) == ["verifying", "verifying"]
    for canary in canaries:
        hosts.back_up(canary)
    assert hosts.run(rollout, 6)["FailuresLeft"] == 0
    assert states(hosts, rollout, canaries) == ["succeeded", "succeeded"]


def test_a_retry_names_whom_the_rollout_does_not_have_and_begins_nothing_while_it_goes_back(hosts: Fleet) -> None:
    """A wrong id is no success, and a member that goes back is not sent forward."""
    rollout, canaries = halted_by_backups(hosts)
    status, body = hosts.try_to("RetryRolloutMembers", RolloutId=rollout, ClientIds=[canaries[0], "c-nobody"])
    assert (status, body["Code"]) == (404, "RolloutNotFound")
    assert "'c-nobody'" in body["Message"]
    assert states(hosts, rollout, canaries) == ["failed", "failed"]
    hosts.ask("RollBackRollout", RolloutId=rollout)
    status, body = hosts.try_to("RetryRolloutMembers", RolloutId=rollout)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert "rolling_back" in body["Message"]
