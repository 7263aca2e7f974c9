"""Cloud accounts, what is imported from them, and commands on their way through the cloud. Plain values."""

import re
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Final

from backfleet.fleet import CarrierKind
from backfleet.values import value_object
from backfleet_host.texts import printable

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
REMOTE_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # of an instance, in its cloud
REGION: Final = r"[a-z0-9-]{2,64}"
MOST_AT_ONCE: Final = 50  # instances of one RunCommand; the cloud takes as many from every account
LONGEST_CONTENT: Final = 24 * 1024  # bytes of a command in base64


class Source(StrEnum):
    """Where the credentials of a cloud account come from."""

    KEY = "key"  # an access key, sealed in the database
    CHAIN = "chain"  # what the SDK finds where the server runs: environment, files, the role of its machine
    PROFILE = "profile"  # a named profile in the files of the SDK, where the server runs
    MACHINE_ROLE = "machine-role"  # a RAM role of the ECS instance that the server runs on


class Trouble(StrEnum):
    """Whom a problem is about: this decides what happens next."""

    PASSES = "passes"  # the cloud or the way to it: the same call is made again, later
    ACCOUNT = "account"  # nothing works until somebody acts
    COMMAND = "command"  # this command, on any instance
    INSTANCE = "instance"  # at least one of the instances of a call
    DOUBT = "doubt"  # nobody knows whether the command ran


class EcsProblem(Exception):
    """The cloud refused something, or was not reached. The text says what was found and what to do.

    `code` is ours; `cloud_code` is the cloud's own word, if there was one. `not_taken` says that it has certainly not
    done what it was asked.
    """

    def __init__(
        self, code: str, message: str, trouble: Trouble, cloud_code: str = "", *, not_taken: bool = False
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.trouble, self.cloud_code = code, message, trouble, cloud_code
        self.not_taken = not_taken


UNREACHABLE: Final = "EcsUnreachable"
THROTTLED: Final = "EcsThrottled"
KEY_REFUSED: Final = "EcsKeyRefused"
CLOCK_WRONG: Final = "EcsClockWrong"
PERMISSION_MISSING: Final = "EcsPermissionMissing"
REGION_REFUSED: Final = "EcsRegionRefused"
NOT_ALLOWED: Final = "EcsNotAllowed"
QUOTA_USED_UP: Final = "EcsQuotaUsedUp"
BAD_ANSWER: Final = "EcsBadAnswer"
NO_SDK: Final = "EcsSdkMissing"
COMMAND_REFUSED: Final = "EcsCommandRefused"
INSTANCE_NOT_FOUND: Final = "EcsInstanceNotFound"
INSTANCE_NOT_RUNNING: Final = "EcsInstanceNotRunning"
AGENT_NOT_RUNNING: Final = "EcsAgentNotRunning"
NOT_DELIVERED: Final = "EcsNotDelivered"
IMPORTED_ELSEWHERE: Final = "EcsImportedElsewhere"


def code_for(cloud: CarrierKind, code: str) -> str:
    """Return one of these codes as it is shown for instances of a cloud: `EcsThrottled`, `SsmThrottled`."""
    return code if cloud is CarrierKind.ECS else code.replace("Ecs", cloud.value.capitalize(), 1)


@value_object
class EcsAccount:
    """A cloud account: where it is, and with which credentials. `sealed` is the secret of its key."""

    account_id: str
    name: str
    source: Source
    created_at: datetime
    key_id: str = ""
    sealed: str = field(default="", repr=False)
    source_name: str = ""  # of the profile, or of the machine's role
    role_arn: str = ""  # taken on with these credentials; "" = none
    external_id: str = field(default="", repr=False)  # sealed, too
    endpoint: str = ""  # "" = the SDK's own for the region
    sts_endpoint: str = ""
    authority: str = ""  # PEM, for endpoints that no public authority vouches for
    address: str = ""  # HOST:PORT at which its hosts reach this server's downloads; "" = the server's own address
    mirror: str = ""  # address with a copy of this server's downloads, which its hosts ask first; "" = there is none
    mirror_authority: str = ""  # PEM; "" = what the hosts' systems trust
    problem_code: str = ""
    problem: str = ""
    asked_at: datetime | None = None  # when it last answered
    cloud: CarrierKind = CarrierKind.ECS

    def code(self, code: str) -> str:
        """Return one of our codes as it is shown for this account."""
        return code_for(self.cloud, code)


@value_object
class Downloads:
    """Where an instance finds downloads. See the fields of the same names of EcsAccount."""

    address: str
    mirror: str
    mirror_authority: str


@value_object
class Selection:
    """Which instances of a region are imported. Several conditions must all be met."""

    region: str
    instance_ids: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    resource_group: str = ""


@value_object
class EcsImport:
    """A selection that is kept up to date."""

    import_id: str
    account_id: str
    ecs_account: str
    selection: Selection
    created_at: datetime
    synced_at: datetime | None = None
    found: int = 0
    problem_code: str = ""
    problem: str = ""


@value_object
class EcsHost:
    """An imported instance. `remote_id` is the cloud's own id; nearly always the instance has the same here."""

    instance_id: str
    account_id: str
    ecs_account: str
    region: str
    remote_id: str
    misses: int = 0  # refreshes in a row that did not find it
    problem_code: str = ""
    problem: str = ""
    asked_at: datetime | None = None


@value_object
class CloudInstance:
    """What the cloud says of an instance."""

    remote_id: str
    name: str
    status: str
    os_type: str
    os_name: str
    hostname: str
    address: str


def instance_of(
    remote_id: str, name: str, status: str, os_type: str, os_name: str, hostname: str, address: str
) -> CloudInstance:
    """Return what a cloud says of an instance, within the bounds of what is stored. Raises ValueError for no id."""
    if not re.fullmatch(REMOTE_ID, remote_id):
        raise ValueError(f"{remote_id[:40]!r} is no id of an instance")
    kept = (
        printable(text.strip())[:longest]
        for text, longest in ((name, 128), (status, 32), (os_type, 32), (os_name, 128), (hostname, 128), (address, 64))
    )
    return CloudInstance(remote_id, *kept)


@value_object
class Page:
    """Part of a list of instances. `following` is the token of the next page; "" = it was the last one."""

    instances: tuple[CloudInstance, ...]
    following: str = ""


@value_object
class AgentStatus:
    """What the cloud says of an instance's Cloud Assistant agent."""

    is_installed: bool
    version: str
    heard_at: datetime | None


@value_object
class CloudCommand:
    """One call of RunCommand."""

    content: str
    timeout_seconds: int
    working_directory: str = ""
    username: str = ""
    termination: str = ""
    has_parameters: bool = False  # `{{ACS::InstanceId}}` in the content stands for the instance's own id


@value_object
class Run:
    """One command on one instance, as part of a call of RunCommand. `seen` is how many bytes of output are noted."""

    task_id: str
    instance_id: str
    remote_id: str
    seen: int = 0


@value_object
class Batch:
    """One call of RunCommand that was made, or is about to be made, and what of it is not over."""

    token: str  # the ClientToken: however often it is sent, it runs once
    account_id: str
    ecs_account: str
    region: str
    command: CloudCommand
    created_at: datetime
    runs: tuple[Run, ...]
    tries: int = 0
    invoke_id: str = ""  # "" = the cloud has not said that it took it
    polls: int = 0


@value_object
class Meaning:
    """What a state of an instance's command means: our code, whether it may have run all the same, and what to do."""

    code: str
    may_have_run: bool
    advice: str


@value_object
class Result:
    """What the cloud says of one instance of an invocation. `status` is in the words of ECS, whatever the cloud."""

    remote_id: str
    status: str
    exit_code: int | None
    error_code: str
    error_text: str
    output: bytes
    dropped: int
    meaning: Meaning | None = None  # where the cloud's words are not those of ECS
