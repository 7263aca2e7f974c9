"""Which commands are sent with one call."""

import itertools
import subprocess
from datetime import UTC, datetime

import pytest

from backfleet.carriers import Bootstrap
from backfleet.carriers.bootstrap import command_for, split_command
from backfleet.carriers.ecs.batching import batches_of, encoded_length, halves, refusal_of
from backfleet.carriers.ecs.model import LONGEST_CONTENT, MOST_AT_ONCE, Batch, EcsHost
from backfleet.commands import HandedInvocation
from backfleet_host.contract import Order, read_output

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOOTSTRAP = Bootstrap("server:8443", "PEM", "0" * 64, follows_agent=False)


def host(number: int, region: str = "cn-hangzhou") -> EcsHost:
    return EcsHost(f"i-{number}", "1", "cloud", region, f"i-{number}")


def order(number: int, version: str = "2.0", seconds: int = 60) -> HandedInvocation:
    content = command_for(
        Order(f"u-{number}", "upgrade", "courier", version, "linux-amd64", seconds), BOOTSTRAP, f"upgrades/u-{number}"
    )
    return HandedInvocation(f"t-{number}", content, seconds)


def batches(*waiting: tuple[EcsHost, HandedInvocation]) -> list[Batch]:
    numbers = itertools.count()
    return batches_of(waiting, token=lambda: f"token-{next(numbers)}", now=NOW)


def test_the_same_order_for_many_hosts_is_one_call() -> None:
    """Up to as many as the cloud takes, and within its limit of a command's length."""
    made = batches(*((host(number), order(number)) for number in range(MOST_AT_ONCE + 7)))
    assert sorted(len(batch.runs) for batch in made) == [7, MOST_AT_ONCE]
    assert len({batch.token for batch in made}) == 2
    for batch in made:
        assert batch.command.has_parameters
        assert encoded_length(batch.command.content) <= LONGEST_CONTENT


def test_a_host_finds_its_own_order_in_the_command_of_many() -> None:
    """Run as an agent runs it: the script is the single one of that host in all but its head."""
    (made,) = batches((host(1), order(1)), (host(2), order(2)))
    for number in (1, 2):
        content = made.command.content.replace("{{ACS::InstanceId}}", f"i-{number}")
        head, rest = content.split("esac\n", 1)
        parts = split_command(order(number).content)
        assert parts == (f"u-{number}", f"upgrades/u-{number}", rest)
        said = subprocess.run(
            ["sh", "-c", f'{head}esac\nprintf "%s\\n" "$@"'], capture_output=True, text=True, check=True
        )
        assert said.stdout.split() == [f"u-{number}", f"upgrades/u-{number}"]
    stranger = subprocess.run(["sh", "-c", made.command.content], capture_output=True, text=True, check=False)
    assert (stranger.returncode, "other instances" in stranger.stdout) == (1, True)


def test_a_host_without_python_reports_under_its_own_id() -> None:
    (made,) = batches((host(1), order(1)), (host(2), order(2)))
    content = made.command.content.replace("{{ACS::InstanceId}}", "i-2")
    done = subprocess.run(["/bin/sh"], input=content, capture_output=True, text=True, env={"PATH": ""}, check=False)
    report = read_output(done.stdout)[1]
    assert report is not None, done
    assert (report.order_id, report.code) == ("u-2", "UnsupportedPlatform")


@pytest.mark.parametrize(
    ("second", "place"),
    [
        pytest.param(order(2, version="3.0"), host(2), id="another version"),
        pytest.param(order(2, seconds=90), host(2), id="another time"),
        pytest.param(order(2), host(2, "cn-beijing"), id="another region"),
        pytest.param(HandedInvocation("t-2", "echo", 60), host(2), id="another command"),
        pytest.param(order(2), host(1), id="the same host"),
    ],
)
def test_what_is_not_alike_is_sent_on_its_own(second: HandedInvocation, place: EcsHost) -> None:
    made = batches((host(1), order(1)), (place, second))
    assert [len(batch.runs) for batch in made] == [1, 1]
    assert not any(batch.command.has_parameters for batch in made)


def test_a_callers_command_is_sent_as_it_is() -> None:
    """Also one that looks like a parameter of the cloud: only what we wrote has any."""
    one = HandedInvocation("t-1", "echo {{ACS::InstanceId}} $HOME", 3, working_directory="/srv", username="web")
    (made,) = batches(
        (host(1), one), (host(2), HandedInvocation("t-2", one.content, 3, "RunShellScript", "/srv", "web"))
    )
    command = made.command
    assert (command.content, command.has_parameters, len(made.runs)) == (one.content, False, 2)
    assert (command.timeout_seconds, command.working_directory, command.username) == (10, "/srv", "web")


def test_what_the_cloud_cannot_take_is_refused_with_the_reason() -> None:
    assert "24576 bytes" in refusal_of(HandedInvocation("t-1", "x" * 20_000, 60))
    assert "shell commands only" in refusal_of(HandedInvocation("t-1", "x", 60, kind="SendFile"))
    assert refusal_of(order(1)) == ""


def test_a_batch_that_was_refused_is_halved_under_new_tokens() -> None:
    (made,) = batches(*((host(number), order(number)) for number in range(5)))
    tokens = itertools.count(10)
    first, second = halves(made, token=lambda: f"token-{next(tokens)}", now=NOW)
    assert first.runs + second.runs == made.runs
    assert len({made.token, first.token, second.token}) == 3
    assert first.command.content == second.command.content == made.command.content
