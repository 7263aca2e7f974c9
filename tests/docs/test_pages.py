"""The pages agree with what they point to: files, headings, settings."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from backfleet.settings import Settings
from documents import PROJECT

PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").rglob("*.md")), PROJECT / "bench" / "RESULTS.md"]
SECTIONS = ("Added", "Changed", "Fixed", "Security")


def anchors_of(page: Path) -> set[str]:
    """Return the names by which headings of a page can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors_of(file), target


def test_every_page_is_in_the_contents() -> None:
    """`docs/README.md` is the navigation of the site: a page that it does not list is found by nobody."""
    folder = PROJECT / "docs"
    text = (folder / "README.md").read_text()
    linked = {(folder / target).resolve() for target in re.findall(r"\]\(([^)#]+\.md)\)", text)}
    themselves = [
        folder / "README.md",
        *(folder / "decisions").glob("[0-9]*.md"),
        *(folder / "reference").glob("[!R]*.md"),
    ]
    assert sorted(set(folder.rglob("*.md")) - linked - set(themselves)) == []


def test_every_setting_is_documented() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text()
    table = text[text.index("| setting |") : text.index("## People")]
    first_column = "\n".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first_column)) == {f.name for f in fields(Settings)} - {"origin"}


def test_the_changelog_has_one_short_line_for_each_change() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text()
    assert [line for line in text.splitlines() if len(line) > 120] == []
    entries_of_all = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(entries_of_all) == len(set(entries_of_all))
    for release in text.split("\n## ")[1:]:
        parts = re.split(r"^### (.+)$", release, flags=re.MULTILINE)
        assert tuple(parts[1::2]) == tuple(section for section in SECTIONS if section in parts[1::2])
        for entries in parts[2::2]:
            assert all(line.startswith("- ") for line in entries.strip().splitlines())


def test_the_tree_in_the_architecture_is_the_projects() -> None:
    """Every file and folder that the page names exists, and every part of the product is on the page."""
    text = (PROJECT / "ARCHITECTURE.md").read_text()
    tree = text[text.index("## The tree") :].split("```")[1]
    folders: list[Path] = [PROJECT]
    named: set[Path] = set()
    for line in tree.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 2
        if depth > 2:
            continue  # the rest of a description
        names = [name for name in re.split(r"\s{2,}", line.strip()) if re.fullmatch(r"[\w./-]+(\.py|/)", name)]
        assert names, line
        folders[depth + 1 :] = [folders[depth] / names[0]]
        named |= {folders[depth] / name for name in names}
    assert [path for path in named if not path.exists()] == []
    for package in ("backfleet", "backfleet_host"):
        parts = {path for path in (PROJECT / "src" / package).iterdir() if (path / "__init__.py").exists()}
        modules = set((PROJECT / "src" / package).glob("[a-z]*.py"))
        assert {path.relative_to(PROJECT) for path in (parts | modules) - named} == set()
