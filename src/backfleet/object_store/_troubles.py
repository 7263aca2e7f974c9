"""What an object store may answer instead of an object, in sentences. One table."""

import re
from typing import Final


class Trouble(Exception):
    """The object store did not do what was asked. The text says what it was and what to do; it has no key in it."""


class Missing(Trouble):
    """There is no such object."""


class WrongBytes(Trouble):
    """An object's bytes are not those that its name says."""


class ForgottenUpload(Trouble):
    """The store does not know an upload in parts any more. Its answer to an earlier try of the last call was lost."""


CODES: Final = {
    "NoSuchBucket": "there is no such bucket; make it, or correct artifacts_url",
    "NoSuchUpload": "it twice forgot the parts of an upload before it was complete; see its own log",
    "InvalidBucketName": "it knows no bucket of such a name; correct artifacts_url",
    "InvalidAccessKeyId": "it does not know the access key; correct artifacts_credentials_file or AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret is not the one of the access key; correct it",
    "AccessDenied": "the key may not do that; it needs to list the bucket, and to get and put objects there",
    "AuthorizationHeaderMalformed": "the bucket is in another region; correct artifacts_region",
    "PermanentRedirect": "the bucket is in another region; correct artifacts_region or artifacts_endpoint",
    "IllegalLocationConstraintException": "the bucket is in another region; correct artifacts_region",
    "ExpiredToken": "the credentials have expired; renew them",
    "InvalidToken": "the session token is refused; renew the credentials",
    "RequestTimeTooSkewed": "this machine's clock is off; set it",
    "SlowDown": "it asks for fewer requests, and went on asking; try again later",
    "ServiceUnavailable": "it is not available; try again later",
    "QuotaExceeded": "the bucket is full; free some of it",
    "XMinioStorageFull": "its disk is full; free some of it",
}
STATUSES: Final = {
    "301": CODES["PermanentRedirect"],
    "307": CODES["PermanentRedirect"],
    "401": "it refuses the credentials; correct them",
    "403": CODES["AccessDenied"],
    "404": CODES["NoSuchBucket"],
    "429": CODES["SlowDown"],
    "503": CODES["SlowDown"],
}
NO_CREDENTIALS: Final = (
    "no credentials were found; name a file with artifacts_credentials_file, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
UNREACHABLE: Final = "it cannot be reached, or broke off; see artifacts_endpoint, and the network between"
WORDS: Final = {
    "redirect": CODES["PermanentRedirect"],
    "credential": NO_CREDENTIALS,
    "169.254.169.254": NO_CREDENTIALS,
    "certificate": "its certificate is not believed; name the authority's with outbound_authority",
    "non-partial": "it sends a part of an object as if it were all of it (200, where S3 says 206): no store for this",
    "timedout": "it did not answer in time; see artifacts_endpoint, and the network between",
}
"""Words in what the library says, where no store has answered."""


def code_of(text: str) -> str:
    """Return the store's own code in an error of the library; "" if it has none."""
    found = re.search(r"<Code>([A-Za-z0-9]{1,60})</Code>", text)
    return found[1] if found else ""


def sentence(text: str) -> str:
    """Return what an error of the library means. Nothing of its text is passed on but a code and a status. Pure."""
    code, status = code_of(text), re.search(r"status code: ([0-9]{3})", text)
    if code == "AccessDenied" and "request time" in text:  # as some stores say it, which are no AWS
        code = "RequestTimeTooSkewed"
    if code in CODES:
        return f"{CODES[code]} ({code})"
    if status:
        known = STATUSES.get(status[1], "see its own log")
        return f"it answered with {code or 'the status'} {status[1]}: {known}"
    reported = text.lower().replace("retry_timeout", "")
    return next((meaning for word, meaning in WORDS.items() if word in reported), UNREACHABLE)
