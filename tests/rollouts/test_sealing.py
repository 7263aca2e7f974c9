"""What is signed of a rollout on its way, and what its evidence proves of the database."""

import json
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from backfleet import fleet, rollouts
from backfleet.cli._evidence import event_row, member_row
from backfleet.operations._tables import audit_events
from backfleet.rollouts._tables import events, heads
from backfleet.rollouts._tables import rollouts as table
from backfleet.rollouts.events import NewEvent, chained
from backfleet.rollouts.evidence import lines_of, opened, read_public_key, verify
from rollouts.fleet import POLICY, Fleet, rolls_back

APPROVED = POLICY.replace('name = "rest"', 'name = "rest"\ngates = [{{ kind = "approval", people = 1 }}]')


def exported(hosts: Fleet, rollout: str) -> list[str]:
    """Return the lines of a file of evidence, made of what the API answers."""
    found = hosts.ask("GetRolloutEvidence", RolloutId=rollout)
    listed = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    rows, members = map(event_row, listed), map(member_row, hosts.members(rollout).values())
    signed = [json.loads(each) for each in found["Heads"]]
    policy, seal = hosts.show(rollout)["Policy"], json.loads(found["Seal"])
    return list(lines_of(policy, rows, signed, members, logs_in(found), seal))


def logs_in(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(each) for each in found["Logs"]]


def faults(hosts: Fleet, rollout: str) -> list[str]:
    return verify(exported(hosts, rollout), public(hosts)).faults


def public(hosts: Fleet) -> Any:
    return read_public_key(hosts.ask("GetEvidenceKey")["PublicKey"].encode())


def signed_heads(hosts: Fleet, rollout: str) -> list[dict[str, Any]]:
    found = hosts.ask("GetRolloutEvidence", RolloutId=rollout)["Heads"]
    return [opened(json.loads(each), public(hosts)) for each in found]


def test_heads_are_signed_where_rings_and_the_rollout_end_and_are_in_the_audit_trail(hosts: Fleet) -> None:
    """The file of what the API answers is intact; exact times, to the millisecond."""
    hosts.at = 0.1234567
    hosts.grow(4)
    rollout = hosts.roll_out()
    hosts.run(rollout)
    found = signed_heads(hosts, rollout)
    listed = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    assert [head["head"] for head in found] == [listed[head["events"] - 1]["Hash"] for head in found]
    ends = {each["Number"] for each in listed if each["Change"] == "finished" or each["Change"] == "completed"}
    assert {head["events"] for head in found} >= {max(ends)}
    assert len(found) >= 2
    assert any(each["TimeMilliseconds"] % 1000 for each in listed)
    assert faults(hosts, rollout) == []
    with hosts.helpers.database.reading() as tx:
        query = sa.select(audit_events.c.named).where(audit_events.c.action == "SignRolloutHead")
        noted = [json.loads(row.named) for row in tx.rows(query.order_by(audit_events.c.at))]
    assert [each["Head"] for each in noted] == [head["head"] for head in found]


def test_a_halt_and_a_cancel_are_signed(sqlite_hosts: Fleet) -> None:
    """A cancel by a person is signed by the next decision; nothing is signed twice."""
    clients = sqlite_hosts.grow(4)
    sqlite_hosts.answers = dict.fromkeys([sqlite_hosts.instance_of(each) for each in clients], rolls_back)
    rollout = sqlite_hosts.roll_out()
    assert sqlite_hosts.run(rollout)["State"] == "halted"
    halted = signed_heads(sqlite_hosts, rollout)
    sqlite_hosts.ask("CancelRollout", RolloutId=rollout)
    for _ in range(3):
        sqlite_hosts.step()
    found = signed_heads(sqlite_hosts, rollout)
    assert len(found) == len(halted) + 1
    assert "it said: no such option" in "".join(exported(sqlite_hosts, rollout))
    assert faults(sqlite_hosts, rollout) == []


def test_an_approval_names_the_bytes_that_were_agreed_to(sqlite_hosts: Fleet) -> None:
    """Policy, target, members and the artifact's hash, with the person."""
    sqlite_hosts.grow(4)
    bob = sqlite_hosts.env.user("bob", "AdministratorAccess")
    rollout = sqlite_hosts.roll_out(text=APPROVED)
    sqlite_hosts.step()
    sqlite_hosts.ask("ApproveRollout", bob, RolloutId=rollout)
    listed = sqlite_hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    [approved] = [each for each in listed if each["Change"] == "approved"]
    [created] = [each for each in listed if each["Change"] == "created"]
    members = created["Reason"].split("members ")[1].split()[0]
    assert "/bob" in approved["Name"]
    for part in (sqlite_hosts.show(rollout)["PolicySha256"], "target 2.0", f"members {members}", "artifacts linux-"):
        assert part in approved["Reason"]


def test_events_that_were_written_anew_in_the_database_do_not_match_what_was_signed(hosts: Fleet) -> None:
    """Whoever has the database and not the key can chain other events; the heads of before tell."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    hosts.run(rollout)
    with hosts.helpers.transaction() as tx:
        found = list(tx.rows(sa.select(events).where(events.c.rollout_id == rollout).order_by(events.c.number)))
        head = ""
        for row in found:
            why = "all was well" if row.number == 2 else row.why
            [new] = chained([NewEvent(row.what, row.name, row.change, why)], after=row.number - 1, head=head, at=row.at)
            head = new.hash
            mine = sa.and_(events.c.rollout_id == rollout, events.c.number == row.number)
            tx.run(sa.update(events).where(mine).values(why=why, hash=head))
        tx.run(sa.update(table).where(table.c.id == rollout).values(head=head))
    assert any("signed over other events" in fault for fault in faults(hosts, rollout))


def test_a_member_whose_client_is_deleted_leaves_an_event(sqlite_hosts: Fleet) -> None:
    """So that no member is gone without a word."""
    clients = sqlite_hosts.grow(4)
    rollout = sqlite_hosts.roll_out()
    gone = clients[-1]
    with sqlite_hosts.helpers.transaction() as tx:
        fleet.forget_client(tx, gone)
    sqlite_hosts.run(rollout)
    listed = sqlite_hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    assert gone in {each["Name"] for each in listed if each["Change"] == "gone"}


def test_heads_of_a_rollout_are_deleted_with_it(sqlite_hosts: Fleet) -> None:
    """The audit trail keeps its own."""
    sqlite_hosts.grow(3)
    rollout = sqlite_hosts.roll_out()
    sqlite_hosts.run(rollout)
    with sqlite_hosts.helpers.transaction() as tx:
        rollouts.purge(tx, before=sqlite_hosts.now + timedelta(days=1), now=sqlite_hosts.now)
        assert tx.rows(sa.select(heads)) == []
