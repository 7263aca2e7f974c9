"""What a host printed of its order. It is read by several who decide on the same news."""

import functools
from typing import Final

from backfleet.values import value_object
from backfleet_host.contract import Report, read_instead, read_output
from backfleet_host.texts import printable

KEPT: Final = 100  # outputs, of as many KiB each as a command may print


@value_object
class HostOutput:
    """What a host's output says: the last step begun ("" if none), and its report if there is one."""

    stage: str
    report: Report | None
    instead: str = ""  # that another host program than this server's was used


@functools.lru_cache(maxsize=KEPT)
def read_host_output(output: bytes) -> HostOutput:
    """Read all that a host printed."""
    text = output.decode(errors="replace")
    stage, report = read_output(text)
    return HostOutput(stage, report, printable(read_instead(text)) if b'"instead"' in output else "")
