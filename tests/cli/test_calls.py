"""backfleet call and backfleet sample."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backfleet.cli import _calls
from backfleet.samples import LANGUAGES
from cli.conftest import Cli


def test_any_operation_is_called_by_its_name(cli: Cli) -> None:
    """With values as they are on the wire; the product is named where two have the operation."""
    found = json.loads(cli("call", "GetCallerIdentity").output)
    assert found["IdentityType"] == "Account"
    assert json.loads(cli("call", "hbr:DescribeRegions").output)["Regions"]
    made = cli("call", "CreateCommand", "RegionId=cn-hangzhou", "Name=greet", "Type=RunShellScript",
               "ContentEncoding=PlainText", "CommandContent=echo a=b\\nc")  # fmt: skip
    assert json.loads(made.output)["CommandId"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("DescribeTsk",), "did you mean DescribeTask"),
        (("DescribeTask", "TaskID=t-1"), "DescribeTask has no parameter 'TaskID'; did you mean TaskId?"),
        (("DescribeTask", "t-1"), "'t-1' is no parameter; write KEY=VALUE"),
        (("DescribeTask", "TaskId=t-1", "TaskId=t-2"), "TaskId is given twice"),
        (("DescribeTask", "TaskId=t-1"), "TaskNotFound: "),
        (("DescribeTask", "--secret", "TaskId=UNSET"), "the environment variable UNSET is not set"),
        (("ListTasks", "--file", "x"), "ListTasks takes no file; leave out --file"),
        (("PublishSignatures",), "PublishSignatures sends a file; name one with --file"),
    ],
)
def test_a_wrong_call_is_one_line_on_stderr(cli: Cli, arguments: tuple[str, ...], text: str) -> None:
    result = cli("call", *arguments)
    assert result.exit_code == 1
    assert text in result.stderr
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)


def test_a_secret_comes_from_the_environment(cli: Cli) -> None:
    """As the refusal shows, the value arrived."""
    result = cli("call", "ListTasks", "--secret", "PageSize=MY_SIZE", MY_SIZE="many")
    assert "PageSize is 'many'" in result.stderr


def test_a_file_is_sent(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "signed.json").write_text("{}")
    result = cli("call", "PublishSignatures", "--file", str(tmp_path / "signed.json"))
    assert "InvalidParameter.Signature" in result.stderr


def test_a_printed_sample_runs_as_it_stands(cli: Cli, tmp_path: Path) -> None:
    """For the server of the data folder, whose certificate is of its own authority."""
    printed = cli("sample", "GetCallerIdentity", "--language", "python-generic")
    assert printed.exit_code == 0
    serving = json.loads((Path(os.environ["BACKFLEET_DATA"]) / "serving.json").read_text())
    admin = json.loads((Path(os.environ["BACKFLEET_DATA"]) / "admin.json").read_text())
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": admin["access_key_id"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": admin["access_key_secret"],
        "BACKFLEET_CA": serving["ca_file"],
    }
    (tmp_path / "sample.py").write_text(printed.output)
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "sample.py")], env=os.environ | environment, capture_output=True, timeout=100,
        check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["IdentityType"] == "Account"


def test_a_sample_that_cannot_be_made_is_one_line(cli: Cli) -> None:
    result = cli("sample", "DescribeTask", "TaskId=t-1", "--language", "rust")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"backfleet: there are no samples in 'rust'; there are {', '.join(LANGUAGES)}\n"


def test_the_help_names_every_language() -> None:
    assert ", ".join(LANGUAGES) == _calls.LANGUAGES


def test_top_draws_the_fleet(cli: Cli) -> None:
    """Once, for scripts; the picture itself has tests of its own."""
    result = cli("top", "--once")
    assert result.exit_code == 0, result.stderr
    assert "clients" in result.output.splitlines()[0]
    assert "PACKAGE" in result.output


def test_top_says_all_that_it_draws_as_json_once(cli: Cli) -> None:
    result = cli("top", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert sorted(found) == ["Counts", "Map", "Rollouts", "Tasks"]
    assert sum(cell["Clients"] for cell in found["Map"]) == found["Counts"]["Clients"]
