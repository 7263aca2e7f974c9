"""Every command line in the documentation is one that the programs take: its commands, and its options."""

import argparse
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from backfleet.cli import main
from backfleet_host.__main__ import _parser
from documents import PROJECT, blocks_of

PAGES = [
    page
    for page in sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
    if page.parent.name not in ("decisions", "reference")
]
_ENDS = re.compile(r"\s(?:\||>|>>|2>|<|&&|\|\||&|;|#)(?:\s|$)|[;)]|\s#|\$\(")
_PROGRAM = re.compile(r"(?:^|[\s(`/])(backfleet(?:-host)?) +(?!backfleet )(?=[a-z-])")
_OPTION = re.compile(r"--?[a-z][a-z-]*")


def command_lines(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each program with what follows it: in blocks, and in code between words."""
    name = str(page.relative_to(PROJECT))
    text = page.read_text()
    texts = [block.text.replace("\\\n", " ") for block in blocks_of(name) if block.language in ("bash", "text")]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    texts += [code for code in re.findall(r"`([^`\n]+)`", outside) if code.startswith("backfleet")]
    for line in "\n".join(texts).splitlines():
        for found in _PROGRAM.finditer(line):
            if not line.lstrip().startswith("#"):
                yield found[1], _ENDS.split(line[found.end() :])[0].strip().rstrip("`'\".,:")


@cache
def host_parser() -> argparse.ArgumentParser:
    return _parser()


def host_options(words: list[str]) -> set[str]:
    """Return the options of a command of the host program. Raises KeyError if there is none of the name."""
    (commands,) = (each for each in host_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return set(commands.choices[words[0]]._option_string_actions)


def server_options(words: list[str]) -> set[str]:
    """Return the options of a command of the command line. Raises KeyError if there is none of the name."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            raise KeyError(word)
        command = found
    return {"--help", "-h", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}


def alternatives(words: list[str]) -> Iterator[list[str]]:
    """Yield `list` and `remove` of `list|remove`."""
    for at, word in enumerate(words):
        if "|" in word and not word.startswith("-"):
            for one in word.split("|"):
                yield from alternatives([*words[:at], one, *words[at + 1 :]])
            return
    yield words


def check(program: str, line: str) -> None:
    """Raise KeyError or AssertionError for a command or an option that the program does not have."""
    try:
        words = shlex.split(line.replace("[", " ").replace("]", " "))
    except ValueError:
        words = line.split()
    for each in alternatives(words):
        if program == "backfleet" and each[0].startswith("-"):
            continue
        known = host_options(each) if program == "backfleet-host" else server_options(each)
        used = {found[0] for word in each[1:] if (found := _OPTION.match(word))}
        assert used <= known, f"{program} {line}: {sorted(used - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    for program, line in command_lines(page):
        try:
            check(program, line)
        except KeyError as problem:
            pytest.fail(f"{program} {line}: there is no {problem}")


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    check("backfleet", "client upgrade web-1 --wait")
    with pytest.raises(KeyError):
        check("backfleet", "client update web-1")
    with pytest.raises(AssertionError):
        check("backfleet", "client upgrade web-1 --force")
    with pytest.raises(KeyError):
        check("backfleet-host", "leave")
    with pytest.raises(AssertionError):
        check("backfleet-host", "remove --keep")
    assert sum(1 for page in PAGES for _ in command_lines(page)) > 150
