"""SSH servers that do not do what they should: a visit ends all the same, and so does what they were sent."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncssh
import pytest

from backfleet import commands
from backfleet.carriers.ssh import add_key, find_host, import_host, make_key, running, visiting
from backfleet.carriers.ssh.keys import line_of
from backfleet.carriers.ssh.model import Hop, SshHost
from backfleet.carriers.ssh.visiting import Visitor
from backfleet.commands import NewInvocation, Outcome, State
from backfleet.outbound import Destinations
from operations.environment import REGION, Environment

MOST_SECONDS = 30.0  # that a visit may last here
SHORT = 1.0
PIECE = bytes(1 << 16)
FACTS = b"Linux\nx86_64\nweb\nDebian\nmachine\n0\n1800000000\n"


class Server(asyncssh.SSHServer):
    """Lets everybody in. Its second session is one that it never opens, if it is told so."""

    def __init__(self, fault: str) -> None:
        self.fault, self.sessions = fault, 0

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Any:
        self.sessions += 1
        if self.fault == "no session" and self.sessions == 2:
            return asyncio.Event().wait()
        return asyncssh.SSHServerProcess(self.handle, None, 0, False)

    async def handle(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        wants_facts = "uname" in str(process.command) and self.sessions == 1
        if wants_facts and self.fault != "no facts":
            process.stdout.write(self.facts())
            process.exit(0)
            return
        if self.fault == "half":
            process.stdout.write_eof()
        while self.fault == "flood":
            process.stdout.write(PIECE)
            await process.stdout.drain()
        process.channel.process_packet = lambda *_: True  # type: ignore[method-assign]  # deaf: also to its end
        await asyncio.Event().wait()

    def facts(self) -> bytes:
        changed = {"long system": (b"Linux", b"L" * 200), "huge clock": (b"1800000000", b"9" * 200)}
        return FACTS.replace(*changed.get(self.fault, (b"", b"")))


async def visited(env: Environment, fault: str, *, seconds: int = 60) -> tuple[bool, SshHost, list[Outcome]]:
    """Visit a host with a command that waits. Return whether it was in order, what is known of it, and the outcomes."""
    database, account, draw = env.services.database, env.root.account_id, env.services.draw
    key = asyncssh.generate_private_key("ssh-ed25519")
    listening = await asyncssh.create_server(
        lambda: Server(fault), "127.0.0.1", 0, server_host_keys=[key], encoding=None
    )
    async with listening:
        with database.transaction() as tx:
            add_key(tx, make_key(account, "fleet", None, now=env.now, seal=lambda text: text))
            hop = Hop("127.0.0.1", listening.get_port(), "root", (line_of(key),))
            host, _ = import_host(
                tx, SshHost("", account, hop, "fleet", False, "/opt/x"), region=REGION, name="", now=env.now, draw=draw
            )
            asked = NewInvocation(account, host.instance_id, "true", seconds, "one")
            commands.send(tx, [asked], topic="tests", now=env.now, draw=draw)
        visitor = Visitor(
            database, lambda: datetime.now(UTC), Destinations.read("127.0.0.1/32", setting="ssh_allowed"),
            lambda sealed: sealed, timedelta(seconds=20), timedelta(seconds=20),
        )  # fmt: skip
        reached = await asyncio.wait_for(visitor.visit(host.instance_id), MOST_SECONDS)
    with database.reading() as tx:
        found = find_host(tx, host.instance_id)
        assert found is not None
        return reached, found, commands.outcomes(tx, "tests", limit=10)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEGIN_SECONDS", "END_SECONDS", "GRACE_SECONDS"):
        monkeypatch.setattr(running, name, SHORT)
    monkeypatch.setattr(visiting, "FACTS_SECONDS", 2 * SHORT)


@pytest.mark.parametrize(
    ("fault", "seconds", "state"),
    [
        pytest.param("no session", 60, State.LOST, id="it opens no session for a command"),
        pytest.param("half", 60, State.LOST, id="the output ends, and the session does not"),
        pytest.param("deaf", 1, State.TIMED_OUT, id="nothing ends, and it hears of no end"),
    ],
)
def test_a_command_ends_whatever_the_server_does(env: Environment, fault: str, seconds: int, state: State) -> None:
    """Its visit ends, too: a visit that does not takes the place of one to another host, of another account."""
    reached, _, (outcome,) = asyncio.run(visited(env, fault, seconds=seconds))
    assert reached
    assert outcome.state is state


def test_a_flood_takes_a_bounded_rate(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """One host takes a part of the server's time, and no more: others are visited meanwhile."""
    monkeypatch.setattr(running, "MOST_A_SECOND", 1 << 18)
    _, _, (outcome,) = asyncio.run(visited(env, "flood", seconds=2))
    assert outcome.state is State.TIMED_OUT
    assert 0 < len(outcome.output) + outcome.dropped < 6 * running.MOST_A_SECOND


@pytest.mark.parametrize("fault", ["no facts", "long system", "huge clock"])
def test_a_host_that_does_not_say_what_it_is_is_unfit(env: Environment, fault: str) -> None:
    """What it says is stored only where it can be true. The command is refused, and not in doubt."""
    reached, host, (outcome,) = asyncio.run(visited(env, fault))
    assert (reached, host.problem_code) == (False, "SshHostUnfit")
    assert outcome.error_code == "SshHostUnfit"
