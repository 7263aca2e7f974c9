"""Hosts without an agent, which the server goes to by SSH, and the keys that it logs in with."""

from typing import Any, Final

from backfleet.carriers import ssh
from backfleet.carriers.ssh import Hop, SshHost, SshProblem
from backfleet.operations.catalogue import BACKFLEET, Call, Services, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.outbound import Destinations
from backfleet.settings import Settings
from backfleet.storage import Conflict
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet.wire.parameters import boolean, integer, repeat, repeat_objects, text
from backfleet.wire.shapes import Maybe
from backfleet_host.layout import DEFAULT_ROOT

BOX: Final = "ssh keys"
MOST_AT_ONCE: Final = 50  # hosts of one call
MOST_SCANNED: Final = 20
KEY: Final = {"Name": str, "PublicKey": str, "Fingerprint": str, "CreatedTime": int}
IMPORTED: Final = {"InstanceId": str, "Name": str, "Created": bool, "HostKeys": [str]}
SCANNED: Final = {"Address": str, "Port": int, "HostKeys": [str], "Fingerprints": [str], "Problem": Maybe(str)}


class SshKeyNotFound(ApiError):
    """The account has no key of this name."""

    code = "SshKeyNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This account has no SSH key of this name. CreateSshKey makes one.")


class SshKeyExists(ApiError):
    """The account has a key of this name."""

    code = "EntityAlreadyExists.SshKey"
    status = 409

    def __init__(self) -> None:
        super().__init__("This account has an SSH key of this name. Delete it first, or choose another name.")


class SshKeyInUse(ApiError):
    """Hosts are logged in to with this key."""

    code = "DeleteConflict.SshKey"
    status = 409

    def __init__(self, hosts: int = 1) -> None:
        super().__init__(f"{hosts} host(s) are logged in to with this key. Import them again with another key first.")


class TooManySshEntries(ApiError):
    """The account has as many keys or hosts as it may."""

    code = "QuotaExceeded.Ssh"
    status = 409

    def __init__(self) -> None:
        super().__init__("The account has as many SSH keys, or hosts without an agent, as it may.")


class SshNotAllowed(ApiError):
    """The server's settings do not let it go to a host."""

    code = "SshNotAllowed"
    status = 403

    def __init__(self, why: str = "") -> None:
        super().__init__(f"The server may not go there by SSH: {why}." if why else "The server may not go there.")


@value_object
class CreateSshKey:
    """A name, and the private key if it is not to be made."""

    name: str = text("Name", required=True, longest=64, pattern=ssh.NAME)
    private_key: str | None = text("PrivateKey", longest=16_384, secret=True)


@value_object
class OneSshKey:
    """A key."""

    name: str = text("Name", required=True, longest=64, pattern=ssh.NAME)


@value_object
class NoParameters:
    """Nothing."""


@value_object
class HopGiven:
    """A jump host."""

    address: str | None = text("Address", longest=253)
    port: int = integer("Port", default=22, least=1, most=65_535)
    user: str | None = text("User", longest=33, pattern=ssh.USER)
    host_keys: tuple[str, ...] = repeat("HostKeys", most=8)


@value_object
class HostGiven:
    """A host, how it is reached, and by which keys it is known."""

    address: str | None = text("Address", longest=253)
    port: int = integer("Port", default=22, least=1, most=65_535)
    user: str = text("User", default="root", longest=33, pattern=ssh.USER)
    name: str = text("Name", default="", longest=128)
    sudo: bool | None = boolean("Sudo")
    root: str = text("Root", default=str(DEFAULT_ROOT), longest=128, pattern=ssh.ROOT)
    host_keys: tuple[str, ...] = repeat("HostKeys", most=8)
    jumps: tuple[HopGiven, ...] = repeat_objects("Jumps", of=HopGiven, most=ssh.MOST_HOPS)


@value_object
class ImportSshHosts:
    """Hosts, and the key that they are logged in to with."""

    key_name: str = text("KeyName", required=True, longest=64, pattern=ssh.NAME)
    hosts: tuple[HostGiven, ...] = repeat_objects("Hosts", of=HostGiven, most=MOST_AT_ONCE)


@value_object
class PlaceGiven:
    """An SSH server."""

    address: str | None = text("Address", longest=253)
    port: int = integer("Port", default=22, least=1, most=65_535)


@value_object
class ScanSshHosts:
    """SSH servers."""

    hosts: tuple[PlaceGiven, ...] = repeat_objects("Hosts", of=PlaceGiven, most=MOST_SCANNED)


def ssh_destinations(settings: Settings) -> Destinations:
    """Return where the server may go by SSH. Raises ValueError where the setting cannot be read."""
    return Destinations.read(settings.ssh_allowed, setting="ssh_allowed")


def open_ssh_key(services: Services, sealed: str) -> str:
    """Return the private half of a key. Raises ValueError."""
    return services.vault.box(BOX).unseal(sealed)


def every_key(call: Call, asked: Any) -> list[str]:
    """Return the ARN of an account's keys."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ssh-key/*"]


def one_key(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the key that a request names."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ssh-key/{getattr(asked, 'name', '')}"]


def key_of_import(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the key that hosts are imported with."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ssh-key/{asked.key_name}"]


@operation(
    BACKFLEET,
    "CreateSshKey",
    action="backfleet:CreateSshKey",
    resources=one_key,
    answer=KEY,
    errors=(SshKeyExists, TooManySshEntries),
)
def create_ssh_key(call: Call, asked: CreateSshKey) -> dict[str, Any]:
    """Make a key for logging in to hosts, or store one, and return its public half for their authorized_keys.

    The private half is sealed and shown to nobody. It must have no passphrase.
    """
    seal = call.services.vault.box(BOX).seal
    try:
        made = ssh.make_key(call.account_id, asked.name, asked.private_key, now=call.now, seal=seal)
    except ValueError as problem:
        raise InvalidParameter(f"`PrivateKey` cannot be used: {problem}.") from None
    try:
        with call.services.database.transaction() as tx:
            ssh.add_key(tx, made)
    except (ssh.KeyExists, Conflict):
        raise SshKeyExists from None
    except ssh.TooMany:
        raise TooManySshEntries from None
    return _key(made)


@operation(BACKFLEET, "ListSshKeys", action="backfleet:ListSshKeys", resources=every_key, answer={"Keys": [KEY]})
def list_ssh_keys(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List the account's keys for logging in to hosts, by name, without their private halves."""
    with call.services.database.reading() as tx:
        return {"Keys": [_key(each) for each in ssh.keys_of(tx, call.account_id)]}


@operation(
    BACKFLEET,
    "DeleteSshKey",
    action="backfleet:DeleteSshKey",
    resources=one_key,
    answer={},
    errors=(SshKeyNotFound, SshKeyInUse),
)
def delete_ssh_key(call: Call, asked: OneSshKey) -> dict[str, Any]:
    """Delete a key that no host is logged in to with."""
    try:
        with call.services.database.transaction() as tx:
            ssh.delete_key(tx, call.account_id, asked.name)
    except ssh.KeyNotFound:
        raise SshKeyNotFound from None
    except ssh.KeyInUse as problem:
        raise SshKeyInUse(problem.hosts) from None
    return {}


@operation(
    BACKFLEET,
    "ScanSshHosts",
    action="backfleet:ScanSshHosts",
    resources=every_key,
    answer={"Hosts": [SCANNED]},
    errors=(SshNotAllowed,),
)
def scan_ssh_hosts(call: Call, asked: ScanSshHosts) -> dict[str, Any]:
    """Ask SSH servers for their host keys, as ssh-keyscan does, from where this server stands.

    Whether the keys are the right ones, somebody has to compare before they are imported.
    """
    hops = [Hop(_address(each.address, "Hosts"), each.port, "", ()) for each in asked.hosts]
    if not hops:
        raise MissingParameter("Hosts.1.Address")
    allowed = ssh_destinations(call.services.settings)
    for hop in hops:
        _check_allowed(allowed, hop)
    return {"Hosts": [_scanned(hop, found) for hop, found in zip(hops, ssh.scan_hosts(hops, allowed), strict=True)]}


@operation(
    BACKFLEET,
    "ImportSshHosts",
    action="backfleet:ImportSshHosts",
    resources=key_of_import,
    answer={"Hosts": [IMPORTED]},
    errors=(SshKeyNotFound, SshNotAllowed, TooManySshEntries),
)
def import_ssh_hosts(call: Call, asked: ImportSshHosts) -> dict[str, Any]:
    """Register hosts that have no agent. The server goes to them by SSH, first within seconds, then now and then.

    A host is known by the given host keys alone. DescribeInstance says what its last visit found. A host with an
    address, port, user and root that were imported before stays that instance, and is reached as given now.
    """
    if not asked.hosts:
        raise MissingParameter("Hosts.1.Address")
    allowed = ssh_destinations(call.services.settings)
    wanted = [(_host(call, asked.key_name, each, f"Hosts.{n}"), each.name) for n, each in enumerate(asked.hosts, 1)]
    for host, _ in wanted:
        _check_allowed(allowed, (*host.jumps, host.target)[0])
    made: list[dict[str, Any]] = []
    try:
        with call.services.database.transaction() as tx:
            for host, name in wanted:
                stored, is_new = ssh.import_host(
                    tx, host, region=call.region, name=name, now=call.now, draw=call.services.draw
                )
                made.append(_imported(stored, name, is_new))
    except ssh.KeyNotFound:
        raise SshKeyNotFound from None
    except ssh.TooMany:
        raise TooManySshEntries from None
    return {"Hosts": made}


def ssh_of(host: SshHost | None) -> dict[str, Any]:
    """Return what DescribeInstance shows of how an instance is reached by SSH."""
    if host is None:
        return {}
    found: dict[str, Any] = {
        "Address": host.target.address,
        "Port": host.target.port,
        "User": host.target.user,
        "Sudo": host.sudo,
        "Root": host.root,
        "KeyName": host.key_name,
        "HostKeys": [ssh.described(line) for line in host.target.host_keys],
        "Jumps": [hop.place for hop in host.jumps],
        "ProblemCode": host.problem_code,
        "Problem": host.problem,
    }
    return {"Ssh": found | ({"VisitedTime": seconds(host.visited_at)} if host.visited_at else {})}


def _host(call: Call, key_name: str, given: HostGiven, where: str) -> SshHost:
    address = _address(given.address, where)
    if ".." in given.root.split("/") or given.root.endswith("/"):
        raise InvalidParameter(f"`{where}.Root` is {given.root!r}; give the plain path of a folder.")
    target = Hop(address, given.port, given.user, _keys(given.host_keys, where))
    jumps = tuple(
        Hop(
            _address(each.address, f"{where}.Jumps"),
            each.port,
            each.user or given.user,
            _keys(each.host_keys, f"{where}.Jumps"),
        )
        for each in given.jumps
    )
    return SshHost("", call.account_id, target, key_name, bool(given.sudo), given.root, jumps)


def _address(given: str | None, where: str) -> str:
    if not given:
        raise MissingParameter(f"{where}.Address")
    try:
        return ssh.check_address(given)
    except ValueError as problem:
        raise InvalidParameter(f"`{where}.Address` cannot be used: {problem}.") from None


def _keys(given: tuple[str, ...], where: str) -> tuple[str, ...]:
    try:
        return ssh.read_host_keys(given)
    except ValueError as problem:
        raise InvalidParameter(f"`{where}.HostKeys` cannot be used: {problem}.") from None


def _check_allowed(allowed: Destinations, hop: Hop) -> None:
    why = allowed.refusal(f"https://{hop.place}/")
    if why:
        raise SshNotAllowed(why)


def _key(key: ssh.SshKey) -> dict[str, Any]:
    return {
        "Name": key.name,
        "PublicKey": key.public,
        "Fingerprint": key.fingerprint,
        "CreatedTime": seconds(key.created_at),
    }


def _imported(host: SshHost, name: str, is_new: bool) -> dict[str, Any]:
    keys = [ssh.described(line) for line in host.target.host_keys]
    name = name or host.target.address
    return {"InstanceId": host.instance_id, "Name": name, "Created": is_new, "HostKeys": keys}


def _scanned(hop: Hop, found: tuple[str, ...] | SshProblem) -> dict[str, Any]:
    place = {"Address": hop.address, "Port": hop.port}
    if isinstance(found, SshProblem):
        return {**place, "HostKeys": [], "Fingerprints": [], "Problem": found.message}
    return {**place, "HostKeys": list(found), "Fingerprints": [ssh.described(line) for line in found]}
