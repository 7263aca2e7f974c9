"""What a caller may decide about a backup client: the channel that it follows."""

from typing import Any

from backfleet import fleet, releases
from backfleet.operations.backfleet.releases import CHANNEL
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.errors import ClientNotFound
from backfleet.operations.hbr.identifiers import LONGEST_ID
from backfleet.operations.hbr.settings import own_client
from backfleet.operations.hbr.targets import call_targets
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import text


@value_object
class SetClientChannel:
    """A client, and the channel whose newest release it gets from now on."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)
    channel: str | None = text("Channel", required=True, longest=64, pattern=CHANNEL)


@operation(
    BACKFLEET,
    "SetClientChannel",
    action="backfleet:SetClientChannel",
    resources=call_targets,
    answer={"ClientId": str, "Channel": str, "PreviousChannel": str},
    errors=(ClientNotFound,),
)
def set_client_channel(call: Call, asked: SetClientChannel) -> dict[str, Any]:
    """Have a client follow another channel. Nothing is sent to its host: its next upgrade goes by the channel.

    Raises:
        ApiError: ClientNotFound; InvalidParameter where no release of its package is offered on the channel.
    """
    channel = asked.channel or ""
    with call.services.database.transaction() as tx:
        client = own_client(tx, call, asked.client_id or "")
        offered = {name for release in releases.find_all(tx, client.package) for name in release.channels}
        if channel not in offered:
            known = ", ".join(sorted(offered)) or "none"
            raise InvalidParameter(
                f"No release of {client.package} is offered on the channel {channel!r}. Channels of it: {known}."
            )
        fleet.set_channel(tx, client.id, channel, now=call.now)
    return {"ClientId": client.id, "Channel": channel, "PreviousChannel": client.channel}
