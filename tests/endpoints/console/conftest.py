"""A console in a real server, and people with browsers."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import draw as really_draw
from backfleet.storage import Database
from endpoints.console.site import Browser, Site, serve
from operations.environment import Environment, make_environment


@pytest.fixture
def env(sqlite_database: Database, tmp_path: Path, now: datetime) -> Environment:
    """Services with their first account."""
    return make_environment(sqlite_database, tmp_path, now, really_draw)


@pytest.fixture
def site(env: Environment) -> Iterator[Site]:
    """A console at the moment of the environment."""
    site, stop = serve(env)
    yield site
    stop()


@pytest.fixture
def browser_of(site: Site) -> Callable[..., Browser]:
    """Return a function that makes a user with these policies, and returns their browser, logged in."""

    def log_in(name: str, *policies: str) -> Browser:
        browser = Browser(site)
        browser.log_in(site.key_of(name, *policies))
        return browser

    return log_in


@pytest.fixture
def admin(browser_of: Callable[..., Browser]) -> Browser:
    """The browser of somebody who may do everything."""
    return browser_of("admin", "AdministratorAccess")
