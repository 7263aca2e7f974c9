"""Build the documentation as a site: plain pages, with a search, that ask no other host for anything.

The pages are those of the repository, in the places that they have there, so that one relative link works in both. The
navigation is read from `docs/README.md`: each of its sections with a list of links is one, in that order. A link that
leads nowhere, a heading that is not there, and a page that is in no list end the build.

    python tools/build_site.py build/site
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

PROJECT = Path(__file__).parents[1]
CONTENTS = PROJECT / "docs" / "README.md"
DECISIONS = PROJECT / "docs" / "decisions"
REFERENCE = PROJECT / "docs" / "reference" / "README.md"
OUT_OF_THE_NAVIGATION = "---\norphan: true\n---\n"  # there are too many
FIRST_PAGE = "README"
SETTINGS: dict[str, Any] = {
    "project": "Backfleet",
    "html_title": "Backfleet",
    "extensions": ["myst_parser"],
    "root_doc": FIRST_PAGE,
    "myst_heading_anchors": 6,  # those that code hosts make
    "html_theme": "furo",
    "html_show_copyright": False,
    "html_copy_source": False,
    "highlight_language": "none",
    "smartquotes": False,
}
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def pages() -> list[Path]:
    """Return the pages of the site."""
    folders = ("", "docs", "docs/decisions", "docs/operations", "docs/reference", "docs/guides")
    found = [page for folder in folders for page in sorted((PROJECT / folder).glob("*.md"))]
    return [*found, PROJECT / "bench" / "RESULTS.md"]


def sections() -> Iterator[tuple[str, list[str]]]:
    """Yield each section of the contents with the pages, as paths in the project, that it lists."""
    for section in CONTENTS.read_text().split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        listed = re.findall(r"^- \[[^\]]+\]\(([^)#]+\.md)\)", text, re.MULTILINE)
        yield title, [str((CONTENTS.parent / path).resolve().relative_to(PROJECT)) for path in listed]


def navigation() -> str:
    """Return the directives that make the sections the site's navigation."""
    parts = [f"```{{toctree}}\n:hidden:\n\nAll pages <{CONTENTS.relative_to(PROJECT).with_suffix('')}>\n```\n"]
    for title, listed in sections():
        names = "\n".join("self" if path == f"{FIRST_PAGE}.md" else f"/{path.removesuffix('.md')}" for path in listed)
        parts.append(f"```{{toctree}}\n:hidden:\n:titlesonly:\n:caption: {title}\n\n{names}\n```\n")
    return "\n".join(parts)


def with_list_of_decisions(text: str) -> str:
    """Return the first page of the decisions with a link to each: a code host shows the folder beside it instead."""
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        title = re.sub(r"^# (\d{4}:? )?", "", page.read_text().partition("\n")[0])
        text += f"\n- {page.name[:4]} [{title}]({page.name})"
    return f"{text}\n"


def lay_out(folder: Path) -> None:
    """Put the pages into a folder, where the tree of the project has them, with the files that they link to."""
    for page in pages():
        text = page.read_text()
        there = folder / page.relative_to(PROJECT)
        there.parent.mkdir(parents=True, exist_ok=True)
        for target, _ in _LINK.findall(text):
            linked = (page.parent / target).resolve()
            if linked.suffix != ".md" and linked.is_file() and linked.is_relative_to(PROJECT):
                copy = folder / linked.relative_to(PROJECT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(linked, copy)
        if page == PROJECT / f"{FIRST_PAGE}.md":
            text += "\n" + navigation()
        if page.parent == DECISIONS:
            text = with_list_of_decisions(text) if page.name == "README.md" else f"{OUT_OF_THE_NAVIGATION}{text}"
        if page == REFERENCE:
            text += "\n```{toctree}\n:hidden:\n:titlesonly:\n:glob:\n\n[!R]*\n```\n"
        there.write_text(text)


def build(target: Path) -> int:
    """Build the site into a folder that is replaced. Return the exit code: 1 if anything was wrong."""
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch, docutils_namespace(), patch_docutils():
        source = Path(scratch) / "source"
        lay_out(source)
        app = Sphinx(
            source,
            None,
            target,
            Path(scratch) / "doctrees",
            "html",
            confoverrides=SETTINGS,
            status=None,
            warningiserror=True,
            freshenv=True,
        )
        app.build()
    first = f'<!doctype html><meta http-equiv="refresh" content="0; url={FIRST_PAGE}.html"><title>Backfleet</title>'
    (target / "index.html").write_text(f'{first}<a href="{FIRST_PAGE}.html">Backfleet</a>\n')
    return app.statuscode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build_site.py FOLDER")
    sys.exit(build(Path(sys.argv[1])))
