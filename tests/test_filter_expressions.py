"""Expressions that choose clients: what each means, what each refuses, and where."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.filter_expressions import DEEPEST, LONGEST, BadExpression, Expression, Subject, read_expression

FIELDS = ("name", "hostname", "package", "version", "newest")
WEB = Subject(
    {"name": "web-1", "hostname": "web-1.example", "package": "rclone", "version": "1.74.2", "newest": "1.75.2"},
    {"site": "ber", "role": "db and web", "backfleet:repository": "shop"},
    "pep440",
)


def holds(text: str, subject: Subject = WEB) -> bool | None:
    return read_expression(text, FIELDS).holds(subject)


def of_version(version: str, scheme: str) -> Subject:
    return Subject({"version": version}, {}, scheme)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version<1.75 and tag:site=ber", True),
        ("version<1.75 and tag:site=ham", False),
        ("version<1.8", False),  # as text it would be older
        ("version<1.100", True),
        ("version>=1.74.2", True),
        ("version>1.74.2", False),
        ("version == 1.74.2", True),
        ("version=1.74.2.0", True),  # the same place in the order
        ("version!=1.74.2.0", False),
        ("version~1.74.*", True),
        ("newest>1.75", True),
        ("version<newest", True),
        ("version=newest", False),
        ("newest not in (version, 3)", True),
        ("name=web-1", True),
        ("name=WEB-1", False),
        ("NAME=web-1", True),  # the field, not the value
        ("name~web-*", True),
        ("name!~web-*", False),
        ("name!=web-2", True),
        ("name in (web-2, web-1)", True),
        ("name not in (web-2, web-1)", False),
        ("version in (1.74.2.0, 1.60)", True),
        ("tag:site", True),
        ("tag:none", False),
        ("tag:none=x", False),
        ("tag:none!=x", True),
        ("tag:backfleet:repository=shop", True),
        ('tag:role="db and web"', True),
        ("tag:role='db and web'", True),
        (r"""tag:role="db \"and\" web" or not name=x""", True),
        ("not tag:site=ham", True),
        ("not not tag:site=ber", True),
        ("name=x or name=web-1 and version<1", False),  # `and` binds more strongly
        ("(name=x or name=web-1) and version<2", True),
        ("name=x OR Name=web-1", True),
        ("name=web-1andmore", False),
    ],
)
def test_an_expression_says_which_clients_it_means(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("version", "scheme", "text", "expected"),
    [
        ("1.75~rc1-1", "deb", "version<1.75", True),
        ("1.75~rc1-1", "deb", "version=1.75~rc1-1", True),
        ("1:1.0", "deb", "version>2.0", True),
        ("1.10-1+b9", "deb", "version<1.10-1+b10", True),
        ("2.8.1~rc1-3.fc40", "rpm", "version<2.8.1", True),
        ("3.0.9c", "natural", "version<3.0.10", True),
        ("2024.04.1", "calendar", "version<2024.10", True),
        ("1.0.0-rc.1", "semver", "version<1.0.0", True),
    ],
)
def test_versions_compare_by_the_scheme_of_their_package(version: str, scheme: str, text: str, expected: bool) -> None:
    assert holds(text, of_version(version, scheme)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version<1.75", None),
        ("not version<1.75", None),
        ("version!=1.75", None),
        ("version<1.75 or name=web-1", True),
        ("version<1.75 and name=web-1", None),
        ("version<1.75 and name=x", False),
        ("version=built-yesterday", True),
    ],
)
def test_what_cannot_be_compared_is_chosen_neither_by_a_condition_nor_by_its_opposite(
    text: str, expected: bool | None
) -> None:
    """A version that its scheme cannot read."""
    subject = Subject({"name": "web-1", "version": "built-yesterday"}, {}, "pep440")
    assert holds(text, subject) is expected
    assert holds("version<newest", subject) is None
    assert holds("version<newest", Subject({"version": "1.75rc1", "newest": "1.75"}, {}, "pep440")) is True
    assert holds("not version<1", of_version("", "pep440")) is None
    assert holds("version<2", of_version("1.0", "of-tomorrow")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host_version<0.10", True),  # as text it would be newer
        ("host_version<0.9.1", False),
        ("host_version>=0.9.1 and version<1.75", True),
        ("host_version=0.9.1", True),
        ("host_version~0.9.*", True),
        ("host_version<newest", None),  # the version of another package
        ("version<host_version", None),
    ],
)
def test_the_host_program_compares_by_its_own_scheme(text: str, expected: bool | None) -> None:
    """Whatever the scheme of the client's package is; hosts with another agent have none."""
    expression = read_expression(text, (*FIELDS, "host_version"))
    fields = {**WEB.fields, "host_version": "0.9.1"}
    assert expression.holds(Subject(fields, {}, "pep440")) is expected
    if "version<1.75" not in text:
        assert expression.holds(Subject({"host_version": "0.9.1", "newest": "1"}, {}, "")) is expected
    of_another_agent = Subject({**fields, "host_version": ""}, {}, "pep440")
    assert not expression.holds(of_another_agent)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "a field is wanted, the end was found; fields are hostname, name, newest, package, version, tag:KEY"),
        ("version<", 9, "a value is wanted, the end was found"),
        ("version<1.75 and", 17, "a field is wanted, the end was found"),
        ("version<1.75 tag:site=ber", 14, "'tag:site' is too much; join conditions with `and` or `or`"),
        ("versoin<1.75", 1, "there is no field 'versoin'; is 'version' meant?"),
        ("name<web", 5, "`<` compares versions only; use =, != or ~ with 'name'"),
        ("tag:site>ber", 9, "`>` compares versions only"),
        ("name", 5, "'name' is followed by the end; compare it, as in `name=...`"),
        ("name web-1", 6, "'name' is followed by 'web-1'"),
        ("(name=a", 1, "this parenthesis is not closed"),
        ("name in (a, b", 9, "this parenthesis is not closed"),
        ("name in a", 9, "`in` is followed by a list"),
        ("name=a)", 7, "')' is too much"),
        ("name='a", 6, 'a value is wanted, "\'" was found'),
        ("name=a=b", 7, "'=' is too much"),
        ("name not a", 10, "`not` is followed by 'a'"),
        ("(" * 40 + "name=a" + ")" * 40, DEEPEST + 2, "more than 30 parentheses are inside each other"),
        ("name=" + "a" * LONGEST, 1, f"the expression has {LONGEST + 5} characters; at most {LONGEST} are read"),
    ],
)
def test_an_error_says_what_is_wrong_where(text: str, position: int, message: str) -> None:
    with pytest.raises(BadExpression, match=re.escape(message)) as refused:
        read_expression(text, FIELDS)
    assert f"(at character {position})" in str(refused.value)
    line, mark = refused.value.pointer.split("\n")
    assert line in (text, "")
    assert mark.index("^") == position - 1


@given(st.text(alphabet="()'\"\\ =<>!~,naevrsiot:1.*\n\x00", max_size=60))
def test_every_text_is_an_expression_or_gets_one_error(text: str) -> None:
    """And what is read is answered for every subject."""
    found: Expression | BadExpression
    try:
        found = read_expression(text, FIELDS)
    except BadExpression as refused:
        found = refused
    if isinstance(found, BadExpression):
        assert 0 <= found.position <= len(text)
    else:
        assert {found.holds(WEB), found.holds(Subject({}))} <= {True, False, None}


def test_an_expression_knows_the_fields_that_it_names() -> None:
    """However deep they are; tags are no fields."""
    text = "not (version<2 or tag:platform=x) and (platform in (a, b) or not client=c)"
    assert read_expression(text, {"version", "platform", "client"}).fields == {"version", "platform", "client"}
    assert read_expression("tag:client", {"client"}).fields == frozenset()
