"""Expressions that choose clients and hosts, such as `version<1.75 and tag:site=ber`: read and evaluated. Pure.

    expression = term { "or" term }          term = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | field operator value | field ["not"] "in" list
    list       = "(" value { "," value } ")"
    field      = a name | "tag:" key         a tag alone means that it is there
    operator   = "=" "==" "!=" "~" "!~" and, of versions, "<" "<=" ">" ">="
    value      = a word | "text" | 'text'    "~" takes * and ?; of a version also the name of another: version<newest

Versions compare by the scheme of their package. What cannot be compared is neither true nor false: neither the
expression nor its opposite chooses it.
"""

import difflib
import operator
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Final

from backfleet.values import value_object
from backfleet_host.versions import SCHEMES, scheme_of

HOST_VERSION: Final = "host_version"  # of the host program, whatever package the subject is of
HOST_SCHEME: Final = scheme_of("pep440")
LONGEST: Final = 2000  # characters of an expression
DEEPEST: Final = 30  # parentheses and `not` inside each other
VERSION_FIELDS: Final = frozenset({"version", "newest", HOST_VERSION})
TAG: Final = "tag:"
_ORDER: Final = ("<=", ">=", "<", ">")
_OPERATORS: Final = ("==", "!=", "!~", *_ORDER, "=", "~")
_COMPARE: Final = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_QUOTED: Final = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_OPERATOR: Final = re.compile("|".join(re.escape(each) for each in _OPERATORS))
_WORD: Final = re.compile(r"[^\s()<>=!~,'\"]+")
_TAG: Final = re.compile(rf"(?i:tag:)({_QUOTED}|[^\s()<>=!~,'\"]+)")
_VALUE: Final = re.compile(rf"{_QUOTED}|[^\s()<>=!~,'\"][^\s()<>=!,'\"]*")  # Debian's versions have ~ inside
_SPACE: Final = re.compile(r"\s*")


class BadExpression(ValueError):
    """An expression cannot be read; `position` counts characters from 0."""

    def __init__(self, message: str, text: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.text, self.position = text, position

    @property
    def pointer(self) -> str:
        """The expression with a mark below the place, as compilers show it."""
        return f"{self.text}\n{' ' * self.position}^"


@value_object
class Subject:
    """What an expression is asked about: its fields, its tags, and the name of the scheme of its versions."""

    fields: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    scheme: str = ""


@value_object
class _Comparison:
    name: str  # of a field, or the key of a tag
    is_tag: bool
    sign: str  # "" = the tag is there
    values: tuple[str, ...] = ()

    def holds(self, subject: Subject) -> bool | None:
        found = (subject.tags if self.is_tag else subject.fields).get(self.name)
        if not self.sign:
            return found is not None
        if self.sign in ("!=", "!~"):
            return _opposite(self._any(found, subject, "=" if self.sign == "!=" else "~"))
        return self._any(found, subject, self.sign)

    def _any(self, found: str | None, subject: Subject, sign: str) -> bool | None:
        if not self.is_tag and self.name in VERSION_FIELDS and sign != "~":
            return _any_of([_compare_versions(self.name, sign, value, subject) for value in self.values])
        if found is None:
            return False
        if sign == "~":
            return any(fnmatchcase(found, value) for value in self.values)
        return found in self.values


@value_object
class _Not:
    inner: "_Node"

    def holds(self, subject: Subject) -> bool | None:
        return _opposite(self.inner.holds(subject))


@value_object
class _All:
    parts: tuple["_Node", ...]

    def holds(self, subject: Subject) -> bool | None:
        return _opposite(_any_of([_opposite(part.holds(subject)) for part in self.parts]))


@value_object
class _Any:
    parts: tuple["_Node", ...]

    def holds(self, subject: Subject) -> bool | None:
        return _any_of([part.holds(subject) for part in self.parts])


_Node = _Comparison | _Not | _All | _Any


@value_object
class Expression:
    """An expression that was read."""

    text: str
    root: _Node

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it names, tags left out."""
        return frozenset(_fields_of(self.root))

    def holds(self, subject: Subject) -> bool | None:
        """Return whether it is true of a subject; None if a version in it cannot be compared."""
        return self.root.holds(subject)


def _fields_of(node: _Node) -> Iterator[str]:
    match node:
        case _Comparison():
            if not node.is_tag:
                yield node.name
        case _Not():
            yield from _fields_of(node.inner)
        case _:
            for part in node.parts:
                yield from _fields_of(part)


def read_expression(text: str, fields: Collection[str]) -> Expression:
    """Read an expression.

    Args:
        text: the expression.
        fields: the names of the fields that it may use, in lower case.

    Raises:
        BadExpression: it cannot be read; the text says what was found where, and what would do.
    """
    if len(text) > LONGEST:
        raise BadExpression(f"the expression has {len(text)} characters; at most {LONGEST} are read", "", 0)
    reader = _Reader(text, sorted(fields))
    root = reader.any(0)
    if not reader.at_end:
        raise reader.fault(f"{reader.rest!r} is too much; join conditions with `and` or `or`")
    return Expression(text, root)


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._text, self._fields, self._at = text, fields, 0
        self._skip_space()

    @property
    def at_end(self) -> bool:
        return self._at == len(self._text)

    @property
    def rest(self) -> str:
        """The beginning of what was not read yet, for messages."""
        found = _WORD.match(self._text, self._at)
        return found[0][:40] if found else self._text[self._at : self._at + 1]

    def fault(self, message: str, at: int | None = None) -> BadExpression:
        return BadExpression(message, self._text, self._at if at is None else at)

    def any(self, depth: int) -> _Node:
        parts = [self._all(depth)]
        while self._take_word("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def _all(self, depth: int) -> _Node:
        parts = [self._factor(depth)]
        while self._take_word("and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def _factor(self, depth: int) -> _Node:
        if depth > DEEPEST:
            raise self.fault(f"more than {DEEPEST} parentheses are inside each other")
        if self._take_word("not"):
            return _Not(self._factor(depth + 1))
        opened = self._at
        if not self._take("("):
            return self._comparison()
        inner = self.any(depth + 1)
        if not self._take(")"):
            raise self.fault("this parenthesis is not closed", opened)
        return inner

    def _comparison(self) -> _Node:
        name, is_tag = self._field()
        negated = self._take_word("not")
        if self._take_word("in"):
            found = _Comparison(name, is_tag, "=", self._list())
            return _Not(found) if negated else found
        if negated:
            raise self.fault(f"`not` is followed by {self._shown}; write `{name} not in (...)` or `not {name}=...`")
        at, sign = self._at, self._operator()
        if not sign:
            if is_tag:
                return _Comparison(name, is_tag, "")
            raise self.fault(f"{name!r} is followed by {self._shown}; compare it, as in `{name}=...`")
        if sign in _ORDER and (is_tag or name not in VERSION_FIELDS):
            raise self.fault(f"`{sign}` compares versions only; use =, != or ~ with {name!r}", at)
        return _Comparison(name, is_tag, "=" if sign == "==" else sign, (self._value(),))

    def _field(self) -> tuple[str, bool]:
        at = self._at
        if tag := _TAG.match(self._text, at):
            self._move_to(tag.end())
            return _unquoted(tag[1]), True
        word = _WORD.match(self._text, at)
        if word is None:
            raise self.fault(f"a field is wanted, {self._shown} was found; fields are {self._known}")
        name = word[0].lower()
        if name not in self._fields:
            close = difflib.get_close_matches(name, [*self._fields, "tag:"], 1)
            advice = f"is {close[0]!r} meant? " if close else ""
            raise self.fault(f"there is no field {word[0][:40]!r}; {advice}fields are {self._known}")
        self._move_to(word.end())
        return name, False

    def _operator(self) -> str:
        found = _OPERATOR.match(self._text, self._at)
        if found is None:
            return ""
        self._move_to(found.end())
        return found[0]

    def _value(self) -> str:
        found = _VALUE.match(self._text, self._at)
        if found is None:
            raise self.fault(f"a value is wanted, {self._shown} was found")
        self._move_to(found.end())
        return _unquoted(found[0])

    def _list(self) -> tuple[str, ...]:
        opened = self._at
        if not self._take("("):
            raise self.fault("`in` is followed by a list, as in `in (a, b)`")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        if not self._take(")"):
            raise self.fault("this parenthesis is not closed", opened)
        return tuple(values)

    @property
    def _known(self) -> str:
        return ", ".join([*self._fields, "tag:KEY"])

    @property
    def _shown(self) -> str:
        return "the end" if self.at_end else repr(self.rest)

    def _take(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._move_to(self._at + 1)
        return True

    def _take_word(self, word: str) -> bool:
        found = _WORD.match(self._text, self._at)
        if found is None or found[0].lower() != word:
            return False
        self._move_to(found.end())
        return True

    def _move_to(self, position: int) -> None:
        self._at = position
        self._skip_space()

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] in ("'", '"') else value


def _compare_versions(name: str, sign: str, value: str, subject: Subject) -> bool | None:
    """Return whether the version in a field is in a range of one bound; None if they do not compare.

    The bound may be another field of the same subject, as in `version<newest`: then its order alone decides.
    """
    is_field = value in VERSION_FIELDS
    version, bound = subject.fields.get(name, ""), subject.fields.get(value, "") if is_field else value
    if not version or not bound:
        return version == bound if sign == "=" else None
    if is_field and HOST_VERSION in (name, value) and name != value:
        return None
    if name != HOST_VERSION and subject.scheme not in SCHEMES:
        return None
    scheme = HOST_SCHEME if name == HOST_VERSION else scheme_of(subject.scheme)
    one, other = scheme.order_of(version), scheme.order_of(bound)
    if is_field:
        return None if one is None or other is None else bool(_COMPARE[sign](one, other))
    wanted = f"{'==' if sign == '=' else sign}{value}"
    if one is None or not scheme.is_range(wanted):
        return True if sign == "=" and version == value else None
    return scheme.within(version, wanted)


def _opposite(found: bool | None) -> bool | None:
    return None if found is None else not found


def _any_of(found: Sequence[bool | None]) -> bool | None:
    """Return True if one is, else None if one cannot be said, else False."""
    if True in found:
        return True
    return None if None in found else False
