"""A literal of any language stands for exactly the text that it was made of."""

import ast
import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.samples import _quoting
from endpoints.openapi.client_programs import needs_go, needs_java
from samples.running import HOSTILE

PIECES = (
    "'", '"', "\\", "`", "$", "${", "#{", "\n", "\r", "\t", "\x01", "\x1b", "\x7f", "\x85", "\u2028", "\u202e",
    "é", "备", "😀", "\U000e0001", "\\u", "\\n", "0", "7", "a", "f", "%s", "</script>", "*/", "//", "!", "~", "=", "-",
    " ", "\ue000", "\ufeff",
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def hostile_texts() -> list[str]:
    """Return the same 300 texts in every run: pieces that quoting may get wrong, side by side."""
    choose = random.Random(54)
    made = ["".join(choose.choices(PIECES, k=choose.randint(0, 8))) for _ in range(300)]
    return [*made, *PIECES, HOSTILE, "~user", "=ls", "-x", "é" * 70_000]


@given(texts)
def test_in_python(text: str) -> None:
    """Read back by Python's own reader of literals; a line stays one."""
    literal = _quoting.python(text)
    assert ast.literal_eval(literal) == text
    assert len(literal.splitlines()) == 1


def test_in_a_shell() -> None:
    """By bash: each is one word, on one line, and nothing in it is carried out."""
    found = [_quoting.shell(text) for text in hostile_texts()]
    assert all(len(word.splitlines()) == 1 for word in found)
    script = "words=(\n" + "\n".join(found) + "\n)\nprintf '%s\\0' \"${words[@]}\""
    out = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True, timeout=60).stdout
    assert out.decode().split("\0")[:-1] == hostile_texts()


def test_in_typescript() -> None:
    """By node, as JavaScript: the literals of both are the same."""
    program = f"process.stdout.write(JSON.stringify([{', '.join(map(_quoting.typescript, hostile_texts()))}]))"
    out = subprocess.run(["node"], input=program.encode(), capture_output=True, check=True, timeout=60).stdout
    assert json.loads(out) == hostile_texts()


@pytest.mark.parametrize(
    "run",
    [pytest.param("go", marks=needs_go), pytest.param("java", marks=needs_java)],
)
def test_in_compiled_languages(run: str, tmp_path: Path) -> None:
    """By their compilers, without a setting for the encoding of the source."""
    file, command = {"go": go_program, "java": java_program}[run](tmp_path)
    locale = {"LC_ALL": "C", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}
    out = subprocess.run([*command, str(file)], env=os.environ | locale, capture_output=True, check=True, timeout=100)
    assert out.stdout.decode().split("\0")[:-1] == hostile_texts()


def go_program(folder: Path) -> tuple[Path, list[str]]:
    literals = "".join(f"\t{_quoting.go(text)},\n" for text in hostile_texts())
    code = (
        f'package main\n\nimport "fmt"\n\nvar texts = []string{{\n{literals}}}\n\n'
        'func main() {\n\tfor _, each := range texts {\n\t\tfmt.Print(each, "\\x00")\n\t}\n}\n'
    )
    file = folder / "main.go"
    file.write_text(code, encoding="utf-8")
    return file, ["go", "run"]


def java_program(folder: Path) -> tuple[Path, list[str]]:
    adds = "".join(f"        out.print({_quoting.java(text)} + '\\0');\n" for text in hostile_texts())
    code = (
        "class Quotes {\n    public static void main(String[] args) throws Exception {\n"
        f'        var out = new java.io.PrintStream(System.out, true, "UTF-8");\n{adds}    }}\n}}\n'
    )
    file = folder / "Quotes.java"
    file.write_text(code, encoding="ascii")
    return file, ["java", "-Xmx128m"]
