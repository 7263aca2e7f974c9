"""Settings: flags, environment, file and defaults, in this order; each value has its source."""

from pathlib import Path

import pytest

from backfleet.settings import BadSetting, read_settings


def test_a_setting_names_the_source_that_won(tmp_path: Path) -> None:
    """One setting from each source."""
    (tmp_path / "config.toml").write_text('http = "file:1"\nhttps = "file:2"\nregion = "file"\n')
    found = read_settings(
        {"data": tmp_path, "http": "flag:1", "https": None}, {"BACKFLEET_HTTP": "env:1", "BACKFLEET_HTTPS": "env:2"}
    )
    assert (found.http, found.https, found.region, found.task_seconds) == ("flag:1", "env:2", "file", 900)
    assert found.origin["http"] == "--http"
    assert found.origin["https"] == "BACKFLEET_HTTPS"
    assert found.origin["region"] == str(tmp_path / "config.toml")
    assert found.origin["task_seconds"] == "default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("colour = 1", "unknown setting 'colour'", id="an unknown name"),
        pytest.param('task_seconds = "soon"', "task_seconds cannot be 'soon' (", id="a word for a number"),
        pytest.param("task_seconds = 0", "it must be a whole number, at least 1", id="no time at all"),
        pytest.param(
            'only = "console,moon"',
            "it must be some of openapi, console, agents, downloads, workers",
            id="a part that does not exist",
        ),
        pytest.param("http = ", "cannot be read", id="broken TOML"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    """One line that says which setting, what was found, and where."""
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(BadSetting) as problem:
        read_settings({"data": tmp_path}, {})
    assert message in str(problem.value)
    assert str(tmp_path) in str(problem.value)


def test_parts_are_named_with_commas_between(tmp_path: Path) -> None:
    """As in `--only openapi,agents`."""
    assert read_settings({"data": tmp_path, "only": "openapi, agents"}, {}).only == ("openapi", "agents")


def test_the_former_name_of_the_agents_part_is_still_accepted(tmp_path: Path) -> None:
    """Unit files and scripts of earlier builds say `assist`."""
    assert read_settings({"data": tmp_path, "only": "assist,workers"}, {}).only == ("agents", "workers")
