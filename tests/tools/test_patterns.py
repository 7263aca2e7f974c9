"""A `$` of a regular expression matches before a last line end: no value is checked by one."""

import ast
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
READS_LINES = {"src/backfleet/rollouts/policy/faults.py"}
"""Files whose patterns read single lines, which have no line end."""


def patterns(tree: ast.AST) -> list[str]:
    """Return the texts that are given to functions of `re`, or as a pattern."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        is_re = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "re"
        given = [*(node.args[:1] if is_re else []), *(word.value for word in node.keywords if word.arg == "pattern")]
        for each in given:
            last = each.values[-1] if isinstance(each, ast.JoinedStr) and each.values else each
            if isinstance(last, ast.Constant) and isinstance(last.value, str | bytes):
                found.append(last.value if isinstance(last.value, str) else last.value.decode("latin-1"))
    return found


def test_no_pattern_ends_with_a_dollar_sign() -> None:
    """`fullmatch`, or `\\Z`."""
    bad = [
        f"{file.relative_to(SOURCES.parent)}: {pattern}"
        for file in sorted(SOURCES.rglob("*.py"))
        if str(file.relative_to(SOURCES.parent)) not in READS_LINES
        for pattern in patterns(ast.parse(file.read_text()))
        if pattern.endswith("$") and not pattern.endswith(r"\$")
    ]
    assert bad == []
    assert patterns(ast.parse("re.compile(r'a$'); text('x', pattern='b$')")) == ["a$", "b$"]
