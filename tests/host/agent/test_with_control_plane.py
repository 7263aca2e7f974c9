"""The agent with the real endpoint and tables of the control plane: enrolment, kick, order, outcome."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from backfleet import commands, fleet
from backfleet.certificates import prepare_certificates
from backfleet.clock import utc_now
from backfleet.commands import NewInvocation, Outcome, State
from backfleet.endpoints import agents
from backfleet.ids import draw
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet_host.agent.protocol.address import read_address
from backfleet_host.agent.setup.enrolment import CannotEnrol, EnrolmentOptions, enrol
from backfleet_host.contract import Order, read_output
from backfleet_host.layout import Places
from databases import sqlite_with_tables
from host.agent.conftest import Host, acting_program, host_of, until
from host.agent.gateway import ROOT_METADATA
from listening import end_of

ACCOUNT, REGION, TOPIC = "1000000000000001", "cn-hangzhou", "test"


class ControlPlane:
    """The agents endpoint over real tables, in a thread, with its authority."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "data"
        self.pubsub = InProcessPubSub()
        self.database: Database = sqlite_with_tables(folder / "backfleet.db", self.pubsub.publish)
        self._certificates = prepare_certificates(folder / "data", ["127.0.0.1"], now=datetime.now(UTC))
        self.ca = self._certificates.authority
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "ControlPlane":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(end_of(self._runner), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.database.close()

    async def _start(self) -> None:
        async def root(_: web.Request) -> web.Response:
            return web.Response(body=ROOT_METADATA)

        app = web.Application()
        app.router.add_get("/downloads/metadata/1.root.json", root)
        agents.add_to(app, self.database, Settings(data=self._folder), self.pubsub, clock=utc_now, draw=draw)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificates.context()).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"

    def activation(self) -> tuple[str, str]:
        with self.database.transaction() as tx:
            made, code = fleet.create_activation(
                tx,
                account_id=ACCOUNT,
                region=REGION,
                count=1,
                hours=1,
                name="",
                description="",
                address_range="",
                now=utc_now(),
                draw=draw,
            )
        return made.id, code

    def send(self, instance_id: str, reference: str, content: str) -> None:
        with self.database.transaction() as tx:
            asked = [NewInvocation(ACCOUNT, instance_id, content, 60, reference)]
            commands.send(tx, asked, topic=TOPIC, now=utc_now(), draw=draw)

    def outcome(self, reference: str) -> Outcome:
        """Wait for the final outcome of what was sent under this reference."""
        found: list[Outcome] = []

        def is_final() -> bool:
            with self.database.transaction() as tx:
                news = commands.outcomes(tx, TOPIC, limit=10)
            found[:] = [one for one in news if one.reference == reference and one.is_final]
            return bool(found)

        assert until(is_final, 20)
        return found[0]


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path) as control_plane:
        yield control_plane


@pytest.fixture
def enrolled(control_plane: ControlPlane, tmp_path: Path, source: Path) -> Iterator[tuple[Host, str]]:
    """A host enrolled with the control plane, its agent not yet started, and its instance."""
    places = Places(tmp_path / "root")
    activation_id, code = control_plane.activation()
    options = EnrolmentOptions(read_address(control_plane.address), control_plane.ca, activation_id, code, "host-1")
    identity = enrol(places, options, mode="restricted", now=datetime.now(UTC), progress=lambda text: None)
    with host_of(places, acting_program(source, tmp_path / "program")) as host:
        yield host, identity.instance_id


def test_an_order_goes_from_the_sender_to_the_host_and_its_outcome_back(
    control_plane: ControlPlane, enrolled: tuple[Host, str]
) -> None:
    """By way of a kick; then the instance has been heard."""
    host, instance_id = enrolled
    host.start()
    assert host.ready()["instance_id"] == instance_id
    control_plane.send(instance_id, "u-1", Order("u-1", "upgrade", "rclone", "1.0", "linux-amd64").as_command())
    outcome = control_plane.outcome("u-1")
    assert (outcome.state, outcome.exit_code) == (State.FINISHED, 0)
    stage, report = read_output(outcome.output.decode())
    assert stage == "switch"
    assert report is not None
    assert report.current_version == "1.0"
    with control_plane.database.transaction() as tx:
        known = fleet.instance(tx, ACCOUNT, instance_id)
    assert known is not None
    assert (known.name, known.agent_mode, known.agent_version.split("-")[0]) == ("host-1", "restricted", "backfleet")
    assert until(lambda: _is_heard(control_plane, instance_id))


def _is_heard(control_plane: ControlPlane, instance_id: str) -> bool:
    with control_plane.database.transaction() as tx:
        known = fleet.instance(tx, ACCOUNT, instance_id)
    return known is not None and known.last_heard_at is not None


def test_a_command_sent_while_the_agent_is_down_is_fetched_at_start(
    control_plane: ControlPlane, enrolled: tuple[Host, str]
) -> None:
    host, instance_id = enrolled
    control_plane.send(instance_id, "u-1", Order("u-1", "upgrade", "rclone", "1.0", "linux-amd64").as_command())
    host.start()
    assert control_plane.outcome("u-1").state is State.FINISHED


def test_the_refusal_of_a_shell_command_reaches_the_sender(
    control_plane: ControlPlane, enrolled: tuple[Host, str]
) -> None:
    """With its reason."""
    host, instance_id = enrolled
    host.start()
    host.ready()
    control_plane.send(instance_id, "u-1", "echo hello")
    outcome = control_plane.outcome("u-1")
    assert (outcome.state, outcome.error_code, outcome.error_text) == (State.REFUSED, "TypeInvalid", "OrdersOnly")


def test_a_refused_enrolment_says_why_and_what_to_do(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A wrong code; nothing is left behind."""
    activation_id, _ = control_plane.activation()
    options = EnrolmentOptions(read_address(control_plane.address), control_plane.ca, activation_id, "wrong")
    with pytest.raises(CannotEnrol, match=r"the server refuses this enrolment: .*backfleet activation create"):
        enrol(Places(tmp_path / "other"), options, mode="restricted", now=datetime.now(UTC), progress=lambda text: None)
    assert not (tmp_path / "other").exists()
