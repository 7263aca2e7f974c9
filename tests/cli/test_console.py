"""backfleet console, against a real server."""

import json
import urllib.request

from cli.conftest import Cli


def test_it_prints_a_link_to_the_login_of_the_server_and_no_secret_but_that(cli: Cli) -> None:
    done = cli("console")
    assert done.exit_code == 0, done.output
    address, _, code = done.stdout.strip().partition("/console/login#")
    assert len(code) == 32
    with urllib.request.urlopen(f"{address}/console/login") as answer:  # noqa: S310
        assert "Log in" in answer.read().decode()
    found = json.loads(cli("console", "--json", "--address", "https://fleet.example/").stdout)
    assert found["Url"] == f"https://fleet.example/console/login#{found['LoginCode']}"
