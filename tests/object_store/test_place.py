"""Settings of an object store: what is refused, and that no text has a key in it."""

from pathlib import Path

import pytest

from backfleet.object_store import BadPlace, Place, check_address
from object_stores import KEY, SECRET

ADDRESS = "s3://artifacts/fleet"


@pytest.mark.parametrize("url", ["s3://abc", "s3://abc/", "s3://a.b-c/one/two", ADDRESS])
def test_addresses_of_buckets_are_taken(url: str) -> None:
    assert check_address(url) == ""


@pytest.mark.parametrize(
    "url",
    ["abc", "https://abc", f"s3://{KEY}:{SECRET}@bucket", "s3://UPPER", "s3://abc?key=x", "s3://abc//x", "s3://a"],
)
def test_other_addresses_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadPlace, match="artifacts_url must be s3://BUCKET") as caught:
        Place.of(url, "", "", "", "")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["host:9000", "ftp://host", "https://k:s@host", "https://host/bucket", "https://h?x"]
)
def test_an_endpoint_is_a_host_alone(endpoint: str) -> None:
    with pytest.raises(BadPlace, match="artifacts_endpoint must be"):
        Place.of(ADDRESS, endpoint, "", "", "")


def test_keys_come_from_a_file_and_appear_in_no_text(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}%1\n[other]\n")
    place = Place.of(ADDRESS, "https://minio.example:9000/", "eu-west-1", str(file), "")
    assert place.config() == {
        "region": "eu-west-1",
        "endpoint": "https://minio.example:9000",
        "access_key_id": KEY,
        "secret_access_key": f"{SECRET}%1",
    }
    assert str(place) == ADDRESS
    assert KEY not in repr(place)
    assert SECRET not in repr(place)


@pytest.mark.parametrize("content", ["", f"{SECRET}", f"[default]\naws_access_key_id={SECRET}\n", f"[a]\n{SECRET}\n"])
def test_a_file_without_keys_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials"
    file.write_text(content)
    with pytest.raises(BadPlace, match=r"must have a section \[default\]") as caught:
        Place.of(ADDRESS, "", "", str(file), "")
    assert SECRET not in str(caught.value)
    with pytest.raises(BadPlace, match="cannot be read: No such file"):
        Place.of(ADDRESS, "", "", f"{file}2", "")


def test_oss_knows_buckets_by_the_name_of_the_host() -> None:
    place = Place.of(ADDRESS, "https://oss-cn-hangzhou.aliyuncs.com", "oss-cn-hangzhou", "", "")
    assert place.config() == {
        "region": "oss-cn-hangzhou",
        "endpoint": "https://artifacts.oss-cn-hangzhou.aliyuncs.com",
        "virtual_hosted_style_request": True,
    }
