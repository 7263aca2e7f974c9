"""A fleet of hosts behind the real operations, and the command line that asks these without a network."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backfleet import fleet
from backfleet.cli import main
from backfleet.cli._client import VERSIONS, CallFailed, Client, _read
from backfleet.operations import backfleet as _operations  # noqa: F401 -- fills the catalogue
from conftest import NOW
from databases import sqlite_with_tables
from operations.environment import REGION, Environment, make_environment

Asked = list[tuple[str, dict[str, Any]]]


class Fleet:
    """An environment, what the command line asked of it, and what is to go wrong."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.asked: Asked = []
        self.refuse: Callable[[str, dict[str, Any]], CallFailed | None] = lambda _action, _parameters: None

    def call(self, product: str, action: str, **parameters: Any) -> dict[str, Any]:
        """Answer as the command line's client does."""
        given = {name: value for name, value in parameters.items() if value is not None}
        self.asked.append((action, given))
        problem = self.refuse(action, given)
        if problem is not None:
            raise problem
        status, body = self.env.ask(VERSIONS[product], action, **given)
        return _read(status, json.dumps(body).encode())

    def calls(self, action: str) -> list[dict[str, Any]]:
        """Return the parameters of the calls of an operation."""
        return [parameters for name, parameters in self.asked if name == action]

    def add(self, name: str, version: str = "1.0", *, package: str = "courier", **tags: str) -> tuple[str, str]:
        """Add a host with a client; return both ids."""
        host = self.env.host(name=name)
        self.tag(host, **tags)
        return host, self.env.client(host, version, package=package)

    def tag(self, host: str, **tags: str) -> None:
        """Give a host tags."""
        with self.env.services.database.transaction() as tx:
            fleet.set_tags(tx, self.env.root.account_id, REGION, "instance", [host], tags)

    def run(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command."""
        self.asked.clear()
        return CliRunner().invoke(main, list(arguments), input=text)

    def run_json(self, *arguments: str) -> Any:
        """Run a command, and return the JSON that it prints."""
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An empty fleet for the tests of a module, with releases 1.0 and 2.0."""
    folder, numbers = tmp_path_factory.mktemp("many"), itertools.count(1)
    database = sqlite_with_tables(folder / "backfleet.db")
    made = Fleet(make_environment(database, folder, NOW, lambda length: f"{next(numbers):0{length}d}"))
    made.env.release("1.0")
    made.env.release("2.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "call", lambda _client, *asked, **named: made.call(*asked, **named))
        for name, value in {"ACCESS_KEY_ID": "k", "ACCESS_KEY_SECRET": "s"}.items():
            patch.setenv(f"ALIBABA_CLOUD_{name}", value)
        patch.setenv("BACKFLEET_ENDPOINT", "http://127.0.0.1:1")
        patch.setenv("BACKFLEET_DATA", str(folder / "none"))
        yield made
    database.close()
