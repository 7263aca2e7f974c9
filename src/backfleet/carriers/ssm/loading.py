"""The function that needs the cloud's SDK, which takes a second to load: it loads it when it is called."""

from collections.abc import Callable

from backfleet.carriers.ecs.model import NO_SDK, EcsProblem, Trouble
from backfleet.carriers.ecs.round import Opening
from backfleet.carriers.ssm.problems import named
from backfleet.outbound import Destinations


def make_clouds(
    allowed: Destinations, open_secret: Callable[[str], str], may_use_own: Callable[[str], bool]
) -> Opening:
    """Return who makes clients of accounts of AWS. See `Clouds`. Raises EcsProblem where the SDK is not installed."""
    try:
        from backfleet.carriers.ssm.credentials import Clouds
    except ImportError as problem:
        text = f"the cloud's SDK is not installed here ({problem.name} is missing): run `pip install boto3`"
        raise EcsProblem(named(NO_SDK), text, Trouble.ACCOUNT) from None
    return Clouds(allowed, open_secret, may_use_own)
