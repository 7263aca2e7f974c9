"""Python: the typed client of a product where there is one that knows the call, else the generic client."""

import dataclasses
from typing import Any

from backfleet.samples._call import SampleCall, Value, snake
from backfleet.samples._quoting import python as quoted
from backfleet.samples._texts import AUTHORITY, KEY_ID, SECRET, TIMEOUT_MS, TOKEN, header
from backfleet.wire.parameters import Parameter, is_given, parameters_of

PACKAGES = {"hbr": "alibabacloud_hbr20170908", "ecs": "alibabacloud_ecs20140526", "sts": "alibabacloud_sts20150401"}
FURTHER = frozenset(
    {
        ("ModifyCommand", "ContentEncoding"),
        *(("InstallBackupClients", name) for name in ("PackageName", "Channel")),
        ("UninstallBackupClients", "RemoveState"),
        *(
            (f"{order}BackupClients", name)
            for order in ("Install", "Upgrade")
            for name in ("ReleaseVersion", "TryAgain", "ClientToken", "ExpiresInSeconds")
        ),
        *(("UninstallBackupClients", name) for name in ("ClientToken", "ExpiresInSeconds")),
    }
)
"""Parameters of ours, by operation, that the typed clients do not have: a test compares these tables with them."""
WITHOUT_REQUEST = frozenset({"DescribeRegions", "OpenHbrService", "GetCallerIdentity"})
"""Operations whose typed method takes no request (DescribeRegions: that of HBR)."""
JSON_TEXT = frozenset({("DescribeInstances", "InstanceIds"), ("DescribeInstances", "PrivateIpAddresses")})
"""Lists that the typed clients take as JSON text."""
ERRORS = "from alibabacloud_tea_openapi.exceptions import AlibabaCloudException"


def write(call: SampleCall) -> str:
    """Return the code for the typed client, or for the generic one if the typed one cannot make the call."""
    operation = call.operation
    package = PACKAGES.get(operation.product.code)
    names = {(operation.name, parameter.name) for parameter in _given(call)}
    if package is None or names & FURTHER:
        return write_generic(call)
    method = snake(operation.name)
    if operation.name in WITHOUT_REQUEST and operation.product.code != "ecs":
        request, asked = "", ""
    else:
        request, asked = f"request = models.{operation.name}Request({_arguments(call)})\n", "request"
    imports = [
        *([f"from {package} import models"] if asked else []),
        f"from {package}.client import Client",
        ERRORS,
        "from alibabacloud_tea_openapi.models import Config",
    ]
    return _program(
        call, f"`pip install {package}`", imports, f"{request}{_trying(f'client.{method}({asked}).body.to_map()')}"
    )


def write_generic(call: SampleCall) -> str:
    """Return the code for the generic client."""
    imports = [
        "from alibabacloud_tea_openapi.client import Client",
        ERRORS,
        "from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params",
        "from alibabacloud_tea_util.models import RuntimeOptions",
    ]
    operation = call.operation
    pairs = "".join(f"    {quoted(value.name)}: {_text(value)},\n" for value in call.values)
    values = f"{{\n{pairs}}}" if pairs else "{}"
    sent = f'query=parameters, stream=open({quoted(call.file)}, "rb")' if operation.streams else "body=parameters"
    body = f"""operation = Params(
    action={quoted(operation.name)},
    version={quoted(operation.product.version)},
    protocol={quoted(call.target.protocol)},
    method="POST",
    auth_type="AK",
    style="RPC",
    pathname="/",
    req_body_type="formData",
    body_type="json",
)
parameters = {values}
""" + _trying(f'client.call_api(operation, OpenApiRequest({sent}), RuntimeOptions())["body"]')
    return _program(call, "`pip install alibabacloud_tea_openapi`", imports, body)


def _program(call: SampleCall, needs: str, imports: list[str], body: str) -> str:
    comment = "\n".join(header(call, needs)).replace("\\", "\\\\")
    lines = "\n".join(imports)
    return f'''"""{comment}
"""

import json
import os
import sys

{lines}

client = Client(
    Config(
        access_key_id=os.environ["{KEY_ID}"],
        access_key_secret=os.environ["{SECRET}"],
        security_token=os.environ.get("{TOKEN}"),
        ca=os.environ.get("{AUTHORITY}"),
        endpoint={quoted(call.target.endpoint)},
        protocol={quoted(call.target.protocol)},
        region_id={quoted(call.target.region)},
        read_timeout={TIMEOUT_MS},
        connect_timeout={TIMEOUT_MS},
    )
)
{body}if answer.get("Success") is False:
    sys.exit(f"{{answer.get('Code')}}: {{answer.get('Message')}} (RequestId {{answer.get('RequestId')}})")
print(json.dumps(answer, indent=2, ensure_ascii=False))
'''


def _trying(expression: str) -> str:
    return f"""try:
    answer = {expression}
except AlibabaCloudException as problem:
    sys.exit(f"{{problem.code}}: {{problem.message}}")
"""


def _text(value: Value) -> str:
    return f'os.environ["{value.variable}"]' if value.variable else quoted(value.text)


def _given(call: SampleCall) -> list[Parameter]:
    return [parameter for parameter in parameters_of(call.operation.request) if is_given(parameter, call.flat)]


def _arguments(call: SampleCall) -> str:
    lines = [f"    {snake(parameter.name)}={_argument(call, parameter)},\n" for parameter in _given(call)]
    return f"\n{''.join(lines)}" if lines else ""


def _argument(call: SampleCall, parameter: Parameter) -> str:
    as_text = parameter.limits.get("secret") or (call.operation.name, parameter.name) in JSON_TEXT
    for value in call.values:
        if as_text and value.name == parameter.name:
            return _text(value)
    return _literal(parameter.read(call.flat), f"models.{call.operation.name}Request{parameter.name}", 4)


def _literal(value: Any, model: str, indent: int) -> str:
    """Return a value as code; objects are of this model."""
    space = " " * (indent + 4)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        members = "".join(f"{space}{_literal(member, model, indent + 4)},\n" for member in value)
        return f"[\n{members}{' ' * indent}]" if members else "[]"
    if isinstance(value, dict):
        members = "".join(
            f"{space}{quoted(name)}: {_literal(member, model, indent + 4)},\n" for name, member in value.items()
        )
        return f"{{\n{members}{' ' * indent}}}" if members else "{}"
    if dataclasses.is_dataclass(value):
        return _object(value, model, indent)
    return repr(value)


def _object(value: Any, model: str, indent: int) -> str:
    space = " " * (indent + 4)
    pairs = zip(parameters_of(type(value)), dataclasses.fields(value), strict=True)
    members = "".join(
        f"{space}{snake(parameter.name)}={_literal(found, model + parameter.name, indent + 4)},\n"
        for parameter, field in pairs
        if (found := getattr(value, field.name)) not in (None, ())
    )
    return f"{model}(\n{members}{' ' * indent})"
