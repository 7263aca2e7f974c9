"""PreviewRollout, CreateRollout and StartRollout."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backfleet import rollouts
from backfleet.failpoints import failpoint
from backfleet.operations.backfleet.rollouts.answers import ROLLOUT, SETTINGS, rollout_answer, settings_answer
from backfleet.operations.backfleet.rollouts.errors import ERRORS, refusals
from backfleet.operations.backfleet.rollouts.judging import Judge
from backfleet.operations.backfleet.rollouts.tag_setters import tag_setters
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.operations.hbr.errors import TokenMismatch
from backfleet.outbound import Destinations
from backfleet.rollouts.installing import is_to_come
from backfleet.storage import Conflict, Transaction
from backfleet.values import value_object
from backfleet.wire.errors import OperationConflict
from backfleet.wire.parameters import boolean, integer, text
from backfleet.wire.shapes import Maybe

LONGEST_POLICY: Final = 64 * 1024  # characters
LATEST: Final = 4_102_444_800  # 2100-01-01, Unix seconds
TRIES: Final = 3  # of a transaction that met a conflict
MOST_SHOWN: Final = 100  # clients in one list of a preview
_RING: Final = {"Name": str, "Members": int, "Clients": [str], "Instances": [str]}
_PINNED: Final = {
    "ClientId": str,
    "InstanceId": str,
    "Host": str,
    "Versions": str,
    "Reason": str,
    "Owner": str,
    "ExpiresTime": int,
}
_NOT_TO_BE_HAD: Final = {
    "PackageName": str,
    "Platform": str,
    "FromVersion": str,
    "ReleaseVersion": str,
    "Hosts": int,
    "Reason": str,
}


@value_object
class PreviewRollout:
    """A policy, as TOML."""

    policy: str = text("Policy", required=True, longest=LONGEST_POLICY, raw=True)


@value_object
class CreateRollout:
    """A policy, and whether its rollout starts at once, or at a time (Unix seconds)."""

    policy: str = text("Policy", required=True, longest=LONGEST_POLICY, raw=True)
    start: bool = boolean("Start", default=False)
    start_time: int | None = integer("StartTime", least=0, most=LATEST)
    client_token: str | None = text("ClientToken", longest=64)


@value_object
class StartRollout:
    """A rollout, and when it starts (Unix seconds); without a time, at once."""

    rollout_id: str = text("RolloutId", required=True, longest=64)
    start_time: int | None = integer("StartTime", least=0, most=LATEST)


def every_rollout(call: Call, asked: Any) -> list[str]:
    """Return the ARN of an account's rollouts."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:rollout/*"]


def one_rollout(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the rollout that a request names."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:rollout/{asked.rollout_id}"]


def by(call: Call) -> rollouts.By:
    """Return who asks, and when."""
    settings = call.services.settings
    return rollouts.By(
        call.caller,
        call.region,
        call.now,
        Judge,
        Destinations.read(settings.outbound_allowed, settings.prometheus_url),
        can_sign=bool(settings.webhook_secret_file),
    )


def reachable_within(call: Call) -> timedelta:
    """Return for how long an instance may be silent and still counts as reachable."""
    return timedelta(seconds=call.services.settings.fit_seconds)


@operation(
    BACKFLEET,
    "PreviewRollout",
    action="backfleet:PreviewRollout",
    resources=every_rollout,
    answer={
        "Kind": str,
        "TargetVersion": str,
        "Settings": SETTINGS,
        "Members": int,
        "AlreadyThere": int,
        "Pinned": int,
        "PinnedClients": [str],
        "Pins": [_PINNED],
        "NotToBeHad": [_NOT_TO_BE_HAD],
        "Rings": [_RING],
        "LeftOut": [str],
        "MembersSha256": str,
        "Dynamic": bool,
        "TagSetters": [str],
        "Faults": [{"Line": int, "Key": str, "Found": str, "Wanted": str}],
    },
    errors=ERRORS,
)
def preview_rollout(call: Call, asked: PreviewRollout) -> dict[str, Any]:
    """Tell what a policy would do to the fleet as it is now, and everything that forbids it. Nothing changes.

    Pins: of at most 100 members that pins keep from moving, those that end last first; Pinned counts them all.
    NotToBeHad: the platforms of selected hosts for which there is no such release, and why; with a FromVersion, those
    members of a platform that have it, from which no upgrade path leads to the target: their hosts would refuse.
    Of an install, AlreadyThere counts the selected hosts that have the client in any version, LeftOut has instances,
    and members without a client are among a ring's Instances alone.
    TagSetters: where the selector is dynamic, the policies in use that allow setting tags. Root may as well.
    """
    with refusals(), call.services.database.reading() as tx:
        found = rollouts.preview(tx, asked.policy, by(call), reachable_within=reachable_within(call))
        setters = tag_setters(tx, call.account_id) if found.policy.select.dynamic else []
    return {
        "Kind": found.policy.kind.value,
        "TargetVersion": found.target_version,
        "Settings": settings_answer(found.policy),
        "Members": len(found.members),
        "AlreadyThere": found.already_there,
        "Pinned": len(found.pinned),
        "PinnedClients": [each.client_id for each in found.pinned[:MOST_SHOWN] if each.client_id != each.instance_id],
        "Pins": [_pinned_answer(each) for each in found.pinned[:MOST_SHOWN]],
        "NotToBeHad": [
            {
                "PackageName": found.policy.package,
                "Platform": each.platform,
                "FromVersion": each.from_version,
                "ReleaseVersion": found.target_version,
                "Hosts": each.hosts,
                "Reason": each.why,
            }
            for each in found.not_to_be_had[:MOST_SHOWN]
        ],
        "Rings": _rings_answer(found),
        "LeftOut": list(found.left_out[:MOST_SHOWN]),
        "MembersSha256": found.members_sha256,
        "Dynamic": found.policy.select.dynamic,
        "TagSetters": setters,
        "Faults": [
            {"Line": fault.line, "Key": fault.key, "Found": fault.found, "Wanted": fault.wanted}
            for fault in found.faults
        ],
    }


def _rings_answer(found: rollouts.Plan) -> list[dict[str, Any]]:
    clients: list[list[str]] = [[] for _ in found.policy.rings]
    instances: list[list[str]] = [[] for _ in found.policy.rings]
    for member in found.members:
        instances[member.ring].append(member.instance_id)
        if not is_to_come(member):
            clients[member.ring].append(member.client_id)
    return [
        {
            "Name": ring.name,
            "Members": len(instances[number]),
            "Clients": sorted(clients[number])[:MOST_SHOWN],
            "Instances": sorted(instances[number])[:MOST_SHOWN],
        }
        for number, ring in enumerate(found.policy.rings)
    ]


def _pinned_answer(member: rollouts.PinnedMember) -> dict[str, Any]:
    pin = member.pin
    return {
        "ClientId": "" if member.client_id == member.instance_id else member.client_id,  # it has none yet
        "InstanceId": member.instance_id,
        "Host": member.host,
        "Versions": pin.versions,
        "Reason": pin.reason,
        "Owner": pin.owner,
        "ExpiresTime": seconds(pin.expires_at),
    }


@operation(
    BACKFLEET,
    "CreateRollout",
    action="backfleet:CreateRollout",
    resources=every_rollout,
    answer={**ROLLOUT, "Created": bool},
    errors=(*ERRORS, TokenMismatch, OperationConflict),
)
def create_rollout(call: Call, asked: CreateRollout) -> dict[str, Any]:
    """Create a rollout of a policy: its target and its members are fixed now.

    The same policy again is the same rollout until that ends. A policy with faults is refused as a whole, with all of
    them. Without `Start` and `StartTime` the rollout is a draft.

    Raises:
        ApiError: as `refusals`; TokenMismatch where the ClientToken came with other parameters.
    """
    for _ in range(TRIES):
        try:
            with refusals(), call.services.database.transaction() as tx:
                return _create(tx, call, asked)
        except Conflict:
            continue
    raise OperationConflict("Another call is creating the same rollout. Send the request again.")


def _create(tx: Transaction, call: Call, asked: CreateRollout) -> dict[str, Any]:
    digest = _fingerprint(asked)
    if asked.client_token is not None:
        try:
            known = rollouts.created_before(tx, call.account_id, asked.client_token, digest, now=call.now)
        except rollouts.TokenReused:
            raise TokenMismatch from None
        if known is not None:
            return {**rollout_answer(rollouts.view(tx, [known], call.now)[0]), "Created": False}
    record, is_new = rollouts.create(
        tx,
        asked.policy,
        by(call),
        draw=call.services.draw,
        reachable_within=reachable_within(call),
        wants_start=asked.start or asked.start_time is not None,
        start_at=moment(asked.start_time),
    )
    failpoint("rollout stored")
    if asked.client_token is not None:
        until = call.now + timedelta(hours=call.services.settings.token_hours)
        rollouts.remember_creation(tx, call.account_id, asked.client_token, digest, record.id, until=until)
    return {**rollout_answer(rollouts.view(tx, [record], call.now)[0]), "Created": is_new}


@operation(
    BACKFLEET,
    "StartRollout",
    action="backfleet:StartRollout",
    resources=one_rollout,
    answer={**ROLLOUT, "StartTime": Maybe(int)},
    errors=ERRORS,
)
def start_rollout(call: Call, asked: StartRollout) -> dict[str, Any]:
    """Start a draft, or have it start later. Every member is judged as whoever starts it.

    Refused with a fault `start`, as CreateRollout with Start is, where whoever starts it may not move its members.
    """
    with refusals(), call.services.database.transaction() as tx:
        record = rollouts.find(tx, call.account_id, asked.rollout_id, locks=True)
        record = rollouts.start(tx, record, by(call), start_at=moment(asked.start_time))
        return rollout_answer(rollouts.view(tx, [record], call.now)[0])


def moment(unix: int | None) -> datetime | None:
    """Return a time that came as Unix seconds."""
    return None if unix is None else datetime.fromtimestamp(unix, UTC)


def _fingerprint(asked: CreateRollout) -> str:
    return hashlib.sha256(json.dumps([asked.policy, asked.start, asked.start_time]).encode()).hexdigest()
