"""The channel of a client, changed by its owner."""

from rollouts.fleet import Fleet


def test_a_client_gets_the_newest_release_of_the_channel_that_it_was_set_to(hosts: Fleet) -> None:
    """Not before: until then it follows the one that it was installed from."""
    client, other = hosts.grow(2)
    hosts.env.release("3.0", channel="beta")
    found = hosts.ask("SetClientChannel", ClientId=client, Channel="beta")
    assert (found["Channel"], found["PreviousChannel"]) == ("beta", "stable")
    hosts.env.ask("2017-09-08", "UpgradeBackupClients", ClientIds=[client, other])
    for _ in range(4):
        hosts.step()
    assert [hosts.helpers.client(each).version for each in (client, other)] == ["3.0", "2.0"]


def test_a_channel_that_offers_nothing_is_refused(hosts: Fleet) -> None:
    """A mistyped one would keep the client from every release; nor can somebody else's client be changed."""
    (client,) = hosts.grow(1)
    status, body = hosts.try_to("SetClientChannel", ClientId=client, Channel="bete")
    assert (status, body["Code"]) == (400, "InvalidParameter")
    assert "stable" in body["Message"]
    assert hosts.try_to("SetClientChannel", ClientId="c-unknown", Channel="stable")[1]["Code"] == "ResourceNotFound"
    assert hosts.helpers.client(client).channel == "stable"
