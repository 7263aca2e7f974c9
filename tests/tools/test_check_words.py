"""A retired word is found wherever it is written, with its line, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from check_words import GLOSSARY, PROJECT, findings, in_name, main, read_glossary

PAGE = """
# Glossary

## Terms

| term | meaning |
|---|---|
| shop | where things are sold |

## Retired everywhere

| retire | use |
|---|---|
| barrow, barrows | shop |
| held back | quarantined |

## Retired as names in code

| retire | use |
|---|---|
| told | reported |

## Words that stay

Written as they are: `barrow`, `held_back_hours`.
"""
RETIRED = read_glossary(PAGE)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("barrow = 1", [(1, "barrow")]),
        ("\nsmall_barrow = 1", [(2, "barrow")]),
        ("def open(barrows): ...", [(1, "barrows")]),
        ("class RedBarrow: ...", [(1, "barrow")]),
        ("x.told()", [(1, "told")]),
        ("f(told=1)", [(1, "told")]),
        ("from a.told import b as barrow", [(1, "barrow"), (1, "told")]),
        ("def f():\n    global told", [(2, "told")]),
        ("x = 1  # a Barrow is here", [(1, "barrow")]),
        ("# it is held\n# back", [(1, "held back")]),
        ("held_back = 1", [(1, "held back")]),
        ("'the barrow is shut'", [(1, "barrow")]),
        ("f'the {x} barrow'", [(1, "barrow")]),
        ("f'the {told}'", [(1, "told")]),
        ("f'the {x!r:>{barrows}}'", [(1, "barrows")]),
        ("x = (\n    'the '\n    'barrow'\n)", [(3, "barrow")]),
        ("x = 'held ' 'back'", [(1, "held back")]),
        ("x = 'first\\nthe barrow'", [(1, "barrow")]),
        ('"""One.\n\nThe barrow.\n"""', [(3, "barrow")]),
        ('"""One is held\nback.\n"""', [(1, "held back")]),
        ("x = rb'barrow'", []),
        ("'barrow'", []),
        ("x['held_back_hours']", []),
        ("held_back_hours = 1", []),
        ("'the `barrow` key'", []),
        ("# 'barrow' on the wire", []),
        ("'she told me'  # and he told her", []),
        ("wheelbarrowing = untold = 'barrowful'", []),
    ],
)
def test_words_are_found_with_their_lines(source: str, expected: list[tuple[int, str]]) -> None:
    assert findings(source, RETIRED) == expected


def test_a_long_f_string_names_the_line_of_the_word_or_its_beginning() -> None:
    source = 'x = f"""\n{a}\nbarrow\n"""'
    ((line, word),) = findings(source, RETIRED)
    assert word == "barrow"
    assert line in (1, 3)  # Python 3.11 knows only where an f-string begins and ends


@pytest.mark.parametrize(("name", "words"), [("the_barrow", ["barrow"]), ("a/told/b", ["told"]), ("shop", [])])
def test_names_of_files_and_folders_are_names(name: str, words: list[str]) -> None:
    assert in_name(name, RETIRED) == words


@pytest.mark.parametrize("section", ["## Retired everywhere", "## Retired as names in code"])
def test_a_glossary_that_lists_nothing_is_an_error(section: str) -> None:
    with pytest.raises(ValueError, match="no retired words"):
        read_glossary(PAGE.replace(section, "## Something else"))


def test_the_projects_own_glossary_is_read_whole() -> None:
    retired = read_glossary(GLOSSARY.read_text())
    assert {"house", "held back", "patience"} <= retired.everywhere
    assert {"told", "ear"} <= retired.as_names
    assert {"keeps", "held_back_hours"} <= retired.staying


def test_a_retired_word_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "a.py").write_text("x = 1\ntold = 2\n")
    assert main([str(tmp_path)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("its name has the retired word 'door'; docs/glossary.md has the word to use")
    assert second.endswith("a.py:2: 'told' is retired; docs/glossary.md has the word to use")


def test_plain_words_pass(tmp_path: Path) -> None:
    file = tmp_path / "endpoint.py"
    file.write_text("reported = 1\n")
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / "check_words.py", file], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")
