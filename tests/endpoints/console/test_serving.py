"""The console as a part of a process of its own."""

import json
import os
import subprocess
from pathlib import Path

import urllib3

from warm_server import COLD, WarmServer


def test_a_process_can_serve_the_console_alone(tmp_path: Path) -> None:
    words = ["serve", "--data", tmp_path / "data", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
    process = WarmServer(
        [*COLD, *words, "--only", "console"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"BACKFLEET_HOLD_LISTENERS": "false"},
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with urllib3.PoolManager(cert_reqs="CERT_NONE", assert_hostname=False) as pool:
            urllib3.disable_warnings()
            found = {
                path: pool.request("GET", f"{ready['http']}{path}", retries=False, redirect=False).status
                for path in ("/console/", "/console/login", "/console/fleet", "/healthz", "/openapi.json")
            }
            over_tls = pool.request("GET", f"{ready['https']}/console/login", retries=False).status
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert found == {"/console/": 303, "/console/login": 200, "/console/fleet": 303, "/healthz": 200,
                     "/openapi.json": 404}  # fmt: skip
    assert over_tls == 404, "the listener of hosts has no console unless the setting says so"
