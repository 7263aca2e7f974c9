"""Members in outline tell as much about a halt as all of them do."""

from collections.abc import Callable

import pytest

from backfleet.rollouts import _store
from backfleet.rollouts.board import Board
from backfleet.rollouts.loading import load_members, load_outline
from backfleet.rollouts.model import FirstRun
from backfleet.rollouts.states import MemberState
from rollouts.fleet import Answer, Fleet, refuses, rolls_back, stays, succeeds

MORE = '[verify]\nfirst_run_hours = 48\n[failure]\nmax_failed = "90%"'
STARTS = 'name = "rest"\ngates = [{ kind = "soak", hours = 0.1 }]'


def facts(board: Board) -> dict[str, object]:
    """Return what a decision reads of members as a whole."""
    rings = (0, 1)
    return {
        "members": len(board),
        "sizes": [board.ring_size(ring) for ring in rings],
        "states": {(ring, state): board.count(ring, state) for ring in rings for state in MemberState},
        "failures": {ring: board.failures[ring] for ring in rings},
        "first runs": {(ring, run): board.first_runs[ring, run] for ring in rings for run in FirstRun},
    }


def fails_its_backup(hosts: Fleet, client: str) -> None:
    hosts.back_up(client, "failed")


@pytest.mark.parametrize("answer", [succeeds, rolls_back, refuses, stays])
@pytest.mark.parametrize("backs_up", [Fleet.back_up, fails_its_backup, lambda hosts, client: None])
def test_what_a_decision_reads_is_the_same(
    hosts: Fleet, answer: Answer, backs_up: Callable[[Fleet, str], None]
) -> None:
    """Members that wait, have it, failed, are verifying, or refused, in two rings."""
    clients = hosts.grow(8)
    hosts.answers = {hosts.instance_of(client): answer for client in clients[::2]}
    text = hosts.policy(MORE).replace('name = "rest"', STARTS)
    rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    for _ in range(8):
        hosts.step(60)
        for client, member in hosts.members(rollout).items():
            if member["State"] == "verifying":
                backs_up(hosts, client)
        with hosts.helpers.database.reading() as tx:
            record = _store.rollout(tx, hosts.helpers.account, rollout)
            assert record is not None
            assert facts(load_outline(tx, record).board) == facts(_with_ends(hosts, tx, record))


def _with_ends(hosts: Fleet, tx: object, record: object) -> Board:
    from backfleet.rollouts import loading

    loaded = load_members(tx, record)  # type: ignore[arg-type]
    loading._refresh_ends(tx, record, loaded)  # type: ignore[arg-type]
    return loaded.board
