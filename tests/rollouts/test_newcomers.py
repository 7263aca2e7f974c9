"""A `dynamic` selector: clients that it means since the rollout began."""

from rollouts.fleet import POLICY, Fleet

RAM = "2015-05-01"

DYNAMIC = POLICY.replace("[pace]", '[select]\ntags = {{ env = "prod" }}\ndynamic = true\n\n[pace]')


def test_newcomers_are_taken_in_while_the_rollout_runs(hosts: Fleet) -> None:
    """By their tags, once, into the ring that takes them; what the selector does not mean stays out."""
    hosts.grow(4, env="prod")
    rollout = hosts.roll_out("[busy]\n", text=DYNAMIC)
    hosts.silent |= {hosts.instance_of(client) for client in hosts.members(rollout)}
    hosts.at += 400
    hosts.step()
    late, other = hosts.grow(2, env="prod"), hosts.grow(1, env="test")
    there = hosts.grow(1, "2.0", env="prod")
    hosts.run(rollout, 6)
    members = hosts.members(rollout)
    assert len(members) == 6
    assert {members[client]["Ring"] for client in late} == {"rest"}
    assert not {*other, *there} & set(members)
    events = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    assert sorted(event["Name"] for event in events if event["Reason"] == "it came in; ring rest") == sorted(late)
    hosts.silent.clear()
    assert hosts.run(rollout)["State"] == "completed"
    assert {hosts.helpers.client(client).version for client in late} == {"2.0"}
    assert {hosts.helpers.client(client).version for client in other} == {"1.0"}


def test_a_newcomer_follows_the_ring_that_is_finished(hosts: Fleet) -> None:
    """A ring that is through takes it as well, as long as the rollout runs."""
    clients = hosts.grow(6, env="prod")
    hosts.silent.add(hosts.instance_of(clients[-1]))
    hosts.at += 400
    hosts.step()
    rollout = hosts.roll_out(text=DYNAMIC)
    hosts.run(rollout, 20)
    (late,) = hosts.grow(1, env="prod")
    hosts.run(rollout, 20)
    assert hosts.members(rollout)[late]["State"] == "succeeded"


def test_a_selector_that_is_not_dynamic_takes_nobody_in(hosts: Fleet) -> None:
    """Its members are those of the day on which it was created."""
    hosts.grow(4, env="prod")
    rollout = hosts.roll_out(text=DYNAMIC.replace("dynamic = true", ""))
    hosts.silent |= {hosts.instance_of(client) for client in hosts.members(rollout)}
    hosts.grow(2, env="prod")
    hosts.run(rollout, 8)
    assert len(hosts.members(rollout)) == 4


def test_a_preview_says_who_may_set_the_tags(hosts: Fleet) -> None:
    """Policies that somebody has; others decide nothing."""
    hosts.grow(4, env="prod")
    document = '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "%s", "Resource": "*"}]}'
    hosts.env.ask(RAM, "CreateUser", UserName="tina")
    for name, action in (("taggers", "ecs:Tag*"), ("readers", "ecs:Describe*"), ("unused", "ecs:*")):
        hosts.env.ask(RAM, "CreatePolicy", PolicyName=name, PolicyDocument=document % action)
        if name != "unused":
            hosts.env.ask(RAM, "AttachPolicyToUser", PolicyName=name, PolicyType="Custom", UserName="tina")
    found = hosts.ask("PreviewRollout", Policy=hosts.policy(text=DYNAMIC))
    assert (found["Dynamic"], found["TagSetters"]) == (True, ["Custom/taggers"])
    fixed = DYNAMIC.replace("dynamic = true", "")
    assert hosts.ask("PreviewRollout", Policy=hosts.policy(text=fixed))["TagSetters"] == []
