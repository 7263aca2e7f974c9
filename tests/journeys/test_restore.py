"""A server is lost, and its fleet goes on with a backup: real commands, a real server, real hosts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from journeys.installation import LONG, Installation, wait_for

WAIT = LONG  # seconds for agents that connect again
PASSPHRASE = "correct horse battery staple"


def run(*words: object, data: Path, url: str = "") -> str:
    """Run a command as an operator does, with the passphrase in a descriptor."""
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "backfleet.cli", *map(str, words), *(["--passphrase-fd", str(read)])],
            check=False, capture_output=True, text=True, timeout=LONG, pass_fds=(read,),
            env=os.environ | {"BACKFLEET_DATA": str(data), "BACKFLEET_DATABASE_URL": url},
        )  # fmt: skip
    finally:
        os.close(read)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def empty_database(url: str, name: str) -> str:
    """Make an empty PostgreSQL database; return its URL."""
    server = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    server.dispose()
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A server on SQLite with one host. Its copy is restored into PostgreSQL; `tests/copies` has the other ways."""
    made = Installation(tmp_path)
    with ExitStack() as ends:
        ends.callback(made.close)
        made.start()
        made.enrol(1)
        made.install("1.0")
        yield made


def moved(server: Installation, action: str, **parameters: object) -> list[str]:
    """Order something of every host; return the codes of their outcomes."""
    ids = [host.instance_id for host in server.hosts]
    found = server.finished(server.call(action, InstanceIds=ids, **parameters)["TaskId"])
    return [item["errorCode"] for item in found["Result"]]


def test_a_fleet_goes_on_after_its_server_was_restored(
    installation: Installation, postgresql_url: str, tmp_path: Path
) -> None:
    """Hosts have seen newer metadata, a host is unknown, and an account's key is in the copy: nobody is stranded."""
    server, copy = installation, tmp_path / "copy.age"
    other = server.call("CreateAccount", "backfleet", AccountName="shop")
    server.add_release("2.0")
    server.hosts[0].stop()
    task = server.call("UpgradeBackupClients", InstanceIds=[server.hosts[0].instance_id])["TaskId"]
    run("backup", copy, data=server.data)
    assert copy.stat().st_mode & 0o777 == 0o600

    # After the backup: its task ends well, and there is another host.
    server.hosts[0].start()
    assert [item["errorCode"] for item in server.finished(task)["Result"]] == [""]
    server.enrol(1)
    late, lost = server.hosts[-1], utc_now()  # a moment that the copy does not know
    assert moved(server, "InstallBackupClients")[-1] == ""
    server.kill()
    shutil.rmtree(server.data)
    server.database_url = empty_database(postgresql_url, f"restored_{os.getpid()}")
    assert "as of" in run("restore", copy, data=server.data, url=server.database_url)
    server.start()

    # What was signed meanwhile is refused: its nonce may be spent, its key revoked. What is signed now is not.
    with pytest.raises(CallFailed) as refused:
        Client(connect(ConnectionFlags(data=server.data), {}), lambda: lost).call("backfleet", "DescribeServer")
    assert refused.value.answer["Code"] == "InvalidTimeStamp.Expired"
    doctor = subprocess.run(
        [sys.executable, "-m", "backfleet.cli", "doctor", "--data", server.data], capture_output=True, check=False
    )
    assert (doctor.returncode, b"BAD  Hold: HELD since" in doctor.stdout) == (1, True), doctor.stdout

    # The task that was under way in the copy ended there, and it is said why.
    shown = cli(server, "task", "show", task)
    assert ("expired" in shown.lower(), "the server was restored from a copy" in " ".join(shown.split())) == (
        True,
        True,
    )
    assert [item["errorCode"] for item in server.task(task)["Result"]] == ["TaskExpired"]

    # Held: the administrator looks, nobody moves anything, and agents come back.
    assert server.call("DescribeServer", "backfleet")["Held"] is True
    for client, action in ((server.client(), "UpgradeBackupClients"), (of_account(server, other), "DescribeServer")):
        product = "hbr" if action.startswith("Upgrade") else "backfleet"
        with pytest.raises(CallFailed) as refused:
            client.call(product, action, InstanceIds=[server.hosts[0].instance_id])
        assert refused.value.answer["Code"] == "ServerHeld"
    wait_for(lambda: connected(server) == 2, WAIT)
    assert server.call("DescribeServer", "backfleet")["AdoptedInstances"] == 1
    wanted = [{"Key": "EventName", "Value": "AdoptInstance"}]
    assert late.instance_id in json.dumps(server.call("LookupEvents", "backfleet", **flat("LookupAttribute", wanted)))
    wait_for(lambda: versions(server) >= {"2.0"}, WAIT)  # hosts were asked what they have

    assert server.call("ReleaseServerHold", "backfleet")["Released"] is True
    assert server.call("ReleaseServerHold", "backfleet")["Released"] is False
    assert of_account(server, other).call("backfleet", "DescribeServer")["Held"] is False
    server.add_release("3.0")
    assert moved(server, "InstallBackupClients") == ["", ""]
    assert {host.runs() for host in server.hosts} == {"courier 3.0"}
    assert "RolledBackMetadata" not in server.log()


def cli(server: Installation, *words: str) -> str:
    """Run a command of the command line as the administrator."""
    done = subprocess.run(
        [sys.executable, "-m", "backfleet.cli", *words, "--data", server.data],
        capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    return done.stdout


def flat(name: str, members: list[dict[str, str]]) -> dict[str, str]:
    return {f"{name}.{at}.{key}": value for at, each in enumerate(members, 1) for key, value in each.items()}


def connected(server: Installation) -> int:
    return int(server.call("DescribeServer", "backfleet")["ConnectedInstances"])


def versions(server: Installation) -> set[str]:
    found = server.call("DescribeBackupClients", ClientType="ECS_CLIENT")
    return {client["ClientVersion"] for client in found["Clients"]}


def of_account(server: Installation, key: dict[str, str]) -> Client:
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": key["AccessKeyId"], "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key["AccessKeySecret"]
    }  # fmt: skip
    return Client(connect(ConnectionFlags(data=server.data), environment), utc_now)
