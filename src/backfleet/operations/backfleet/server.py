"""DescribeServer: facts about this server, for `backfleet doctor` and for the line to paste on a host."""

import hashlib
import socket
from datetime import timedelta
from typing import Any

from backfleet import VERSION, backups, fleet, hold, host_program, releases
from backfleet.certificates import authority_file
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.settings import Settings
from backfleet.values import value_object


@value_object
class DescribeServer:
    """No parameters."""


@operation(
    BACKFLEET,
    "DescribeServer",
    action="backfleet:DescribeServer",
    answer={
        "ServerVersion": str,
        "Processes": int,
        "RegionId": str,
        "AgentAddress": str,
        "AuthoritySha256": str,
        "HostProgramSha256": str,
        "HostBinaries": [{"Machine": str, "Sha256": str, "Size": int}],
        "Instances": int,
        "ConnectedInstances": int,
        "DeafInstances": int,
        "ClonedInstances": int,
        "ChangedClients": int,
        "WithdrawnClients": int,
        "OverdueBackups": int,
        "Releases": int,
        "ClockSkewMilliseconds": int,
        "Held": bool,
        "CopiedTime": int,
        "RestoredTime": int,
        "AdoptedInstances": int,
        "TargetsNeedSignature": bool,
    },
)
def describe_server(call: Call, asked: DescribeServer) -> dict[str, Any]:
    """Return version, region, the address for agents, and the fingerprint of the authority that they must trust.

    HostProgramSha256 is empty on a server that has none: hosts cannot enrol there. HostBinaries are the programs for
    hosts without Python, by what `uname -m` says there. DeafInstances send heartbeats, but their agents have no
    connection and cannot be given work. ChangedClients differ from what their last order left on the host, in files or
    modes. WithdrawnClients have a version that was withdrawn. OverdueBackups are clients whose
    next backup did not begin when it usually does. ClockSkewMilliseconds is by how much the clock of the machine that
    answers is ahead of the database's, which decides. Processes is how many of this server answer calls.

    After a restore, CopiedTime is when the copy was made, and RestoredTime when it was restored; else both are 0. While
    Held is true, nothing is moved: see ReleaseServerHold. AdoptedInstances are hosts that the copy did not know. While
    TargetsNeedSignature is true, hosts may have seen newer targets than this server has, which people must sign.
    """
    settings = call.services.settings
    authority = authority_file(settings.data)
    reachable_since = call.now - timedelta(seconds=settings.fit_seconds)
    with call.services.database.reading() as tx:
        withdrawn = releases.withdrawn(tx)
        connected, deaf = fleet.count_presence(tx, call.account_id, reachable_since=reachable_since)
        counted = {
            "Instances": fleet.count_instances(tx, call.account_id),
            "ConnectedInstances": connected,
            "DeafInstances": deaf,
            "ClonedInstances": fleet.count_cloned(tx, call.account_id, now=call.now),
            "ChangedClients": fleet.count_changed(tx, call.account_id),
            "WithdrawnClients": sum(
                number
                for release, number in fleet.count_by_release(tx, call.account_id).items()
                if release in withdrawn
            ),
            "OverdueBackups": len(backups.overdue(tx, call.account_id, settings.region, now=call.now)),
            "Releases": releases.count_releases(tx),
            "TargetsNeedSignature": releases.needs_signature(tx),
            **_restore_facts(hold.state(tx)),
        }
    return {
        "ServerVersion": VERSION,
        "Processes": settings.processes,
        "RegionId": settings.region,
        "AgentAddress": agent_address(settings),
        "AuthoritySha256": hashlib.sha256(authority.read_bytes()).hexdigest() if authority.exists() else "",
        "HostProgramSha256": host_program.sha256(),
        "HostBinaries": [
            {"Machine": each.machine, "Sha256": each.sha256, "Size": each.size}
            for each in host_program.describe_binaries(settings.data)
        ],
        "ClockSkewMilliseconds": round(call.services.skew() / timedelta(milliseconds=1)),
        **counted,
    }


def _restore_facts(restore: hold.Restore | None) -> dict[str, Any]:
    if restore is None:
        return {"Held": False, "CopiedTime": 0, "RestoredTime": 0, "AdoptedInstances": 0}
    return {
        "Held": restore.is_held,
        "CopiedTime": int(restore.copied_at.timestamp()),
        "RestoredTime": int(restore.restored_at.timestamp()),
        "AdoptedInstances": restore.adopted,
    }


def agent_address(settings: Settings) -> str:
    """Return HOST:PORT for agents: the configured name, or this machine's, or the address this server listens on."""
    host, _, port = settings.https.rpartition(":")
    named = settings.public_host.split(",")[0].strip()
    if named:
        return f"{named}:{port}"
    return f"{socket.gethostname()}:{port}" if host in ("0.0.0.0", "[::]", "") else settings.https  # noqa: S104
