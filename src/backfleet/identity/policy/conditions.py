"""Conditions of the policy language: operators, their types, and the keys they apply to.

An operator or key that the engine does not know is refused when a policy is created. Ignoring it would let an Allow
allow too much, or a Deny deny too little.
"""

import ipaddress
import operator as compare
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from backfleet.identity.policy.pattern_sets import PatternSets
from backfleet.identity.policy.wildcards import canonical, fill, has_broken_variable, matches, variables_in
from backfleet.values import value_object

Context = Mapping[str, str | tuple[str, ...]]
"""The condition keys that a request has, and their values; a key may have several."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PARSED_KEPT: Final = 1024  # parsed values kept in memory, for each kind
_MAPPED_BITS: Final = 96  # of the network of all IPv4 addresses in their IPv6 form
_MAPPED: Final = int(ipaddress.IPv6Address("::ffff:0:0"))  # the first address of that network


class MalformedPolicy(ValueError):
    """A policy document that the engine cannot carry out exactly. The message names the element and the reason."""


class ValueType(StrEnum):
    """The type of the values of an operator or a key."""

    STRING = "string"
    NUMBER = "number"
    TIME = "time"
    BOOLEAN = "boolean"
    ADDRESS = "address"


# --- Parsing values: each function raises ValueError for a text that is not of its kind -----------------------------

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


@lru_cache(PARSED_KEPT)
def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return Decimal(text)


@lru_cache(PARSED_KEPT)
def _time(text: str) -> datetime:
    """Parse a moment. The zone is required: without it the moment would be a guess."""
    if not _TIME.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


@lru_cache(PARSED_KEPT)
def _network(text: str) -> Network:
    """Parse a network; a single address is a network of one. An IPv4 network in its IPv6 form is that IPv4 network."""
    found = ipaddress.ip_network(text, strict=False)
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= _MAPPED_BITS:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:  # addresses are compared in their IPv4 form: the network would never match
            return ipaddress.IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


@lru_cache(PARSED_KEPT)
def _address(text: str) -> Address:
    found = ipaddress.ip_address(text)
    # A server that listens on both families sees IPv4 peers in this form; policies name the plain IPv4 address.
    return getattr(found, "ipv4_mapped", None) or found


READERS: Final[dict[ValueType, Callable[[str], Any]]] = {
    ValueType.STRING: str,
    ValueType.NUMBER: _number,
    ValueType.TIME: _time,
    ValueType.BOOLEAN: _boolean,
    ValueType.ADDRESS: _network,
}
"""The parser of a policy's values, by the kind of the operator."""


# --- Operators ------------------------------------------------------------------------------------------------------

Test = Callable[[str, str], bool]
"""Compares the request's value (first) with the policy's (second), which was checked when the policy was parsed."""


@value_object
class Operator:
    """One comparison. A negated one holds if no value passes the test, and if the request lacks the key."""

    kind: ValueType
    test: Test
    negated: bool = False


def _both(kind: ValueType, relation: Callable[[Any, Any], Any]) -> Test:
    """Return a test that parses both sides and compares them. A request's value of another kind passes no test."""
    read = READERS[kind]

    def compare_parsed(given: str, value: str) -> bool:
        try:
            found = read(given)
        except ValueError:
            return False
        return bool(relation(found, read(value)))

    return compare_parsed


def _within(given: str, network: str) -> bool:
    """Return whether an address is in a network; an IPv4 address in an IPv6 one if its IPv6 form is.

    All of IPv6, `::/0`, is the one network of which IPv4 addresses are no part.
    """
    try:
        address, wanted = _address(given), _network(network)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address) and isinstance(wanted, ipaddress.IPv6Network) and wanted.prefixlen:
        return ipaddress.IPv6Address(_MAPPED + int(address)) in wanted
    return address in wanted


def _folded(given: str, value: str) -> bool:
    return given.casefold() == value.casefold()


def _like(given: str, pattern: str) -> bool:
    return matches((pattern,), given)


def _ordered(prefix: str, kind: ValueType) -> dict[str, Operator]:
    """Return the six comparisons of a kind that has an order."""
    return {
        f"{prefix}Equals": Operator(kind, _both(kind, compare.eq)),
        f"{prefix}NotEquals": Operator(kind, _both(kind, compare.eq), negated=True),
        f"{prefix}LessThan": Operator(kind, _both(kind, compare.lt)),
        f"{prefix}LessThanEquals": Operator(kind, _both(kind, compare.le)),
        f"{prefix}GreaterThan": Operator(kind, _both(kind, compare.gt)),
        f"{prefix}GreaterThanEquals": Operator(kind, _both(kind, compare.ge)),
    }


OPERATORS: Final[dict[str, Operator]] = {
    "StringEquals": Operator(ValueType.STRING, compare.eq),
    "StringNotEquals": Operator(ValueType.STRING, compare.eq, negated=True),
    "StringEqualsIgnoreCase": Operator(ValueType.STRING, _folded),
    "StringNotEqualsIgnoreCase": Operator(ValueType.STRING, _folded, negated=True),
    "StringLike": Operator(ValueType.STRING, _like),
    "StringNotLike": Operator(ValueType.STRING, _like, negated=True),
    **_ordered("Numeric", ValueType.NUMBER),
    **_ordered("Date", ValueType.TIME),
    "Bool": Operator(ValueType.BOOLEAN, _both(ValueType.BOOLEAN, compare.eq)),
    "IpAddress": Operator(ValueType.ADDRESS, _within),
    "NotIpAddress": Operator(ValueType.ADDRESS, _within, negated=True),
}
"""Every operator of the language. Source: RAM, policy elements, Condition."""


# --- Keys -----------------------------------------------------------------------------------------------------------

KEYS: Final[dict[str, ValueType]] = {
    "acs:currenttime": ValueType.TIME,
    "acs:securetransport": ValueType.BOOLEAN,
    "acs:sourceip": ValueType.ADDRESS,
    "acs:mfapresent": ValueType.BOOLEAN,  # no request has it: docs/api.md, "Policies"
    "acs:principalarn": ValueType.STRING,
    "acs:principalrdid": ValueType.STRING,
    "acs:service": ValueType.STRING,
    "acs:sourcevpc": ValueType.STRING,
    "acs:useragent": ValueType.STRING,
    "acs:username": ValueType.STRING,
    "acs:vpcsourceip": ValueType.ADDRESS,
    "acs:requesttag/": ValueType.STRING,  # a trailing slash: any name may follow
    "acs:resourcetag/": ValueType.STRING,
    "ecs:tag/": ValueType.STRING,
    "ecs:commandrunas": ValueType.STRING,
    "ecs:pluginname": ValueType.STRING,  # there are no plugins here: no request has it
    "ram:servicename": ValueType.STRING,
    "sts:externalid": ValueType.STRING,
    "sts:rolesessionname": ValueType.STRING,
    "oidc:iss": ValueType.STRING,
    "oidc:aud": ValueType.STRING,
    "oidc:sub": ValueType.STRING,
}
"""The keys that a request may have here, and the kind of their values. Letter case matters only after the slash."""

SERVED: Final = frozenset({"acs", "backfleet", "ecs", "hbr", "oidc", "ram", "sts"})
"""The services whose keys must be in the table. Keys of other services occur in policies copied from the cloud. No
request here has such a key, just as no request in the cloud has it outside its service."""

ALL_VALUES, ANY_VALUE = "ForAllValues", "ForAnyValue"


@value_object
class Condition:
    """One operator on one key. One matching value is enough; a negated operator requires that none matches.

    A request may have several values of a key. One of them that matches is enough, and a negated operator requires
    that none does. With `ForAnyValue:` before an operator, one of them must hold by itself; with `ForAllValues:`, all.
    """

    operator: str
    key: str
    values: tuple[str, ...]
    texts: frozenset[str] | None = field(init=False, compare=False, repr=False, default=None)
    """The values, if one of the request need only be equal to one of them."""
    known_as: str = field(init=False, compare=False, repr=False, default="")  # the key, as contexts spell it

    def __post_init__(self) -> None:
        object.__setattr__(self, "known_as", canonical(self.key))
        operator = OPERATORS.get(self.operator.rpartition(":")[2])
        if operator is not None and operator.test is compare.eq and not any("${" in value for value in self.values):
            object.__setattr__(self, "texts", frozenset(self.values))

    def holds(self, context: Context) -> bool:
        """Return whether a request meets the condition.

        A key that is absent meets negated operators and ForAllValues. A value of the policy that has a variable which
        the request does not have equals nothing.

        Args:
            context: condition keys in their canonical spelling, and their values.
        """
        quantifier, _, name = self.operator.rpartition(":")
        operator = OPERATORS[name]
        found = context.get(self.known_as, ())
        given = (found,) if isinstance(found, str) else found
        if quantifier == ANY_VALUE:
            return any(self._matches(operator, one, context) is not operator.negated for one in given)
        if quantifier == ALL_VALUES:
            return all(self._matches(operator, one, context) is not operator.negated for one in given)
        return any(self._matches(operator, one, context) for one in given) is not operator.negated

    def _matches(self, operator: Operator, given: str, context: Context) -> bool:
        """Return whether a value of the request passes the operator's test with one of the policy's."""
        if self.texts is not None:
            return given in self.texts
        if operator.test is _like:
            if any("${" in value for value in self.values):
                return bool(_sets(self.values).matching(given, context))
            return matches(self.values, given)
        filled = (fill(value, context) for value in self.values)
        return any(operator.test(given, value) for value in filled if value is not None)


@lru_cache(PARSED_KEPT)
def _sets(values: tuple[str, ...]) -> PatternSets:
    """Return patterns with variables, compiled: once, whatever the values of the variables are."""
    return PatternSets([values], variables=True)


def read_condition(operator: str, key: str, values: tuple[str, ...], *, elsewhere: bool = False) -> Condition:
    """Return a condition, after checking that the engine can carry it out.

    Args:
        elsewhere: the statement is about other products only. No request here gets as far as its conditions, so that
            their keys may be any.

    Raises:
        MalformedPolicy: the operator or the key is unknown, or a value is not of the operator's kind.
    """
    quantifier, colon, name = operator.rpartition(":")
    if name not in OPERATORS or (colon and quantifier not in (ALL_VALUES, ANY_VALUE)):
        raise MalformedPolicy(f"the condition operator {operator[:64]!r} is unknown")
    kind = OPERATORS[name].kind
    _check_key(operator, key, kind, elsewhere=elsewhere)
    if not values:
        raise MalformedPolicy(f"{operator} {key} needs a value")
    for value in values:
        if kind is ValueType.STRING:
            check_variables(value)
        try:
            READERS[kind](value)
        except ValueError:
            raise MalformedPolicy(f"{operator} {key} cannot be {value[:64]!r}: it is not of type {kind}") from None
    return Condition(operator, key, values)


def check_variables(text: str) -> None:
    """Raise MalformedPolicy if a policy variable in a text can never have a value, or does not end."""
    if has_broken_variable(text):
        raise MalformedPolicy(f"a variable in {text[:64]!r} must be of the form ${{<condition key>}}")
    for name in variables_in([text]):
        if _kind_of(name) is None:
            raise MalformedPolicy(f"the variable ${{{name[:64]}}} is not the name of a condition key")


def _kind_of(key: str) -> ValueType | None:
    head, slash, name = canonical(key).partition("/")
    return KEYS.get(f"{head}{slash}" if name else head)


def _check_key(operator: str, key: str, kind: ValueType, *, elsewhere: bool) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*:[^\x00-\x1f]{1,256}", key):
        raise MalformedPolicy(f"the condition key {key[:64]!r} must be of the form <service>:<name>")
    known = _kind_of(key)
    if known is None and not elsewhere and key.partition(":")[0].lower() in SERVED:
        raise MalformedPolicy(f"the condition key {key[:64]!r} is unknown")
    # Strings can be compared whatever they mean; the other operators could never hold on a key of another kind.
    if known not in (None, kind) and kind is not ValueType.STRING:
        raise MalformedPolicy(f"{operator} compares a {kind}, and {key} is a {known}")
