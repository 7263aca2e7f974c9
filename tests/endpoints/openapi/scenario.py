"""A scenario in which every operation is called once and succeeds, with any official client."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from backfleet import identity
from backfleet.carriers import ecs as ecs_carrier
from backfleet.fleet import CarrierKind, ClientStatus
from backfleet.operations.catalogue import PRODUCTS, Operation, find
from backfleet.wire.credentials import Credentials
from backfleet.wire.parameters import parameters_of
from endpoints.openapi.server import Server
from identity.signed_tokens import CLAIMS, ISSUER, ec_key, public, token
from operations.environment import OTHER, Environment

REGION = "cn-hangzhou"
VERSIONS = {product.code: product.version for product in PRODUCTS.values()}
ALL = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
MINE = {"PolicyName": "own", "PolicyType": "Custom"}

POLICY = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "2099-01-01T00:00:00Z"
ring = [{ name = "canary", count = 1 }, { name = "rest", gates = [{ kind = "approval" }] }]
"""

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJuBxkWEVddZpPUWazUjJ8P/NX4nJdr8u4yxANjN3B0j"

Call = Callable[[Operation, dict[str, Any]], dict[str, Any]]
"""A client: the body of a success; a refusal is Refused."""


class Refused(Exception):
    """A refusal as the client reported it."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Step:
    """One call. `parameters` have `<name>` for what an earlier answer gave; `saves` names what later steps need."""

    product: str
    action: str
    parameters: dict[str, Any]
    saves: dict[str, str]
    refused: str = ""  # the code of an operation that never succeeds here

    @property
    def operation(self) -> Operation:
        return find(VERSIONS[self.product], self.action)


def step(product: str, action: str, saves: dict[str, str] | None = None, **parameters: Any) -> Step:
    return Step(product, action, parameters, saves or {})


def ecs(action: str, saves: dict[str, str] | None = None, **parameters: Any) -> Step:
    return Step("ecs", action, {"RegionId": REGION, **parameters}, saves or {})


def ram(action: str, saves: dict[str, str] | None = None, **parameters: Any) -> Step:
    return Step("ram", action, parameters, saves or {})


CLIENTS = [
    step("hbr", "DescribeRegions"),
    step("hbr", "CheckRole", CheckRoleType="EcsRole"),
    step("hbr", "OpenHbrService"),
    step("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT", InstanceIds=["<host1>", "<host2>"],
         Tag=[{"Key": "team", "Value": "web"}], Filters=[{"Key": "Status", "Values": ["ACTIVATED"]}], PageSize=5),
    step("hbr", "DescribeClients", PageNumber=1, PageSize=50),
    step("hbr", "UpgradeBackupClients", {"task": "TaskId"}, InstanceIds=["<host1>"], ClientIds=["<client2>"]),
    step("hbr", "DescribeTask", TaskId="<task>"),
    step("hbr", "InstallBackupClients", InstanceIds=["<bare1>"]),
    step("hbr", "UninstallBackupClients", ClientIds=["<client3>"]),
    step("hbr", "UpgradeClient", {"other": "TaskId"}, ClientId="<client4>"),
    step("hbr", "UninstallClient", ClientId="<client5>"),
    step("hbr", "UpdateClientSettings", ClientId="<client1>", UseHttps=True, MaxCpuCore=2, ProxyPassword="hush"),
    step("hbr", "DeleteBackupClient", ClientId="<gone1>"),
    step("hbr", "DeleteClient", ClientId="<gone2>"),
    step("hbr", "CreateClients", VaultId="v-1", ClientInfo=[{"instanceId": "<bare2>"}]),
    step("hbr", "AddCrossAccount", CrossAccountUserId=int(OTHER), CrossAccountRoleName="cross", Alias="shop"),
    step("hbr", "DescribeCrossAccounts"),
    step("hbr", "DeleteCrossAccount", CrossAccountUserId=int(OTHER), CrossAccountRoleName="cross"),
]  # fmt: skip
BACKFLEET = [
    step("backfleet", "ListTasks"),
    step("backfleet", "RollBackClients", ClientIds=["<client1>"]),
    step("backfleet", "PrecheckClients", ClientIds=["<client4>"], ExpiresInSeconds=3600),
    step("backfleet", "PreviewClients", ClientIds=["<client1>"], Kind="roll-back"),
    step("backfleet", "StageClients", InstanceIds=["<host1>"], ReleaseVersion="2.0"),
    step("backfleet", "CancelTask", TaskId="<other>"),
    step("backfleet", "ListReleases"),
    step(
        "backfleet",
        "PutCalendar",
        Name="holidays",
        Freezes=[{"Summary": "Christmas", "Begin": "2026-12-24", "End": "2026-12-27"}],
    ),
    step("backfleet", "ListCalendars"),
    step("backfleet", "DescribeCalendar", Name="holidays"),
    step("backfleet", "DeleteCalendar", Name="holidays"),
    step("backfleet", "PutNotificationDestination", Name="oncall", Mail="oncall@example.com", Kinds=["host.lost"]),
    step("backfleet", "ListNotificationDestinations"),
    step("backfleet", "TestNotificationDestination", {"test": "NotificationId"}, Name="oncall"),
    step("backfleet", "ListNotifications"),
    step("backfleet", "ReplayNotification", NotificationId="<test>"),
    step("backfleet", "DeleteNotificationDestination", Name="oncall"),
    step("backfleet", "CreateSshKey", Name="fleet"),
    step("backfleet", "ListSshKeys"),
    step("backfleet", "ScanSshHosts", Hosts=[{"Address": "127.0.0.1", "Port": 9}]),
    step("backfleet", "CreateSshKey", Name="spare"),
    step("backfleet", "ImportSshHosts", KeyName="fleet", Hosts=[{"Address": "127.0.0.1", "HostKeys": [HOST_KEY]}]),
    step("backfleet", "DeleteSshKey", Name="spare"),
    step(
        "backfleet",
        "CreateEcsAccount",
        Name="cloud",
        KeyId="LTAI1",
        KeySecret="s",
        Endpoint="127.0.0.1:9",
        DownloadsUrl="https://bucket.example/prefix",
    ),
    step("backfleet", "ListEcsAccounts"),
    Step("backfleet", "ImportEcsInstances", {"AccountName": "cloud", "CloudRegionId": REGION}, {}, "EcsRefused"),
    step("backfleet", "ListEcsImports"),
    step("backfleet", "DeleteEcsImport", ImportId="<import>"),
    step("backfleet", "DeleteEcsAccount", Name="cloud"),
    step("backfleet", "CreateSsmAccount", Name="aws", KeyId="AKIA1", KeySecret="s", Endpoint="127.0.0.1:9"),
    step("backfleet", "ListSsmAccounts"),
    Step("backfleet", "ImportSsmInstances", {"AccountName": "aws", "CloudRegionId": REGION}, {}, "SsmRefused"),
    step("backfleet", "ListSsmImports"),
    step("backfleet", "DeleteSsmImport", ImportId="<import of AWS>"),
    step("backfleet", "DeleteSsmAccount", Name="aws"),
    step("backfleet", "PreviewRollout", Policy=POLICY),
    step("backfleet", "SimulateRollout", Policy=POLICY, Failures="50%", Seed=3, Preset="ssm-ramp"),
    step("backfleet", "CreateRollout", {"rollout": "RolloutId"}, Policy=POLICY),
    step("backfleet", "ListRollouts"),
    step("backfleet", "StartRollout", RolloutId="<rollout>"),
    step("backfleet", "DescribeRollout", RolloutId="<rollout>"),
    step("backfleet", "DescribeRolloutMembers", RolloutId="<rollout>"),
    step("backfleet", "DescribeRolloutEvents", RolloutId="<rollout>"),
    step("backfleet", "GetRolloutEvidence", RolloutId="<rollout>"),
    step("backfleet", "GetEvidenceKey"),
    step("backfleet", "HoldRolloutMember", RolloutId="<rollout>", ClientId="<client3>"),
    step("backfleet", "RetryRolloutMembers", RolloutId="<rollout>"),
    step("backfleet", "PauseRollout", RolloutId="<rollout>"),
    step("backfleet", "ResumeRollout", RolloutId="<rollout>"),
    Step("backfleet", "RollBackRollout", {"RolloutId": "<rollout>"}, {}, "IncorrectRolloutState"),  # no host is real
    step("backfleet", "ApproveRollout", RolloutId="<others>"),
    step("backfleet", "CancelRollout", RolloutId="<others>"),
    step("backfleet", "GetRelease", PackageName="courier", ReleaseVersion="2.0", Platform="linux-amd64"),
    step("backfleet", "ListChannels"),
    step("backfleet", "GetVersionScheme", PackageName="courier"),
    step("backfleet", "SetVersionScheme", PackageName="courier", Scheme="natural"),
    step("backfleet", "ListRuns"),
    step("backfleet", "SetClientChannel", ClientId="<client3>", Channel="stable"),
    step("backfleet", "PutPin", InstanceId="<host4>", PackageName="courier", Reason="year's end", Until="<until>"),
    step("backfleet", "ListPins"),
    step("backfleet", "DeletePin", InstanceId="<host4>", PackageName="courier", Reason="over"),
    step("backfleet", "PutMinimumVersion", PackageName="courier", MinimumVersion="1.0", Due="<until>", Reason="a hole"),
    step("backfleet", "ListMinimumVersions"),
    step("backfleet", "DeleteMinimumVersion", PackageName="courier", Reason="mended"),
    step("backfleet", "SetDefaultPackage", PackageName="courier"),
    step(
        "backfleet", "OfferRelease", PackageName="courier", ReleaseVersion="2.0", Platform="linux-amd64", Channel="beta"
    ),
    step("backfleet", "GetPendingSignatures"),
    step("backfleet", "WithdrawRelease", PackageName="courier", ReleaseVersion="2.0", Platform="linux-amd64"),
    step("backfleet", "DescribeServer"),
    step("backfleet", "GetServerHealth"),
    step("backfleet", "CreateConsoleLogin"),
    step("backfleet", "DescribeFleet", Query="web", State="Behind", PageSize=5),
    step("backfleet", "ReleaseServerHold"),
    step("backfleet", "DescribeInstance", InstanceId="<host1>"),
    step("backfleet", "ListInventory", InstanceId="<host1>"),
    step("backfleet", "NoteInstanceStopped", InstanceId="<host2>"),
    step("backfleet", "CreateAccount", AccountName="shop"),
    step("backfleet", "ListAccounts"),
    step("backfleet", "LookupEvents", LookupAttribute=[{"Key": "EventRW", "Value": "Write"}], MaxResults=5),
]
MACHINES = [
    ecs("DescribeRegions"),
    ecs("CreateActivation", {"activation": "ActivationId"}, InstanceCount=2, Tag=[{"Key": "a", "Value": "b"}]),
    ecs("DescribeActivations"),
    ecs("DisableActivation", ActivationId="<activation>"),
    ecs("DeleteActivation", ActivationId="<activation>"),
    ecs("DescribeInstances"),
    ecs("DescribeInstanceStatus"),
    ecs("DescribeManagedInstances", InstanceId=["<host1>", "<host2>"]),
    ecs("ModifyManagedInstance", InstanceId="<host1>", InstanceName="renamed"),
    ecs("DescribeCloudAssistantStatus", InstanceId=["<host1>"]),
    ecs("TagResources", ResourceType="managedinstance", ResourceId=["<host2>"], Tag=[{"Key": "x", "Value": "y"}]),
    ecs("ListTagResources", ResourceType="managedinstance", ResourceId=["<host2>"]),
    ecs("UntagResources", ResourceType="managedinstance", ResourceId=["<host2>"], TagKey=["x"]),
    ecs("DeregisterManagedInstance", InstanceId="<bare3>"),
]
COMMANDS = [
    ecs(
        "CreateCommand",
        {"command": "CommandId"},
        Name="hello",
        Type="RunShellScript",
        CommandContent="echo",
        ContentEncoding="PlainText",
    ),
    ecs("DescribeCommands", CommandId="<command>"),
    ecs("ModifyCommand", CommandId="<command>", Description="it greets"),
    ecs("InvokeCommand", {"invocation": "InvokeId"}, CommandId="<command>", InstanceId=["<host1>"]),
    ecs("RunCommand", Type="RunShellScript", CommandContent="echo", InstanceId=["<host1>", "<host2>"], Timeout=60),
    ecs("DescribeInvocations", InvokeId="<invocation>", IncludeOutput=True),
    ecs("DescribeInvocationResults", InvokeId="<invocation>"),
    ecs("StopInvocation", InvokeId="<invocation>"),
    ecs("SendFile", Name="motd", TargetDir="/tmp/x", Content="hello", InstanceId=["<host1>"]),
    ecs("DescribeSendFileResults"),
    ecs("DeleteCommand", CommandId="<command>"),
]
PEOPLE = [
    ram("CreateUser", UserName="bob"),
    ram("GetUser", UserName="bob"),
    ram("UpdateUser", UserName="bob", NewComments="on call"),
    ram("ListUsers", MaxItems=2),
    ram("CreateAccessKey", {"key": "AccessKey.AccessKeyId"}, UserName="bob"),
    ram("ListAccessKeys", UserName="bob"),
    ram("UpdateAccessKey", UserName="bob", UserAccessKeyId="<key>", Status="Inactive"),
    ram("DeleteAccessKey", UserName="bob", UserAccessKeyId="<key>"),
    ram("CreateGroup", GroupName="ops"),
    ram("GetGroup", GroupName="ops"),
    ram("UpdateGroup", GroupName="ops", NewComments="night"),
    ram("ListGroups"),
    ram("AddUserToGroup", UserName="bob", GroupName="ops"),
    ram("ListUsersForGroup", GroupName="ops"),
    ram("ListGroupsForUser", UserName="bob"),
    ram("CreatePolicy", PolicyName="own", PolicyDocument=ALL),
    ram("GetPolicy", **MINE),
    ram("UpdatePolicyDescription", PolicyName="own", NewDescription="everything"),
    ram("ListPolicies", MaxItems=3),
    ram("CreatePolicyVersion", PolicyName="own", PolicyDocument=ALL),
    ram("GetPolicyVersion", **MINE, VersionId="v2"),
    ram("ListPolicyVersions", **MINE),
    ram("SetDefaultPolicyVersion", PolicyName="own", VersionId="v2"),
    ram("DeletePolicyVersion", PolicyName="own", VersionId="v1"),
    ram("CreateRole", {"role": "Role.Arn"}, RoleName="Ops", AssumeRolePolicyDocument="<trust>"),
    ram("GetRole", RoleName="Ops"),
    ram("UpdateRole", RoleName="Ops", NewDescription="at night"),
    ram("ListRoles"),
    ram("TagResources", ResourceType="role", ResourceNames=["Ops"], Tag=[{"Key": "team", "Value": "web"}]),
    ram("ListTagResources", ResourceType="role", ResourceNames=["Ops"], PageSize=5),
    ram("UntagResources", ResourceType="role", ResourceNames=["Ops"], TagKeys=["team"]),
    ram("CreateServiceLinkedRole", ServiceName="ecsbackup.hbr.aliyuncs.com"),
    *(ram(f"AttachPolicyTo{kind}", **MINE, **{f"{kind}Name": name}) for kind, name in
      (("User", "bob"), ("Group", "ops"), ("Role", "Ops"))),
    ram("ListPoliciesForUser", UserName="bob"),
    ram("GetPermissionDecision", UserName="bob", ActionName="hbr:DescribeTask"),
    ram("ListPoliciesForGroup", GroupName="ops"),
    ram("ListPoliciesForRole", RoleName="Ops"),
    ram("ListEntitiesForPolicy", **MINE),
    step("sts", "GetCallerIdentity"),
    step("sts", "AssumeRole", RoleArn="<role>", RoleSessionName="night", DurationSeconds=900),
    ram("CreateOIDCProvider", OIDCProviderName="hub", IssuerUrl=ISSUER, ClientIds="backfleet", Keys="<keys>"),
    ram("GetOIDCProvider", OIDCProviderName="hub"),
    ram("UpdateOIDCProvider", OIDCProviderName="hub", NewDescription="builds"),
    ram("ListOIDCProviders"),
    ram("UpdateRole", RoleName="Ops", NewAssumeRolePolicyDocument="<federated>"),
    step("sts", "AssumeRoleWithOIDC", OIDCProviderArn="<provider>", RoleArn="<role>", RoleSessionName="build",
         OIDCToken="<token>"),
    ram("DeleteOIDCProvider", OIDCProviderName="hub"),
    *(ram(f"DetachPolicyFrom{kind}", **MINE, **{f"{kind}Name": name}) for kind, name in
      (("User", "bob"), ("Group", "ops"), ("Role", "Ops"))),
    ram("DeleteRole", RoleName="Ops"),
    ram("DeletePolicy", PolicyName="own"),
    ram("RemoveUserFromGroup", UserName="bob", GroupName="ops"),
    ram("DeleteGroup", GroupName="ops"),
    *(Step("ram", action, {"UserName": "bob"}, {}, f"EntityNotExist.User.{what}") for action, what in
      (("GetLoginProfile", "LoginProfile"), ("DeleteLoginProfile", "LoginProfile"),
       ("GetUserMFAInfo", "MFADevice"), ("UnbindMFADevice", "MFADevice"))),
    ram("DeleteUser", UserName="bob"),
    ram("DecodeDiagnosticMessage", EncodedDiagnosticMessage="<diagnosis>"),
]  # fmt: skip
SCENARIO = [*CLIENTS, *BACKFLEET, *MACHINES, *COMMANDS, *PEOPLE]


@dataclass(frozen=True, slots=True)
class Installation:
    """A server with hosts and clients, a user who may do everything, and a user who may do nothing."""

    server: Server
    somebody: Credentials
    nobody: Credentials
    known: dict[str, str]


def prepare(server: Server) -> Installation:
    """Make everything that the scenario begins with."""
    services, now = server.services, server.clock()
    env = Environment(services, services.settings.data, now, server.root_caller)
    known = {f"host{number}": env.host() for number in range(1, 6)}
    known |= {f"client{number}": env.client(known[f"host{number}"]) for number in range(1, 6)}
    known |= {f"bare{number}": env.host() for number in range(1, 4)}
    for number in (1, 2):
        known[f"gone{number}"] = env.client(env.host(), "", status=ClientStatus.NOT_INSTALLED)
    account = server.root_caller.account_id
    trust = [statement({"RAM": f"acs:ram::{account}:root"})]
    provider = f"acs:ram::{account}:oidc-provider/hub"
    known |= {
        "until": (now + timedelta(days=1)).isoformat(),
        "trust": document(*trust),
        "federated": document(*trust, statement({"Federated": provider})),
        "provider": provider,
        "keys": json.dumps({"keys": [public(ec_key("ours"))]}),
        "token": token(ec_key("ours"), {**CLAIMS, "iat": int(now.timestamp()), "exp": int(now.timestamp()) + 600}),
    }
    with services.database.transaction() as tx:
        tx.add(identity_tables()["accounts"], [{"id": OTHER, "created_at": now}])
        theirs = document(statement({"Service": "crossbackup.hbr.aliyuncs.com"}))
        identity.create_role(tx, OTHER, "cross", theirs, now=now, draw=services.draw)
    with services.database.transaction() as tx:
        from backfleet import releases

        releases.refresh(tx, services.repository, now=now)
        key = ecs_carrier.EcsAccount(account, "other-cloud", ecs_carrier.Source.KEY, now)
        ecs_carrier.add_account(tx, key)
        everything = ecs_carrier.Selection(REGION)
        imported = ecs_carrier.add_import(tx, account, key.name, everything, now=now, draw=services.draw)
        known["import"] = imported.import_id
        theirs_too = replace(key, name="other-aws", cloud=CarrierKind.SSM)
        ecs_carrier.add_account(tx, theirs_too)
        imported = ecs_carrier.add_import(
            tx, account, theirs_too.name, everything, CarrierKind.SSM, now=now, draw=services.draw
        )
        known["import of AWS"] = imported.import_id
    env.release("2.0")
    _, made = env.ask(VERSIONS["backfleet"], "CreateRollout", Policy=POLICY.replace("to 2.0", "of others"))
    known["others"] = made["RolloutId"]
    return Installation(server, server.user("somebody", "AdministratorAccess"), server.user("nobody"), known)


def identity_tables() -> Any:
    return identity._tables.metadata.tables  # type: ignore[attr-defined]


def statement(principal: dict[str, str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


def filled(parameters: Any, known: dict[str, str]) -> Any:
    """Return the parameters with each `<name>` replaced by what is known under it."""
    if isinstance(parameters, str) and parameters.startswith("<") and parameters.endswith(">"):
        return known[parameters[1:-1]]
    if isinstance(parameters, list):
        return [filled(member, known) for member in parameters]
    if isinstance(parameters, dict):
        return {name: filled(member, known) for name, member in parameters.items()}
    return parameters


def flat(operation: Operation, parameters: dict[str, Any]) -> dict[str, str]:
    """Return the parameters as a generic client takes them: the kind of a parameter says how a list travels."""
    kinds = {parameter.name: parameter.kind for parameter in parameters_of(operation.request)}
    found: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, list) and kinds[name].startswith("repeat"):
            for number, member in enumerate(value, 1):
                found |= _repeated(f"{name}.{number}", member)
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value)
    return found


def _repeated(name: str, member: Any) -> dict[str, str]:
    if not isinstance(member, dict):
        return {name: str(member)}
    found: dict[str, str] = {}
    for inner, value in member.items():
        if isinstance(value, list):
            found |= {f"{name}.{inner}.{number}": str(one) for number, one in enumerate(value, 1)}
        else:
            found[f"{name}.{inner}"] = str(value)
    return found


def at(body: dict[str, Any], path: str) -> str:
    """Return a member of an answer by its path."""
    found: Any = body
    for name in path.split("."):
        found = found[name]
    return str(found)
