"""Report retired words in Python files: `check_words.py [PATH...]`, `src` unless paths are given. Exits with 1 if any.

The words are listed in docs/glossary.md. Those retired everywhere are looked for in names, file names, comments,
docstrings and messages; those retired as names in names and file names only. The words that stay are no findings where
they are quoted or are a whole string.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PROJECT = Path(__file__).parent.parent
GLOSSARY = PROJECT / "docs" / "glossary.md"
WORDS_IN_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Retired:
    """The words of the glossary's last three sections."""

    everywhere: frozenset[str]
    as_names: frozenset[str]
    staying: frozenset[str]

    @cached_property
    def in_text(self) -> re.Pattern[str]:
        """Match a word or term that may not be written anywhere."""
        return _any_of(self.everywhere)

    @cached_property
    def in_names(self) -> re.Pattern[str]:
        """Match a word or term that may not be part of a name."""
        return _any_of(self.everywhere | self.as_names)


def _any_of(terms: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(terms, key=lambda term: (-len(term), term))
    escaped = [r"\s+".join(map(re.escape, term.split())) for term in longest_first]
    return re.compile(rf"\b({'|'.join(escaped)})\b", re.IGNORECASE)


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


def findings(source: str, retired: Retired) -> list[tuple[int, str]]:
    """Return the line and the word of every retired word in a Python source, in the order of lines."""
    found = [*_in_comments(source, retired)]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and node.value not in retired.staying:
                found += _in_string(node, node.value, source, retired)
        else:
            found += [(getattr(node, "lineno", 1), word) for name in _names(node) for word in in_name(name, retired)]
    return sorted(found)


def in_name(name: str, retired: Retired) -> list[str]:
    """Return the retired words in an identifier, a dotted name or the name of a file."""
    if "_" in name and name in retired.staying:  # a setting and its field have one name
        return []
    return _words(retired.in_names, " ".join(WORDS_IN_NAME.findall(name)))


def _names(node: ast.AST) -> Iterator[str]:
    for _, value in ast.iter_fields(node):
        yield from (name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))


def _in_string(node: ast.Constant, text: str, source: str, retired: Retired) -> Iterator[tuple[int, str]]:
    """Yield the words of a string; the line is exact where the source has the string's own line breaks."""
    text = _without_staying(text, retired)
    breaks_in_source = (node.end_lineno or node.lineno) - node.lineno
    exact = breaks_in_source == text.count("\n")
    for match in retired.in_text.finditer(text.replace("_", " ")):
        word = _plain(match[0])
        line = node.lineno + text[: match.start()].count("\n") if exact else _line_with(word, node, source)
        yield line, word


def _line_with(word: str, node: ast.Constant, source: str) -> int:
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    for number, line in enumerate(lines, node.lineno):
        if word in line.lower():
            return number
    return node.lineno


def _in_comments(source: str, retired: Retired) -> Iterator[tuple[int, str]]:
    """Yield the words of comments. Lines of comment that follow each other are read as one text."""
    blocks: list[tuple[int, list[str]]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if blocks and blocks[-1][0] + len(blocks[-1][1]) == token.start[0]:
                blocks[-1][1].append(token.string.lstrip("#"))
            else:
                blocks.append((token.start[0], [token.string.lstrip("#")]))
    for first, lines in blocks:
        text = _without_staying("\n".join(lines), retired)
        for match in retired.in_text.finditer(text.replace("_", " ")):
            yield first + text[: match.start()].count("\n"), _plain(match[0])


def _words(pattern: re.Pattern[str], text: str) -> list[str]:
    return [_plain(match[0]) for match in pattern.finditer(text)]


def _plain(found: str) -> str:
    return " ".join(found.lower().split())


def _without_staying(text: str, retired: Retired) -> str:
    """Return the text with quoted words that stay blanked out, in its own length."""
    for word in retired.staying:
        text = re.sub(rf"([`\"'])({re.escape(word)})\1", lambda found: " " * len(found[0]), text)
    return text


def main(paths: list[str]) -> int:
    """Print every finding under these paths; return the exit code."""
    retired = read_glossary(GLOSSARY.read_text())
    count = 0
    for top in map(Path, paths or [str(PROJECT / "src")]):
        for file in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            own_name = file.relative_to(top).with_suffix("") if top.is_dir() else Path(file.stem)
            for word in in_name("/".join(own_name.parts), retired):
                print(f"{file}: its name has the retired word {word!r}; docs/glossary.md has the word to use")
                count += 1
            for line, word in findings(file.read_text(), retired):
                print(f"{file}:{line}: {word!r} is retired; docs/glossary.md has the word to use")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
