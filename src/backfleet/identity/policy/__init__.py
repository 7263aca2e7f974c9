"""The policy language: documents, conditions, and decisions. Pure: no I/O, no tables, no clock.

`parse_document` turns an identity policy into statements, `parse_trust` the trust policy of a role. Both refuse what
the engine cannot carry out. `Permissions.decide` decides one action on one resource for a caller, `decide` does so for
plain statements, and `decide_trust` decides whether a role may be assumed. Each returns a `Decision` with its reason.
"""

from backfleet.identity.policy.conditions import Condition, Context, MalformedPolicy
from backfleet.identity.policy.decisions import (
    ALLOWED,
    Decision,
    Effect,
    Permissions,
    Statement,
    Target,
    decide,
    root_statement,
)
from backfleet.identity.policy.documents import LONGEST_DOCUMENT, parse_document
from backfleet.identity.policy.trust_policies import (
    ASSUME,
    Principal,
    TrustStatement,
    decide_trust,
    parse_trust,
    ram_principals,
)
from backfleet.identity.policy.wildcards import canonical

__all__ = [
    "ALLOWED",
    "ASSUME",
    "LONGEST_DOCUMENT",
    "Condition",
    "Context",
    "Decision",
    "Effect",
    "MalformedPolicy",
    "Permissions",
    "Principal",
    "Statement",
    "Target",
    "TrustStatement",
    "canonical",
    "decide",
    "decide_trust",
    "parse_document",
    "parse_trust",
    "ram_principals",
    "root_statement",
]
