"""Each limit of the code has a tree that breaks it alone, and the checker has to say so."""

import subprocess
import sys
from pathlib import Path

import pytest

from measure_code import MOST_FILE_LINES, MOST_FUNCTION_LINES, PROJECT, Measures, breaches, main, measure, report

GOOD = {"shop/__init__.py": '"""A shop."""\n', "shop/till.py": 'def pay() -> None:\n    """Pay."""\n    return\n'}


def measured(folder: Path, files: dict[str, str], tests: dict[str, str] | None = None) -> Measures:
    for top, texts in (("src", files), ("tests", tests or {})):
        (folder / top).mkdir()
        for name, text in texts.items():
            (folder / top / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / top / name).write_text(text)
    return measure(folder / "src", folder / "tests")


def found(folder: Path, files: dict[str, str]) -> list[str]:
    return list(breaches(measured(folder, GOOD | files)))


def function_of(lines: int) -> str:
    body = '    """Line one.\n\n    More.\n    """\n' + "    pass\n" * (lines - 1)
    return f"def long() -> None:\n{body}"


def test_a_tree_within_its_limits_has_no_breach(tmp_path: Path) -> None:
    assert found(tmp_path, {}) == []


def test_the_longest_function_allowed_may_have_a_docstring_besides(tmp_path: Path) -> None:
    assert found(tmp_path, {"shop/a.py": function_of(MOST_FUNCTION_LINES)}) == []


def test_a_function_with_a_line_too_many_is_named_with_its_place(tmp_path: Path) -> None:
    (line,) = found(tmp_path, {"shop/a.py": "\n" + function_of(MOST_FUNCTION_LINES + 1)})
    assert line.endswith("shop/a.py:2: long has 41 lines, at most 40; split it")


def test_methods_and_nested_functions_are_measured_too(tmp_path: Path) -> None:
    lines = "\n".join("            pass" for _ in range(MOST_FUNCTION_LINES))
    text = f'class Till:\n    def pay(self) -> None:\n        """Pay."""\n        def inner() -> None:\n{lines}\n'
    assert [line.split(" has ")[0].rpartition(" ")[2] for line in found(tmp_path, {"shop/a.py": text})] == [
        "Till.pay",
        "Till.pay.inner",
    ]


def test_a_file_with_a_line_too_many_is_named(tmp_path: Path) -> None:
    fits, too_long = "#\n" * MOST_FILE_LINES, "#\n" * (MOST_FILE_LINES + 1)
    (line,) = found(tmp_path, {"shop/a.py": fits, "shop/b.py": too_long})
    assert line.endswith("shop/b.py: 401 lines, at most 400; split it by subject")


@pytest.mark.parametrize(
    "back",
    [
        "import shop.a\n",
        "from shop import a\n",
        "from shop.a import A\n",
        "from . import a\n",
        "from .a import A\n",
        "def later() -> None:\n    '''Later.'''\n    from shop.a import A\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.a import A\n",
    ],
)
def test_a_cycle_is_found_however_it_is_imported(tmp_path: Path, back: str) -> None:
    (line,) = found(tmp_path, {"shop/a.py": "from shop.b import B\n", "shop/b.py": back})
    assert line.startswith("import cycle: shop.a -> shop.b -> shop.a;")


def test_a_long_cycle_is_found_once_and_in_its_shortest_form(tmp_path: Path) -> None:
    files = {
        "shop/a.py": "import shop.b\nimport shop.c\n",
        "shop/b.py": "import shop.c\n",
        "shop/c.py": "import shop.a\n",
    }
    (line,) = found(tmp_path, files)
    assert line.startswith("import cycle: shop.a -> shop.c -> shop.a;")


def test_a_module_that_imports_from_its_package_is_in_a_cycle_with_it(tmp_path: Path) -> None:
    files = {"shop/__init__.py": "from shop.a import A\n", "shop/a.py": "from shop import OPEN\n"}
    (line,) = found(tmp_path, files)
    assert line.startswith("import cycle: shop -> shop.a -> shop;")


def test_packages_that_import_each_other_by_different_modules_are_in_a_cycle(tmp_path: Path) -> None:
    files = {
        "shop/front/a.py": "import shop.back.a\n", "shop/back/a.py": "",
        "shop/back/b.py": "import shop.front.b\n", "shop/front/b.py": "",
    }  # fmt: skip
    (line,) = found(tmp_path, files)
    assert line.startswith("import cycle: shop.back -> shop.front -> shop.back;")


def test_importing_downwards_is_no_cycle(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "from shop.a import A\n",
        "shop/a.py": "from shop.b import B\n",
        "shop/b.py": "import os\n",
    }
    assert found(tmp_path, files) == []


def test_public_functions_without_a_docstring_are_listed(tmp_path: Path) -> None:
    text = "class _Hidden:\n    def a(self): ...\nclass Till:\n    def pay(self): ...\n    def _count(self): ...\n"
    first, second = found(tmp_path, {"shop/a.py": text})
    assert first == "documented: 50.0% of public functions, at least 98%; without are:"
    assert second.endswith("shop/a.py:4 Till.pay")


def test_released_migrations_are_not_measured(tmp_path: Path) -> None:
    assert found(tmp_path, {"shop/migrations/versions/0001_first.py": "#\n" * 1000}) == []


def test_mocks_and_tests_are_counted(tmp_path: Path) -> None:
    test = "def test_a(monkeypatch):\n    monkeypatch.setenv('A', 'b')\n    monkeypatch.setattr(till, 'pay', Mock())\n"
    measures = measured(tmp_path, GOOD, {"test_a.py": test, "test_b.py": "async def test_b(): ...\n"})
    assert (measures.mocks, measures.tests) == (2, 2)
    assert "mocks       2 in 2 tests (1.000 per test)" in list(report(measures))


def test_an_empty_folder_is_an_error_and_not_a_good_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Python files"):
        measured(tmp_path, {})


def test_the_exit_code_tells_and_the_report_never_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path, {"shop.py": "def pay(): ...\n"})
    folders = ["--source", str(tmp_path / "src"), "--tests", str(tmp_path / "tests")]
    assert main(["--report", *folders]) == 0
    assert capsys.readouterr().err == ""
    assert main(folders) == 1
    assert "shop.py:1 pay" in capsys.readouterr().err


def test_it_runs_as_make_lint_runs_it() -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / "measure_code.py", "--report"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("files ")
