"""One report on this node's disk: what it says, and the form of its file."""

import json
from dataclasses import field

from backfleet.values import value_object


class Unreadable(ValueError):
    """The content of a file is no report."""


@value_object
class SpooledReport:
    """One report of a task as it arrived."""

    instance_id: str
    kind: str  # running, finish...
    query: dict[str, str]
    body: bytes = field(repr=False)
    received_at: float  # Unix time, seconds
    fingerprint: int  # of its request id

    @property
    def task_id(self) -> str:
        """The task's id as it was sent; it may be any text."""
        return self.query.get("taskId", "")

    def to_bytes(self) -> bytes:
        """Return the content of its file: a line of JSON, then the body."""
        head = {
            "instance_id": self.instance_id,
            "kind": self.kind,
            "query": self.query,
            "received_at": self.received_at,
            "mark": self.fingerprint,  # earlier builds named it so; files of theirs may still wait
        }
        return json.dumps(head).encode() + b"\n" + self.body

    @classmethod
    def from_bytes(cls, content: bytes) -> "SpooledReport":
        """Read the content of a file.

        Raises:
            Unreadable: it is no report.
        """
        head, _, body = content.partition(b"\n")
        try:
            facts = json.loads(head)
            found = cls(fingerprint=facts.pop("mark"), body=body, **facts)
            if not (isinstance(found.query, dict) and isinstance(found.received_at, int | float)):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise Unreadable(f"{type(problem).__name__}: {problem}") from None
        return found
