"""The site of the documentation: it builds without a warning, and its links and requests stay inside of it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from documents import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("link", "href"),
    ("form", "action"),
}


class Page(HTMLParser):
    """What a page links to, what a browser fetches for it, and which places in it have a name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.names.add(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")
            elif (tag, name) in FETCHED:
                self.fetched.append(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make site` builds it: a warning of the builder is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / "build_site.py", folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_to_a_page_and_a_place_in_it(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 80
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("https", "http", "mailto"), f"{path}: {link}"
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            assert there.is_relative_to(site), f"{path}: {link}"
            assert there.exists(), f"{path}: {link}"
            if parts.fragment and there in pages:
                assert unquote(parts.fragment) in pages[there].names, f"{path}: {link}"
            checked += 1
    assert checked > 1000


def test_no_page_asks_another_host_for_anything(site: Path, pages: dict[Path, Page]) -> None:
    """Neither fonts nor scripts nor pictures: a site inside of a company may have no way out."""
    fetched = {address for page in pages.values() for address in page.fetched}
    fetched |= {address for path in site.rglob("*.css") for address in addresses_in_style(path)}
    assert fetched
    assert [address for address in fetched if urlsplit(address).netloc] == []
    for path in site.rglob("*.js"):
        asked = re.findall(
            r"(?:fetch|import|importScripts|\.open|\.src\s*=)\s*\(?\s*[\"'`](?:https?:)?//", path.read_text()
        )
        assert asked == [], path


def addresses_in_style(path: Path) -> Iterator[str]:
    """Yield what a style sheet fetches."""
    for address in re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", path.read_text()):
        if not address.startswith("data:"):
            yield address


def test_the_first_page_leads_to_all_that_the_contents_list(site: Path, pages: dict[Path, Page]) -> None:
    """The navigation of the site is the list that a code host shows."""
    assert 'url=README.html"' in (site / "index.html").read_text()
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\.md\)", (PROJECT / "docs" / "README.md").read_text(), re.MULTILINE)
    shown = {(site / urlsplit(link).path).resolve() for link in pages[site / "README.html"].links if "#" not in link}
    missing = [name for name in listed if (site / "docs" / f"{name}.html").resolve() not in shown]
    assert missing in ([], ["../README"])
