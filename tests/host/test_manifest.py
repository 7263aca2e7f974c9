"""What signed metadata says of a release is read field by field, or refused with one code."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfleet_host.manifest import BadManifest, Manifest, UnknownVersionScheme, read_manifest

FIELDS: dict[str, Any] = {
    "package": "acme",
    "version": "1.0",
    "platform": "linux-amd64",
    "format": "tar",
    "bin": ["bin/acme"],
    "switch": "anytime",
    "health": {"command": ["acme"], "expect": "acme", "seconds": 30},
    "upgrades_from": ">=0.9,<1.0",
    "unpacked_bytes": 100,
    "entries": 3,
    "service": {"unit": "acme.service", "start": [], "stop": [], "ready": [], "idle": ["acme", "idle"], "seconds": 60},
    "repository_format": "2",
    "readable_by": "0.9",
    "keeps": ["/etc/acme"],
    "compression": "zstd",
    "set_uid": ["bin/acme"],
}
LEAST = ("package", "version", "platform", "format", "bin", "switch", "unpacked_bytes", "entries")


def test_a_manifest_is_read_as_it_was_written() -> None:
    """Also after it was stored."""
    manifest = read_manifest(FIELDS)
    assert read_manifest(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.needs_zstd
    assert manifest.set_uid == ("bin/acme",)


def test_fields_that_older_control_planes_lack_have_defaults() -> None:
    """Fields that newer ones add are ignored."""
    least = {name: FIELDS[name] for name in LEAST}
    manifest = read_manifest(least | {"later": [1]})
    assert (manifest.needs_zstd, manifest.set_uid, manifest.health) == (False, (), None)


@pytest.mark.parametrize(
    "value",
    [None, [], [["package", "acme"]], "acme", 1, {}, *({k: v for k, v in FIELDS.items() if k != n} for n in LEAST)],
)
def test_a_value_that_is_no_manifest_is_refused(value: Any) -> None:
    """For example signed metadata of another program."""
    with pytest.raises(BadManifest):
        read_manifest(value)


HEALTH, SERVICE = FIELDS["health"], FIELDS["service"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("package", "../acme", id="package that is a path"),
        pytest.param("package", ["acme"], id="package in a list"),
        pytest.param("version", "1.0/../..", id="version that is a path"),
        pytest.param("version", "..", id="version of dots"),
        pytest.param("version", 1.0, id="version that is a number"),
        pytest.param("platform", "linux", id="half a platform"),
        pytest.param("format", ["tar"], id="format in a list"),
        pytest.param("format", "rpm", id="unknown format"),
        pytest.param("bin", "bin/acme", id="bin that is text"),
        pytest.param("bin", {"bin/acme": 1}, id="bin that is an object"),
        pytest.param("bin", [], id="no bin"),
        pytest.param("bin", ["/bin/sh"], id="absolute bin"),
        pytest.param("bin", ["bin/../../sh"], id="bin that goes up"),
        pytest.param("bin", ["bin/a b"], id="bin with a space"),
        pytest.param("bin", ["bin/acme"] * 201, id="too many bins"),
        pytest.param("switch", "never", id="unknown switch"),
        pytest.param("health", [], id="health that is a list"),
        pytest.param("health", "acme", id="health that is text"),
        pytest.param("health", HEALTH | {"command": []}, id="health without a command"),
        pytest.param("health", HEALTH | {"command": "acme"}, id="health command that is text"),
        pytest.param("health", HEALTH | {"expect": "("}, id="expect that is broken"),
        pytest.param("health", HEALTH | {"expect": "a{99999999999999999999}"}, id="expect too many"),
        pytest.param("health", HEALTH | {"expect": "(" * 5000 + ")" * 5000}, id="expect that is deep"),
        pytest.param("health", HEALTH | {"expect": None}, id="expect that is null"),
        pytest.param("health", HEALTH | {"seconds": 0}, id="no time"),
        pytest.param("health", HEALTH | {"seconds": 3601}, id="too much time"),
        pytest.param("health", HEALTH | {"seconds": True}, id="time that is true"),
        pytest.param("health", HEALTH | {"seconds": "30"}, id="time in quotes"),
        pytest.param("health", HEALTH | {"seconds": math.inf}, id="time without end"),
        pytest.param("upgrades_from", "banana", id="range that is none"),
        pytest.param("upgrades_from", None, id="range that is null"),
        pytest.param("upgrades_from", [">=1"], id="range in a list"),
        pytest.param("unpacked_bytes", -1, id="less than nothing"),
        pytest.param("unpacked_bytes", math.inf, id="bytes without end"),
        pytest.param("unpacked_bytes", "100", id="bytes in quotes"),
        pytest.param("unpacked_bytes", 1 << 70, id="more than any release may have"),
        pytest.param("entries", 10**9, id="more entries than any release may have"),
        pytest.param("entries", math.nan, id="entries that are no number"),
        pytest.param("service", ["acme"], id="service that is a list"),
        pytest.param("service", {"start": ["a"]}, id="service that cannot be stopped"),
        pytest.param("service", SERVICE | {"unit": "--acme.service"}, id="unit that is an option"),
        pytest.param("service", SERVICE | {"stop": "acme"}, id="stop that is text"),
        pytest.param("service", SERVICE | {"seconds": 1e400}, id="service without end"),
        pytest.param("repository_format", 2, id="format as a number"),
        pytest.param("readable_by", "0.9\0", id="NUL"),
        pytest.param("readable_by", "\ud800", id="half a character"),
        pytest.param("keeps", "/etc/acme", id="keeps that is text"),
        pytest.param("keeps", ["/etc"], id="keeps that is a folder of the root"),
        pytest.param("keeps", [["/etc/acme"]], id="keeps of lists"),
        pytest.param("compression", 1, id="compression as a number"),
        pytest.param("set_uid", "bin/acme", id="set_uid that is text"),
        pytest.param("set_uid", ["/bin/acme"], id="absolute set_uid"),
        pytest.param("set_uid", ["./bin/acme"], id="set_uid that is not normal"),
        pytest.param("set_uid", ["a"] * 201, id="too many in set_uid"),
    ],
)
def test_a_field_that_is_not_of_its_form_is_refused(field: str, value: Any) -> None:
    """The message has a bounded length."""
    with pytest.raises(BadManifest) as refused:
        read_manifest(FIELDS | {field: value})
    assert 0 < len(str(refused.value)) < 400


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a", "1.0", "/a/b", "\ud800", "a{2}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, *HEALTH]), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(ANY | st.dictionaries(st.sampled_from(list(FIELDS)), ANY).map(lambda value: FIELDS | value))
def test_every_bad_manifest_raises_the_same_error(value: Any) -> None:
    """Every value is a manifest or is refused."""
    with contextlib.suppress(BadManifest):
        assert isinstance(read_manifest(value), Manifest)


EVERYTHING = (
    '{"package": "acme", "version": "1.2", "platform": "linux-amd64", "format": "tar", "bin": ["bin/acme"], '
    '"switch": "idle", "health": {"command": ["acme", "--version"], "expect": "^acme 1\\\\.2$", "seconds": 7}, '
    '"upgrades_from": ">=1.0,<1.2", "repository_format": "3", "readable_by": "1.1", "keeps": ["/etc/acme"], '
    '"unpacked_bytes": 100, "entries": 3, "service": {"unit": "acme.service", "start": [], "stop": [], "ready": [], '
    '"idle": ["acme", "idle"], "seconds": 9}, "compression": "zstd", "set_uid": ["bin/acme"]}'
)
NOTHING_SPECIAL = (
    '{"package": "acme", "version": "1.2", "platform": "linux-amd64", "format": "tar", "bin": [], '
    '"switch": "anytime", "health": null, "upgrades_from": "", "repository_format": "", "readable_by": "", '
    '"keeps": [], "unpacked_bytes": 0, "entries": 0, "service": null, "compression": "", "set_uid": []}'
)


@pytest.mark.parametrize("recorded", [EVERYTHING, NOTHING_SPECIAL], ids=["everything", "nothing special"])
def test_releases_of_older_programs_are_written_as_they_were(recorded: str) -> None:
    """To the byte: what was signed stays valid, and older hosts read what newer servers sign."""
    assert json.dumps(Manifest.from_json(json.loads(recorded)).to_json()) == recorded


def test_both_readers_read_the_same() -> None:
    """A server its own rows, a host what the server signed."""
    assert read_manifest(json.loads(EVERYTHING)) == Manifest.from_json(json.loads(EVERYTHING))


def test_fields_of_a_newer_program_are_ignored() -> None:
    """Also within health and service; both sides may be older than what wrote it."""
    stored = json.loads(EVERYTHING)
    later = {
        **stored,
        "later": [1],
        "health": {**stored["health"], "port": 1},
        "service": {**stored["service"], "user": "acme"},
    }
    assert read_manifest(later) == read_manifest(stored)
    assert Manifest.from_json(later) == Manifest.from_json(stored)


def test_a_stored_release_from_before_a_field_was_known_is_read() -> None:
    """As the first program that stored releases wrote them."""
    oldest = {name: FIELDS[name] for name in LEAST}
    assert Manifest.from_json(oldest).preserve == ()


@pytest.mark.parametrize("name", ["package", "version", "platform", "format"])
def test_a_stored_release_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(BadManifest, match=name):
        Manifest.from_json({key: value for key, value in FIELDS.items() if key != name})


def test_versions_compare_by_the_scheme_in_the_manifest() -> None:
    """A manifest without one is from before there were several."""
    assert read_manifest(FIELDS).scheme == "pep440"
    found = read_manifest({**FIELDS, "version": "1:2.0", "scheme": "deb", "upgrades_from": ">=1.0-1+b10"})
    assert (found.accepts("1.0-1+b10"), found.accepts("1.0-1+b9"), found.accepts("")) == (True, False, True)


@pytest.mark.parametrize("scheme", ["deb", "rpm", "semver", "calendar", "natural"])
@pytest.mark.parametrize("allowed", ["", ">=2024.1.1"])
def test_a_range_over_another_scheme_is_none_to_programs_from_before(scheme: str, allowed: str) -> None:
    """They know no schemes, and would compare in the wrong order: so they must not be able to read it."""
    manifest = Manifest("acme", "2024.1.1", "linux-amd64", "tar", ("acme",), upgrades_from=allowed, scheme=scheme)
    written = json.loads(json.dumps(manifest.to_json()))
    assert read_manifest(written) == Manifest.from_json(written) == manifest
    del written["scheme"]  # a field that those programs do not look at
    with pytest.raises(BadManifest, match=f"upgrades_from '{scheme}:{allowed}' is no range"):
        read_manifest(written)


@pytest.mark.parametrize("scheme", ["", "zodiac", "DEB"])
def test_an_unknown_scheme_has_an_error_of_its_own(scheme: str) -> None:
    """Newer programs may know it. Whatever else is in the manifest, this comes first."""
    with pytest.raises(UnknownVersionScheme, match="is none of deb, rpm"):
        read_manifest({**FIELDS, "scheme": scheme, "upgrades_from": "what it has"})
    with pytest.raises(BadManifest):
        read_manifest({**FIELDS, "scheme": 7})
