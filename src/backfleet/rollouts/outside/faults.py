"""Outside checks of a policy that could never be asked."""

from backfleet.outbound import Destinations
from backfleet.rollouts.policy import Fault, Policy, Prometheus, Webhook


def faults_of(policy: Policy, destinations: Destinations, *, can_sign: bool) -> list[Fault]:
    """Return the checks whose destination the server's settings do not allow, or lack.

    Args:
        policy: the policy.
        destinations: what the settings allow.
        can_sign: the settings name a secret for webhooks.
    """
    faults = []
    for ring, each in enumerate(policy.rings):
        for position, check in enumerate(each.checks):
            key = f"ring[{ring}].gates[{position}].url"
            if isinstance(check, Webhook) and not can_sign:
                wanted = "have `webhook_secret_file` set in the server's settings, or use another gate"
                faults.append(Fault(0, key, "a `webhook` gate", wanted))
            if isinstance(check, Prometheus) and not check.url and not destinations.prometheus_url:
                faults.append(
                    Fault(0, key, "no url", "give one, or have `prometheus_url` set in the server's settings")
                )
            if isinstance(check, Webhook | Prometheus) and check.url:
                why = destinations.refusal(check.url)
                if why:
                    faults.append(Fault(0, key, check.url, why))
    return faults
