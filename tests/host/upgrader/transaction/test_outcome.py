"""What an order leaves behind about its end."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

Host = Any  # the fixtures' classes live in conftest.py
Shop = Any


def test_outcome_files_say_when_an_order_ended(shop: Shop, host: Host) -> None:
    """The last one, and that of each order: in UTC, as a person reads it."""
    shop.add("1.0")
    report = host.carry("install", "1.0")
    package = host.installation.package(report.package)
    for file in (package.folder / "outcome.json", package.outcome(report.order_id)):
        written = json.loads(file.read_text())
        assert written["report"]["outcome"] == "succeeded"
        ended = datetime.fromisoformat(written["ended"])
        assert ended.utcoffset() == timedelta()
        assert abs(datetime.now(UTC) - ended) < timedelta(hours=1)
