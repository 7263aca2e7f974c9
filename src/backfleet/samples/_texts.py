"""What the comments of every sample say."""

import re

from backfleet.samples._call import SampleCall

KEY_ID, SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
TOKEN, AUTHORITY = "ALIBABA_CLOUD_SECURITY_TOKEN", "BACKFLEET_CA"
TIMEOUT_MS = 60_000  # of one request: an upgrade of a hundred clients is planned in it


def summary(call: SampleCall) -> str:
    """Return the first sentence of an operation's description."""
    text = " ".join((call.operation.run.__doc__ or "").split())
    first = re.split(r"(?<=\.)\s", text, maxsplit=1)[0].rstrip(".")
    return f"{call.operation.name} ({call.operation.product.code}): {first}."


def header(call: SampleCall, needs: str) -> list[str]:
    """Return the lines of the comment at the top of a sample."""
    lines = [
        summary(call),
        "",
        f"Needs {needs}. Reads from the environment:",
        f"  {KEY_ID}, {SECRET}  the access key",
        f"  {TOKEN}  of a temporary key only",
        f"  {AUTHORITY}  ca.pem of the server, where its certificate is of its own authority",
    ]
    return lines + [f"  {variable}  the value of the parameter" for variable in call.variables]


def commented(lines: list[str], mark: str) -> str:
    """Return lines as comments."""
    return "\n".join(f"{mark} {line}".rstrip() for line in lines)
