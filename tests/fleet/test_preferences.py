"""Preferences of clients."""

from datetime import datetime

import pytest
import sqlalchemy as sa

from backfleet import fleet
from backfleet.fleet import ClientStatus, Preferences
from backfleet.fleet._tables import preferences
from backfleet.ids import Draw
from backfleet.storage import Database


@pytest.fixture
def client_id(database: Database, hosts: list[fleet.Instance], now: datetime, draw: Draw) -> str:
    """Create a client and return its id."""
    with database.transaction() as tx:
        status = ClientStatus.ACTIVATED
        return fleet.ensure_client(tx, hosts[0], "rclone", "stable", status=status, now=now, draw=draw).id


def test_a_change_leaves_other_preferences_as_they_are(database: Database, client_id: str, now: datetime) -> None:
    """None changes nothing, 0 and False are values, and a client without preferences is left out."""
    with database.transaction() as tx:
        assert fleet.preferences_of(tx, [client_id]) == {}
        first = Preferences(proxy_host="proxy", most_cores=0, https=False)
        fleet.set_preferences(tx, client_id, first, sealed_password=None, now=now)
        changed = fleet.set_preferences(tx, client_id, Preferences(most_cores=2), sealed_password=None, now=now)
        assert changed == Preferences(proxy_host="proxy", most_cores=2, https=False)
        assert fleet.preferences_of(tx, [client_id, "c-none"]) == {client_id: changed}


@pytest.mark.parametrize(
    ("password", "stored"),
    [
        pytest.param(None, "sealed", id="left as it is"),
        pytest.param("", "", id="deleted"),
        pytest.param("new", "new", id="replaced"),
    ],
)
def test_the_password_is_kept_deleted_or_replaced(
    database: Database, client_id: str, now: datetime, password: str | None, stored: str
) -> None:
    """It is not among the preferences that are returned."""
    with database.transaction() as tx:
        fleet.set_preferences(tx, client_id, Preferences(proxy_user="me"), sealed_password="sealed", now=now)
        shown = fleet.set_preferences(tx, client_id, Preferences(), sealed_password=password, now=now)
        assert shown.as_dict() == {"proxy_user": "me"}
        assert tx.scalar(sa.select(preferences.c.sealed_password)) == stored


def test_preferences_are_deleted_with_their_client(database: Database, client_id: str, now: datetime) -> None:
    """Nothing is left in either table."""
    with database.transaction() as tx:
        fleet.set_preferences(tx, client_id, Preferences(proxy_user="me"), sealed_password=None, now=now)
        fleet.forget_client(tx, client_id)
        assert fleet.preferences_of(tx, [client_id]) == {}
        assert fleet.clients_for_update(tx, [client_id]) == {}
