"""Where a bucket is, and with which keys it is asked."""

import configparser
import importlib.util
import re
from dataclasses import field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from backfleet.values import value_object

ADDRESS: Final = r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]{1,64}){0,8})/?"
_BY_HOST: Final = ".aliyuncs.com"  # OSS knows a bucket by the name of the host alone
_EXTRA: Final = "the library for object stores is not installed: pip install 'backfleet[s3]'"


class BadPlace(ValueError):
    """The settings of an object store cannot be used; the text names the setting, and what to do."""


@value_object
class Place:
    """Where a bucket is. Its text shows no key."""

    bucket: str
    prefix: str = ""  # of every name in it, without a slash at either end
    endpoint: str = ""  # "" = the one of AWS for the region
    region: str = ""  # "" = what the environment says
    authority: bytes = field(default=b"", repr=False)  # certificates that are believed besides the system's, PEM
    keys: tuple[str, str, str] | None = field(default=None, repr=False)  # id, secret, token; None = the environment's

    @classmethod
    def of(cls, url: str, endpoint: str, region: str, credentials_file: str, authority_file: str) -> "Place":
        """Return the place that the settings name; they are those of `Settings`, without `artifacts_`.

        Raises:
            BadPlace: one of them cannot be used.
        """
        if wrong := check_address(url):
            raise BadPlace(f"artifacts_url {wrong}")
        if importlib.util.find_spec("obstore") is None:
            raise BadPlace(f"artifacts_url is set, and {_EXTRA}")
        _check_endpoint(endpoint)
        found = re.fullmatch(ADDRESS, url)
        assert found is not None  # noqa: S101 - checked above
        keys = _keys(Path(credentials_file)) if credentials_file else None
        try:
            authority = Path(authority_file).read_bytes() if authority_file else b""
        except OSError as problem:
            raise BadPlace(f"outbound_authority: {authority_file} cannot be read: {problem.strerror}") from None
        return cls(found[1], found[2].strip("/"), endpoint.rstrip("/"), region, authority, keys)

    def config(self) -> dict[str, Any]:
        """Return how the library is told all that, keys included."""
        found: dict[str, Any] = {"region": self.region} if self.region else {}
        parts = urlsplit(self.endpoint)
        if self.endpoint and (parts.hostname or "").endswith(_BY_HOST):
            found |= {
                "endpoint": f"{parts.scheme}://{self.bucket}.{parts.netloc}",
                "virtual_hosted_style_request": True,
            }
        elif self.endpoint:
            found["endpoint"] = self.endpoint
        if self.keys is not None:
            names = ("access_key_id", "secret_access_key", "session_token")
            found |= {name: value for name, value in zip(names, self.keys, strict=True) if value}
        return found

    def __str__(self) -> str:
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"


def check_address(url: str) -> str:
    """Return what is wrong with an address of artifacts; "" = nothing. The text does not repeat it: it may have keys.

    Args:
        url: such as `s3://bucket/prefix`.
    """
    if re.fullmatch(ADDRESS, url):
        return ""
    return (
        "must be s3://BUCKET or s3://BUCKET/PREFIX, without keys and options: those are artifacts_endpoint, "
        "artifacts_region and artifacts_credentials_file"
    )


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if endpoint and not (parts.scheme in ("http", "https") and parts.hostname and is_plain):
        raise BadPlace("artifacts_endpoint must be https://HOST or https://HOST:PORT, without bucket, path and keys")


def _keys(file: Path) -> tuple[str, str, str]:
    """Read the section `default` of a file of credentials, in the form that AWS's tools have."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.expanduser().read_text())
        section = parser["default"]
        return section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")
    except OSError as problem:
        raise BadPlace(f"artifacts_credentials_file: {file} cannot be read: {problem.strerror}") from None
    except (configparser.Error, KeyError, UnicodeDecodeError):  # whose texts may quote a line, and so a secret
        raise BadPlace(
            f"artifacts_credentials_file: {file} must have a section [default] with aws_access_key_id and "
            "aws_secret_access_key"
        ) from None
