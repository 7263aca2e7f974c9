"""Several carriers behind one interface: each host's order is written as its own carrier says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from backfleet import commands, fleet
from backfleet.carriers import Bootstrap, Carriers, Delivery, Gateway
from backfleet.carriers.dispatching import ANY_ID
from backfleet.fleet import CarrierKind
from backfleet.fleet._tables import instances
from backfleet.storage import Transaction
from backfleet_host.contract import Order, is_order
from carriers.test_gateway import BOOTSTRAP, LEASE, TOPIC
from operations.environment import Environment


@dataclass(frozen=True)
class ElsewhereRooted:
    """A way to hosts that have another root."""

    bootstrap: Bootstrap

    def bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        return dict.fromkeys(instance_ids, self.bootstrap)


def agentless(env: Environment) -> str:
    made = env.host(agent="")
    with env.services.database.transaction() as tx:
        tx.run(sa.update(instances).where(instances.c.id == made).values(carrier="ssh", public_key=""))
    return made


def test_each_order_is_written_as_the_carrier_of_its_host_says(env: Environment) -> None:
    ours, other = env.host(), agentless(env)
    elsewhere = ElsewhereRooted(replace(BOOTSTRAP, root="/srv/elsewhere"))
    carriers = Carriers({CarrierKind.ASSIST: Gateway(BOOTSTRAP), CarrierKind.SSH: elsewhere})
    sent = [
        Delivery(env.root.account_id, each, Order(f"u-{number}", "status", "courier"), 60, f"u-{number}")
        for number, each in enumerate((ours, other))
    ]
    with env.services.database.transaction() as tx:
        carriers.send(tx, sent, topic=TOPIC, now=env.now, draw=env.services.draw)
        (plain,), (command,) = (commands.claim(tx, each, now=env.now, lease=LEASE).run for each in (ours, other))
    assert is_order(plain.content)
    assert "'/srv/elsewhere'" in command.content


def test_orders_that_are_alike_differ_in_their_ids_alone(env: Environment) -> None:
    """Those that are not alike differ in what they say, too, whatever administrators have set."""
    hosts = [env.host() for _ in range(5)]
    orders = [
        Order("u-1", "upgrade", "courier", "2.0", "linux-amd64"),
        Order("u-2", "upgrade", "courier", "2.0", "linux-amd64"),
        Order("u-3", "upgrade", "courier", "2.0", "linux-amd64", bytes_per_second=1000),
        Order("u-4", "upgrade", "courier", "2.0", "linux-amd64", settings={"proxy_host": ANY_ID}),
        Order("u-5", "uninstall", "courier", remove_state=True),
    ]
    sent = [
        Delivery(env.root.account_id, host, order, 60, order.order_id)
        for host, order in zip(hosts, orders, strict=True)
    ]
    with env.services.database.transaction() as tx:
        Carriers({CarrierKind.ASSIST: Gateway()}).send(tx, sent, topic=TOPIC, now=env.now, draw=env.services.draw)
        found = commands.claim_for_each(tx, hosts, now=env.now, lease=LEASE)
    assert [found[host].run[0].content for host in hosts] == [order.as_command() for order in orders]


def test_nobody_can_sign_as_an_instance_without_an_agent(env: Environment) -> None:
    ours, other = env.host(), agentless(env)
    with env.services.database.reading() as tx:
        assert fleet.agent_identity(tx, ours) is not None
        assert fleet.agent_identity(tx, other) is None
