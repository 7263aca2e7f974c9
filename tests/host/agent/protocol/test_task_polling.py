"""The query of a fetch."""

from backfleet_host.agent.protocol import task_polling


def test_the_query_of_a_fetch_has_the_official_order() -> None:
    """At start, and after a kick."""
    assert task_polling.list_query("startup", "", True, 1.5).startswith(
        "reason=startup&cold_start=true&currentTime=1500&offset="
    )
    assert task_polling.list_query("kickoff", "t-1", True, 1.5).startswith(
        "reason=kickoff&taskId=t-1&currentTime=1500&offset="
    )
