"""The blocks of a Markdown page, each with the comment above it: what tests of the documentation work on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
_ANY_LANGUAGE = re.compile(r"(?P<language>[^\n]*)$\n", re.MULTILINE)
_COMMENT_ABOVE = re.compile(r"<!-- (?P<kind>example|not run): (?P<text>[^\n]+?) -->\n\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block: an invisible comment right above it may name it, or say why it does not run."""

    page: str  # its path in the project
    section: str  # the heading of the second level above it
    line: int
    language: str
    text: str
    example: str = ""
    not_run: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> Iterator[Block]:
    """Yield every fenced block of a page of this project, in order."""
    return blocks_in(page, (PROJECT / page).read_text())


def blocks_in(page: str, text: str) -> Iterator[Block]:
    """Yield every fenced block of a text, in order."""
    from sybil import Document  # here: an environment from before it was needed can still collect the tests
    from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

    for region in RawFencedCodeBlockLexer(_ANY_LANGUAGE)(Document(text, page)):
        above = _COMMENT_ABOVE.search(text[: region.start])
        named = {above["kind"]: above["text"]} if above else {}
        line = text.count("\n", 0, region.start) + 1
        language, source = region.lexemes["language"].strip(), str(region.lexemes["source"])
        headings = re.findall(r"^## (.+)$", text[: region.start], re.MULTILINE)
        section = headings[-1] if headings else ""
        yield Block(page, section, line, language, source, named.get("example", ""), named.get("not run", ""))
