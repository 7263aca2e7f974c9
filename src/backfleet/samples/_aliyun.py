"""The `aliyun` command: it reads key and token from the environment itself."""

from backfleet.samples._call import BadCall, SampleCall
from backfleet.samples._quoting import shell
from backfleet.samples._texts import AUTHORITY, commented, header

SECURE = {"HTTPS": "--secure", "HTTP": "--insecure"}


def write(call: SampleCall) -> str:
    """Return the command.

    Raises:
        BadCall: the operation takes a file, which the command does not send.
    """
    operation, target = call.operation, call.target
    if operation.streams:
        raise BadCall(f"the aliyun command sends no files, and {operation.name} takes one; use curl or backfleet")
    lines = [
        f'SSL_CERT_FILE="${{{AUTHORITY}:-$SSL_CERT_FILE}}" aliyun {operation.product.code} {operation.name}',
        f"--version {operation.product.version} --force --method POST {SECURE[target.protocol]}",
        f"--endpoint {shell(target.endpoint)} --region {shell(target.region)}",
    ]
    for value in call.values:
        given = f'"${value.variable}"' if value.variable else shell(value.text)
        lines.append(f"--{value.name} {given}")
    command = " \\\n  ".join(lines)
    return f"{commented(header(call, 'the `aliyun` command'), '#')}\n{command}\n"
