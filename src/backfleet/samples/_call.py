"""One call that is shown as code: its operation, its values, and the server that it goes to."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from backfleet.operations.catalogue import Operation
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import Parameter, faults, merge, parameters_of, unknown_names

ENDPOINT = re.compile(r"[A-Za-z0-9._:\[\]-]{1,260}")
PLACEHOLDER = "-"  # stands for the value of a secret where a call is checked
DEFAULT_FILE = "FILE"


class BadCall(Exception):
    """A call that cannot be shown; the text says what is wrong and what to do."""


@value_object
class Target:
    """The server that a sample calls."""

    endpoint: str  # host:port
    region: str
    protocol: str = "HTTPS"  # or HTTP

    @property
    def address(self) -> str:
        """The address with its scheme."""
        return f"{self.protocol.lower()}://{self.endpoint}"


@value_object
class Value:
    """One parameter as it is on the wire: its text, or the environment variable that holds it where it is a secret."""

    name: str
    text: str = ""
    variable: str = ""


@value_object
class SampleCall:
    """A call that the server's own description accepts."""

    operation: Operation
    values: tuple[Value, ...]
    target: Target
    file: str = DEFAULT_FILE  # what an operation that takes a file sends

    @property
    def flat(self) -> dict[str, str]:
        """The parameters by name; secrets are placeholders."""
        return {value.name: value.text or PLACEHOLDER for value in self.values}

    @property
    def variables(self) -> list[str]:
        """The environment variables that hold values of parameters."""
        return [value.variable for value in self.values if value.variable]


def sample_call(
    operation: Operation, values: Mapping[str, str], target: Target, file: str = DEFAULT_FILE
) -> SampleCall:
    """Return a call with these values. Empty values are left out; the values of secrets are never part of it.

    An operation that needs a RegionId gets the target's where none is given.

    Raises:
        BadCall: an unknown parameter, or a value that the operation does not accept.
    """
    if not ENDPOINT.fullmatch(target.endpoint):
        raise BadCall(f"{target.endpoint!r} is no endpoint; write HOST:PORT")
    secrets = {parameter.name for parameter in parameters_of(operation.request) if parameter.limits.get("secret")}
    given = {name: PLACEHOLDER if name in secrets else value for name, value in values.items()}
    given = {name: value for name, value in given.items() if value}
    if not any(parameter.name == "RegionId" for parameter in parameters_of(operation.request)):
        given.pop("RegionId", None)  # clients of the cloud give it to every operation
    needed = {parameter.name for parameter in parameters_of(operation.request) if parameter.required}
    if "RegionId" in needed:
        given.setdefault("RegionId", target.region)
    given |= dict.fromkeys(secrets & needed, PLACEHOLDER)
    _check(operation, given)
    found = tuple(
        Value(name, variable=variable_of(name)) if name in secrets else Value(name, text)
        for name, text in given.items()
    )
    return SampleCall(operation, found, target, file)


def variable_of(name: str) -> str:
    """Return the environment variable that holds the value of a secret parameter: OIDCToken -> OIDC_TOKEN."""
    return re.sub(r"([a-z\d])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name).upper()


def snake(name: str) -> str:
    """Return a name in lower case with underscores as the official Python clients form it: OSType -> ostype."""
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()


def _check(operation: Operation, given: Mapping[str, str]) -> None:
    try:
        merge(given.items())
    except InvalidParameter as problem:
        raise BadCall(problem.message) from None
    check_names(operation, given)
    wrong = faults(operation.request, given)
    if wrong:
        raise BadCall(" ".join(wrong.values()))


def check_names(operation: Operation, given: Mapping[str, str]) -> None:
    """Refuse parameters that the operation does not have. Every operation may get a RegionId.

    Raises:
        BadCall: the first of them; the text names what comes close.
    """
    for name in unknown_names(operation.request, given):
        if name != "RegionId":
            raise BadCall(f"{operation.name} has no parameter {name!r}; {_suggestion(operation, name)}")


def _suggestion(operation: Operation, name: str) -> str:
    names = [shown for parameter in parameters_of(operation.request) for shown in written_names(parameter)]
    if not names:
        return "it takes none"
    lower = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), lower, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(lower[each] for each in close)}?" if close else f"it has {', '.join(names)}"


def written_names(parameter: Parameter, prefix: str = "") -> list[str]:
    """Return the names under which a parameter is written; of a repeated one the first."""
    name = prefix + parameter.name
    if parameter.kind == "repeat objects":
        return [each for inner in parameters_of(parameter.limits["of"]) for each in written_names(inner, f"{name}.1.")]
    return [f"{name}.1" if parameter.kind == "repeat list" else name]
