"""What an approval answers: which ring, how many persons agreed, and how many must."""

from rollouts.fleet import Fleet

GATES = (
    'name = "canary"\ncount = 2\ngates = [{ kind = "approval" }]',
    'name = "rest"\ngates = [{ kind = "approval", people = 2 }]',
)


def test_it_names_the_ring_and_counts_the_persons(hosts: Fleet) -> None:
    """One person counts once, and is told so; the next ring is the one that is asked about next."""
    hosts.grow(4)
    text = hosts.policy().replace('name = "canary"\ncount = 2', GATES[0]).replace('name = "rest"', GATES[1])
    rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    hosts.run(rollout, 2)
    bob, carol = (hosts.env.user(name, "AdministratorAccess") for name in ("bob", "carol"))

    def approve(who: object) -> tuple[object, ...]:
        found = hosts.ask("ApproveRollout", who, RolloutId=rollout)  # type: ignore[arg-type]
        return tuple(found[name] for name in ("Ring", "Agreed", "Wanted", "CountedBefore"))

    assert approve(bob) == ("canary", 1, 1, False)
    assert approve(carol) == ("canary", 2, 1, False)
    hosts.run(rollout, 4)
    assert approve(bob) == ("rest", 1, 2, False)
    events = hosts.show(rollout)["UpdatedTime"], len(hosts.ask("DescribeRolloutEvents", RolloutId=rollout)["Events"])
    assert approve(bob) == ("rest", 1, 2, True)
    assert events[1] == len(hosts.ask("DescribeRolloutEvents", RolloutId=rollout)["Events"])
    assert approve(carol) == ("rest", 2, 2, False)
    assert hosts.run(rollout)["State"] == "completed"


def test_a_ring_that_has_started_waits_for_no_approval(hosts: Fleet) -> None:
    """By its name, or by default: nothing is written that would look like one."""
    hosts.grow(4)
    text = hosts.policy().replace('name = "canary"\ncount = 2', GATES[0])
    rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    hosts.silent |= {each["InstanceId"] for each in hosts.members(rollout).values()}
    bob, carol = (hosts.env.user(name, "AdministratorAccess") for name in ("bob", "carol"))
    hosts.ask("ApproveRollout", bob, RolloutId=rollout)
    hosts.step()
    for more in ({}, {"Ring": "canary"}, {"Ring": "rest"}):
        status, body = hosts.try_to("ApproveRollout", carol, RolloutId=rollout, **more)
        assert (status, "no ring of it waits for an approval" in body["Message"]) == (409, True)
