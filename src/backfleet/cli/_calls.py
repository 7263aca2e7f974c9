"""backfleet call and backfleet sample: any operation, called or shown as code."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, NoConnection, server_address
from backfleet.cli._options import calls_the_api, fail, json_option
from backfleet.cli._print import print_json

if TYPE_CHECKING:
    from backfleet.operations.catalogue import Operation

PAIR = "KEY=VALUE"
REGION = "cn-hangzhou"  # of a server whose settings name no other
LANGUAGES = "python, python-generic, typescript, go, java, aliyun, backfleet, curl"


def _no_bytes(_number: int) -> None:
    """Report nothing of an upload's progress."""


@click.command()
@click.argument("operation")
@click.argument("values", nargs=-1, metavar=f"[{PAIR}]...")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="KEY=VARIABLE",
    help="Take a value from this environment variable: command lines can be read by others.",
)
@click.option("--file", type=click.Path(path_type=Path), help="What an operation that takes a file gets.")
@json_option
@calls_the_api
def call(
    client: Client,
    operation: str,
    values: tuple[str, ...],
    secrets: tuple[str, ...],
    file: Path | None,
    as_json: bool,  # its answer is JSON in any case, its errors only so
) -> None:
    """Call an operation with values as they are on the wire, and print its answer as JSON.

    OPERATION is a name of docs/reference, such as DescribeTask; hbr:DescribeRegions where two products have it.
    """
    found = _found(operation)
    given = _pairs(values)
    _check(found, given | dict.fromkeys(_pairs(secrets), "-"))
    given |= {name: _variable(name, variable) for name, variable in _pairs(secrets).items()}
    if not found.streams:
        if file is not None:
            fail(f"{found.name} takes no file; leave out --file")
        print_json(client.call(found.product.code, found.name, **given))
    elif file is None or not file.is_file():
        fail(f"{found.name} sends a file; name one with --file{f', for {file} is none' if file else ''}")
    else:
        print_json(client.upload(found.name, file, _no_bytes, None, **given))


@click.command()
@click.argument("operation")
@click.argument("values", nargs=-1, metavar=f"[{PAIR}]...")
@click.option("--language", default="python", show_default=True, metavar="NAME", help=f"One of {LANGUAGES}.")
@click.option("--endpoint", metavar="HOST:PORT", help="The server. Default: that of the local data folder.")
@click.option("--region", help=f"The region of the server. Default: that of the profile, else {REGION}.")
@click.option("--file", default="FILE", show_default=True, help="What an operation that takes a file gets.")
@click.option("--data", type=click.Path(path_type=Path), help="The local data folder.")
@json_option
def sample(
    operation: str,
    values: tuple[str, ...],
    language: str,
    endpoint: str | None,
    region: str | None,
    file: str,
    data: Path | None,
    as_json: bool,
) -> None:
    """Print a call of an operation as code that runs as it stands.

    OPERATION is a name of docs/reference, such as DescribeTask; hbr:DescribeRegions where two products have it. Keys,
    tokens and values of secret parameters are never part of the code: it reads them from the environment.
    """
    try:
        server, known_region = server_address(ConnectionFlags(endpoint=endpoint, data=data))
    except NoConnection as problem:
        fail(str(problem))
    samples, address = _samples(), urlsplit(server)
    target = samples.Target(address.netloc, region or known_region or REGION, address.scheme.upper())
    try:
        shown = samples.sample_call(_found(operation), _pairs(values), target, file)
        code = samples.make_sample(shown, language).code
    except samples.BadCall as problem:
        fail(str(problem))
    if as_json:
        print_json({"Language": language, "Code": code})
    else:
        click.echo(code, nl=False)


def _samples() -> ModuleType:
    """Return the package, with every operation in the catalogue: imported late, for other commands need none of it."""
    import backfleet.operations  # noqa: F401
    from backfleet import samples

    return samples


def _found(name: str) -> "Operation":
    samples = _samples()
    try:
        found: Operation = samples.find_operation(name)
    except samples.BadCall as problem:
        fail(str(problem))
    return found


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            fail(f"{text!r} is no parameter; write {PAIR}")
        if name in found:
            fail(f"{name} is given twice")
        found[name] = value
    return found


def _check(operation: "Operation", values: Mapping[str, str]) -> None:
    """Refuse the names that the API would ignore. The server is asked for everything else."""
    samples = _samples()
    try:
        samples.check_names(operation, values)
    except samples.BadCall as problem:
        fail(str(problem))


def _variable(name: str, variable: str) -> str:
    if variable not in os.environ:
        fail(f"the environment variable {variable} is not set; it should hold the value of {name}")
    return os.environ[variable]
