"""Numbers are written in ASCII digits: those of other scripts, which int() takes too, are refused everywhere."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from backfleet.cli import main
from backfleet.cli._options import WholeNumber
from backfleet.outbound import Destinations
from backfleet.rollouts.policy.recurrences import Malformed
from backfleet.rollouts.policy.times import read_times
from backfleet.sockets import CannotListen, bind

FULL_WIDTH = {ord(digit): 0xFF10 + int(digit) for digit in "0123456789"}


def commands(group: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with its words."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):  # modules of commands are imported when they are asked for
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, *path, name)
    else:
        yield " ".join(path), group


OPTIONS = [
    (words, parameter)
    for words, command in commands(main)
    for parameter in command.params
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
]
assert len(OPTIONS) > 10


@pytest.mark.parametrize(("words", "parameter"), OPTIONS, ids=[f"{words} {each.name}" for words, each in OPTIONS])
def test_every_option_that_is_a_number_takes_only_ascii_digits(words: str, parameter: click.Parameter) -> None:
    """Also no underscores and no spaces, which Python takes in a number."""
    kind = parameter.type
    assert isinstance(kind, WholeNumber), f"{words} --{parameter.name}"
    assert kind.convert(str(kind.min), None, None) == kind.min
    for written in (str(kind.min).translate(FULL_WIDTH), "1_0", " 1", "1.0", "", "9" * 5000):
        with pytest.raises(click.BadParameter, match="no whole number"):
            kind.convert(written, None, None)


def test_the_command_line_names_what_it_found() -> None:
    """Before it asks the server."""
    written = "25".translate(FULL_WIDTH)
    found = CliRunner().invoke(main, ["audit", "--limit", written])
    assert found.exit_code == 2
    assert f"'{written}' is no whole number in the digits 0 to 9" in found.output


def test_addresses_have_ascii_ports() -> None:
    """Of our own listeners, and of those whom rollouts may ask."""
    with pytest.raises(CannotListen, match="HOST:PORT"):
        bind("http", "127.0.0.1:" + "8080".translate(FULL_WIDTH))
    with pytest.raises(ValueError, match="neither a name"):
        Destinations.read("gate.example.com:" + "8080".translate(FULL_WIDTH), "")


@pytest.mark.parametrize(
    "text", ["22:00-04:00", "DTSTART:20260105 FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "FREQ=MONTHLY;BYMONTHDAY=1 22:00-23:00"]
)
def test_windows_have_ascii_digits(text: str) -> None:
    """In hours, days and recurrences."""
    with pytest.raises(Malformed):
        read_times(text.translate(FULL_WIDTH))
