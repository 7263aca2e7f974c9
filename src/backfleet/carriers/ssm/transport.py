"""How requests of the SDK travel: by `outbound`, so that each goes to an address that was checked, and is bounded.

No proxy of the environment is used, no redirect is followed, and nothing is sent a second time.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError

from backfleet.outbound import Destinations, NoAnswer, fetch, resolve

LONGEST_ANSWER: Final = 8 * 1024 * 1024  # bytes; 50 instances are some 100 KB
ANSWER_SECONDS: Final = 20.0  # until all of an answer is there

Send = Callable[..., AWSResponse]


def sender(allowed: Destinations, authority: str) -> Send:
    """Return a handler of the SDK's event `before-send`, which sends the request itself.

    Args:
        allowed: where the server may go.
        authority: certificates in PEM form; "" = what the system trusts.

    Raises:
        ValueError: the authority is none.
    """
    trust = ssl.create_default_context(cadata=authority or None)

    def send(request: Any, **_more: object) -> AWSResponse:
        """Send it. Raises NotAllowed, or HTTPClientError where there is no answer."""
        url = str(request.url)
        headers = {name: _text(value) for name, value in request.headers.items()} | {"Host": urlsplit(url).netloc}
        body = request.body.encode() if isinstance(request.body, str) else bytes(request.body or b"")
        try:
            place = allowed.place_of(url, resolve)
            reply = fetch(place, request.method, body=body, headers=headers, trust=trust, seconds=ANSWER_SECONDS,
                          largest=LONGEST_ANSWER)  # fmt: skip
        except (OSError, NoAnswer) as problem:
            raise HTTPClientError(error=problem) from None
        answer = AWSResponse(url, reply.status, reply.headers, None)
        answer._content = reply.body
        return answer

    return send


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
