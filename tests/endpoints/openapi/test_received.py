"""Any bytes at all are either a request or one of the protocol's refusals."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.endpoints.openapi.authentication import TIME_FORM, read_signed_request
from backfleet.endpoints.openapi.received import FORM, receive
from backfleet.wire.errors import ApiError, TimestampMalformed

header_names = st.sampled_from(
    ["authorization", "content-type", "content-md5", "host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-x"]
)
header_values = st.binary(max_size=30) | st.sampled_from(
    [
        FORM.encode(),
        b"ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host;x-acs-date,Signature=00",
        b"ACS3-HMAC-SHA256 Credential=a,SignedHeaders=,Signature=",
        b"2026-01-02T03:04:05Z",
    ]
)
queries = st.text(st.characters(max_codepoint=127), max_size=60) | st.dictionaries(
    st.sampled_from(["Action", "Version", "AccessKeyId", "Signature", "SignatureMethod", "Timestamp", "Format"]),
    st.sampled_from(["", "HMAC-SHA1", "1.0", "%ff", "%00", "XML", "x"]),
).map(lambda found: "&".join(f"{name}={value}" for name, value in found.items()))


@given(
    method=st.sampled_from(["GET", "POST", "PUT", ""]),
    query=queries,
    headers=st.lists(st.tuples(header_names.map(str.encode), header_values), max_size=8),
    body=st.binary(max_size=60) | queries.map(str.encode),
)
def test_any_request_is_read_or_refused(
    method: str, query: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Nothing but the protocol's own errors, each of them a caller's fault."""
    refusal = None
    try:
        request = receive(method, query, headers, body)
        assert isinstance(request.wants_xml, bool)
        read_signed_request(request)
    except ApiError as problem:
        refusal = problem
    assert refusal is None or 400 <= refusal.status < 500


@given(
    st.tuples(*(st.integers(0, most) for most in (9999, 13, 32, 25, 61, 62))),
    st.sampled_from(["{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", "{}-{}-{}T{}:{}:{}Z", "{:04}-{:02}-{:02}T{:02}:{:02}Z"]),
)
def test_a_time_is_read_as_strptime_reads_it(parts: tuple[int, ...], form: str) -> None:
    """The usual form has a shorter way, which takes and refuses the same."""
    text = form.format(*parts)
    stated = {"Timestamp": text, "AccessKeyId": "a", "Signature": "b", "SignatureNonce": "c", "SignatureVersion": "1.0"}
    request = receive("GET", urlencode({**stated, "SignatureMethod": "HMAC-SHA1"}), [], b"")
    try:
        expected = datetime.strptime(text, TIME_FORM).replace(tzinfo=UTC)
    except ValueError:
        with pytest.raises(TimestampMalformed):
            read_signed_request(request)
    else:
        assert read_signed_request(request).moment == expected
