"""The `backfleet` command."""

from backfleet.samples._call import BadCall, SampleCall
from backfleet.samples._finding import find_operation
from backfleet.samples._quoting import shell
from backfleet.samples._texts import commented, header


def write(call: SampleCall) -> str:
    """Return the command."""
    return f"{commented(header(call, 'the `backfleet` command'), '#')}\n{command(call)}\n"


def command(call: SampleCall) -> str:
    """Return the command without comments."""
    lines = [f"backfleet call {full_name(call)} --endpoint {shell(call.target.address)}"]
    if call.operation.streams:
        lines.append(f"--file {shell(call.file)}")
    for value in call.values:
        given = f"{value.name}={value.variable or value.text}"
        lines.append(f"--secret {shell(given)}" if value.variable else shell(given))
    return " \\\n  ".join(lines)


def full_name(call: SampleCall) -> str:
    """Return the name of an operation; with its product where another product has an operation of this name."""
    name = call.operation.name
    try:
        find_operation(name)
    except BadCall:
        return f"{call.operation.product.code}:{name}"
    return name
