"""What new hosts are given to enrol with: lines that a shell reads, and user data that cloud-init accepts."""

import json
import subprocess
import tomllib

import pytest
import yaml

from backfleet.cli._enrolment import Enrolment
from documents import PROJECT

SCHEMA = PROJECT / ".cache" / "debian" / "cloud-init.json"
SERVER = {"AgentAddress": "backup.example.com:8443", "AuthoritySha256": "ab" * 32}
ENROLMENT = Enrolment(SERVER, "cn-hangzhou", "a-1", "a-secret-code")


@pytest.mark.parametrize("data", [ENROLMENT.cloud_init, ENROLMENT.image], ids=["cloud-init", "image"])
def test_user_data_is_as_cloud_inits_own_schema_wants_it(data: str) -> None:
    if not SCHEMA.exists():
        pytest.skip("no schema: tools/debian_files.sh .cache/debian")
    jsonschema = pytest.importorskip("jsonschema")
    assert data.startswith("#cloud-config\n")
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text())).validate(yaml.safe_load(data))


def test_user_data_of_an_image_is_the_file_that_a_prepared_host_reads() -> None:
    (file,) = yaml.safe_load(ENROLMENT.image)["write_files"]
    assert (file["path"], file["permissions"]) == ("/etc/backfleet/activation", "0600")
    assert tomllib.loads(file["content"]) == {"id": "a-1", "code": "a-secret-code"}


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("line", [ENROLMENT.own_agent, ENROLMENT.official_agent], ids=["own", "official"])
def test_lines_can_be_read_by_a_shell(shell: str, line: str) -> None:
    assert "\n" not in line
    subprocess.run([shell, "-n", "-c", line], check=True)


def test_it_prints_without_the_code() -> None:
    assert "secret" not in repr(ENROLMENT)
