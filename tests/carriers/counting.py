"""What was counted of calls of clouds."""

from backfleet.carriers import ecs


def calls_of(carrier: str) -> dict[tuple[str, str], float]:
    """Return how many calls of a carrier were made, by action and outcome."""
    return {
        (sample.labels["action"], sample.labels["outcome"]): sample.value
        for metric in ecs.CALLS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["carrier"] == carrier
    }
