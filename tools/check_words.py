"""Report retired words in source files: `check_words.py [PATH...]`, `src` unless paths are given. Exits with 1 if any.

The words stand in docs/glossary.md. Those retired everywhere are looked for in names, comments, docstrings and
messages; those retired as names in identifiers only. A string that is one of the words that stay is no finding.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent
GLOSSARY = PROJECT / "docs" / "glossary.md"
NAMES_IN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Retired:
    """The words of the glossary's last three sections."""

    everywhere: frozenset[str]
    as_names: frozenset[str]
    staying: frozenset[str]


def read_glossary(text: str) -> Retired:
    """Return the retired words that a glossary page lists.

    Raises:
        ValueError: a section is missing or empty, so that the check would pass for everything.
    """
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}
    tables = [_first_column(sections.get(name, "")) for name in ("Retired everywhere", "Retired as names in code")]
    staying = frozenset(re.findall(r"`([^`]+)`", sections.get("Words that stay", "")))
    if not all(tables):
        raise ValueError("the glossary lists no retired words")
    return Retired(tables[0], tables[1], staying)


def _first_column(section: str) -> frozenset[str]:
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return frozenset(word.strip() for row in rows if row not in ("retire", "---") for word in row.split(","))


def findings(source: str, retired: Retired) -> Iterator[tuple[int, str]]:
    """Yield the line and the word of every retired word in a Python source."""
    anywhere = re.compile(rf"\b({'|'.join(sorted(map(re.escape, retired.everywhere), key=len, reverse=True))})\b", re.I)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line, text = token.start[0], token.string
        if token.type == tokenize.NAME:
            words = [word.lower() for word in NAMES_IN.findall(text)]
            yield from ((line, word) for word in words if word in retired.as_names | retired.everywhere)
        elif token.type == tokenize.COMMENT or (token.type == tokenize.STRING and not _stays(text, retired)):
            for found in anywhere.finditer(re.sub(r"_", " ", _without_staying(text, retired))):
                yield line + text[: found.start()].count("\n"), found[0].lower()


def _stays(literal: str, retired: Retired) -> bool:
    try:
        return ast.literal_eval(literal) in retired.staying
    except (ValueError, SyntaxError, TypeError):  # an f-string, or one with names in it
        return False


def _without_staying(text: str, retired: Retired) -> str:
    """Return the text with quoted words that stay blanked out, in its own length."""
    for word in retired.staying:
        text = re.sub(rf"([`\"'])({re.escape(word)})\1", lambda found: " " * len(found[0]), text)
    return text


def main(paths: list[str]) -> int:
    """Print every finding under these paths; return the exit code."""
    retired = read_glossary(GLOSSARY.read_text())
    count = 0
    for path in paths or [str(PROJECT / "src")]:
        for file in sorted(Path(path).rglob("*.py")) if Path(path).is_dir() else [Path(path)]:
            for word in sorted({word.lower() for word in NAMES_IN.findall(file.stem)} & retired.everywhere):
                print(f"{file}: its name has the retired word {word!r}")
                count += 1
            for line, word in findings(file.read_text(), retired):
                print(f"{file}:{line}: {word!r} is retired; docs/glossary.md has the word to use")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
