"""People with a real Chromium, and what axe says of the pages that they open."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

from backfleet.wire.credentials import Credentials
from documents import PROJECT
from endpoints.console.site import Site

CHROMIUM = shutil.which("chromium")
AXE = PROJECT / ".cache/node/node_modules/axe-core/axe.min.js"

NEEDS_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        CHROMIUM is None or not AXE.exists(), reason="needs Chromium and axe-core; `make test` installs"
    ),
]


class Visitor:
    """Somebody with a window of their own. Whatever the browser complains of is kept."""

    def __init__(self, chromium: Browser, site: Site, **options: object) -> None:
        self.site, self.complaints, self.hosts, self.dialogs = site, list[str](), set[str](), list[str]()
        self.context: BrowserContext = chromium.new_context(**options)  # type: ignore[arg-type]
        self.context.set_default_timeout(60_000)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on("dialog", self._accept)

    def _accept(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.accept()

    def go(self, path: str) -> None:
        self.page.goto(f"http://{self.site.host}/console{path}")

    def log_in(self, key: Credentials) -> None:
        self.go("/")
        self.page.get_by_label("Access key ID").fill(key.access_key_id)
        self.page.get_by_label("Access key secret").fill(key.access_key_secret)
        self.page.get_by_role("button", name="Log in", exact=True).click()
        self.page.wait_for_url("**/fleet")

    def faults(self) -> list[str]:
        """Return what axe finds serious on the page that is open."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [f"{self.page.url}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found
                if one["impact"] in ("serious", "critical")]  # fmt: skip


@contextmanager
def chromium_running() -> Iterator[Browser]:
    """Run a Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
