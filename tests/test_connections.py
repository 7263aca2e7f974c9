"""Which connections a server lets in, and which it closes, when there are too many. Pure but for real sockets."""

import logging
import socket
from collections.abc import Iterator

import pytest

from backfleet.connections import LOGGED_EVERY, Connection, Connections, Limits, limits_of


class Peers:
    """Connections from addresses, with what was ended."""

    def __init__(self, limits: Limits) -> None:
        self.now = 0.0
        self.known = Connections(limits, lambda address: address == "balancer", lambda: self.now)
        self.ended: list[str] = []
        self.busy: set[str] = set()
        self.sockets: dict[str, Connection] = {}

    def open(self, name: str, address: str = "") -> bool:
        connection = self.sockets[name] = Connection(socket.AF_INET, socket.SOCK_STREAM)
        return self.known.add(connection, address or name, lambda: name in self.busy, lambda: self.ended.append(name))


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers(Limits(most=4, most_per_address=2))
    yield made
    for connection in made.sockets.values():
        connection.close()
    assert len(made.known) == 0


def test_a_connection_above_the_limit_takes_the_place_of_the_oldest_idle_one(peers: Peers) -> None:
    assert all(peers.open(name) for name in "abcd")
    peers.busy = {"a"}
    assert peers.open("e")
    assert peers.ended == ["b"]
    assert len(peers.known) == 4


def test_a_request_that_waits_to_be_read_keeps_its_connection(peers: Peers) -> None:
    """Until then nobody knows that the connection is in use; afterwards `is_busy` says so."""
    caller, accepted = socket.socketpair()
    with caller:
        peers.sockets["a"] = Connection(accepted.family, accepted.type, fileno=accepted.detach())
        assert peers.known.add(peers.sockets["a"], "a", lambda: False, lambda: peers.ended.append("a"))
        caller.send(b"G")
        assert all(peers.open(name) for name in "bcde")
        assert peers.ended == ["b"]
        assert peers.sockets["a"].recv(1) == b"G"
        assert all(peers.open(name) for name in "fghi")
        assert "a" in peers.ended


def test_a_connection_is_refused_where_all_others_are_in_use(peers: Peers) -> None:
    assert all(peers.open(name) for name in "abcd")
    peers.busy = set("abcd")
    assert not peers.open("e")
    assert peers.ended == []
    peers.sockets["c"].close()
    assert peers.open("f")


def test_one_address_does_not_get_all(peers: Peers) -> None:
    assert peers.open("a", "10.0.0.1")
    assert peers.open("b", "10.0.0.1")
    peers.busy = {"a", "b"}
    assert not peers.open("c", "10.0.0.1")
    assert peers.open("d", "10.0.0.2")
    peers.busy = {"a"}
    assert peers.open("e", "10.0.0.1")
    assert peers.ended == ["b"]


def test_a_balancer_may_have_all_until_it_says_who_is_behind_it(peers: Peers) -> None:
    assert all(peers.open(name, "balancer") for name in "abcd")
    peers.busy = set("abcd")
    assert peers.known.rename(peers.sockets["a"], "10.0.0.1")
    assert peers.known.rename(peers.sockets["b"], "10.0.0.1")
    assert not peers.known.rename(peers.sockets["c"], "10.0.0.1")
    assert peers.known.rename(peers.sockets["c"], "10.0.0.2")


def test_a_flood_writes_one_line_a_minute(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    assert all(peers.open(name) for name in "abcd")
    peers.busy = set("abcd")
    with caplog.at_level(logging.WARNING, "backfleet.connections"):
        for number in range(1000):
            assert not peers.open(f"more {number}")
        assert len(caplog.messages) == 1
        assert "there are 4 in all" in caplog.messages[0]
        peers.now += LOGGED_EVERY
        assert not peers.open("last")
    assert caplog.messages[1:] == [caplog.messages[0].replace("(1 times", "(1000 times")]


@pytest.mark.parametrize(
    ("descriptors", "most", "of_one", "expected"),
    [
        (1024, 0, 0, Limits(576, 432)),
        (20_000, 0, 0, Limits(14_808, 11_106)),
        (20_000, 100, 0, Limits(100, 75)),
        (20_000, 100, 10, Limits(100, 10)),
        (20_000, 100_000, 50_000, Limits(14_808, 14_808)),
        (64, 0, 0, Limits(16, 12)),
    ],
)
def test_limits_stay_below_what_the_descriptors_allow(
    descriptors: int, most: int, of_one: int, expected: Limits
) -> None:
    assert limits_of(descriptors, most, of_one) == expected
