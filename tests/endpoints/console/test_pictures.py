"""The pictures of docs/console.md are of pages that there are, and `make docs` draws them."""

import os
import re

import pytest

from documents import PROJECT
from endpoints.console.pictures import FOLDER, LARGEST, draw, furnish
from endpoints.console.site import Browser, Site
from endpoints.console.visitor import CHROMIUM, Visitor, chromium_running
from operations.environment import Environment

SIZE = {"width": 1200, "height": 800}


def test_every_picture_of_the_documentation_is_there_and_so_is_its_page(env: Environment, admin: Browser) -> None:
    pages = furnish(env, admin)
    named = re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", (PROJECT / "docs/console.md").read_text())
    assert sorted(named) == sorted(pages)
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(pages), "`make docs` draws them"
    for name, path in pages.items():
        file = FOLDER / name
        assert file.read_bytes().startswith(b"\x89PNG"), name
        assert file.stat().st_size < LARGEST, name
        assert admin.get(path).status == 200, (name, path)


@pytest.mark.skipif("DRAW_PICTURES" not in os.environ, reason="`make docs` draws the pictures")
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_pictures_are_drawn(env: Environment, site: Site, admin: Browser) -> None:
    pages = furnish(env, admin)
    key = site.key_of("ann", "AdministratorAccess")
    with chromium_running() as chromium:
        ann = Visitor(chromium, site, viewport=SIZE)
        ann.log_in(key)
        draw(ann, pages)
        ann.context.close()
    assert ann.complaints == []
