"""An installation with two hosts that run a small client."""

from collections.abc import Iterator

import pytest

from journeys.installation import Installation


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server with two hosts that run version 1.0 of the client."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    try:
        made.start()
        made.enrol(2)
        made.install("1.0")
        yield made
    finally:
        made.close()
