"""Measure the source and compare it with its limits: `measure_code.py [--report] [--source FOLDER] [--tests FOLDER]`.

Prints the figures, then one line for each breach of a limit; exits with 1 if there is one. `--report` prints only the
figures. Import cycles, between modules and between packages, are found among all imports: also those inside functions
and those for type checking only.
Released migrations are not measured: they are never edited again.
"""

import argparse
import ast
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent
MOST_FUNCTION_LINES = 40
MOST_FILE_LINES = 400
LEAST_DOCUMENTED = 0.98
LONGEST_SHOWN = 5

Definition = ast.FunctionDef | ast.AsyncFunctionDef
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    path: Path
    name: str  # dotted
    lines: int
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Function:
    """One function or method, nested ones included."""

    module: Module
    name: str
    line: int
    length: int  # lines from `def` to the end, without the docstring
    public: bool  # neither it nor what it is in begins with an underscore, and it is not inside a function
    documented: bool


@dataclass(frozen=True)
class Measures:
    """Everything that is compared with a limit or printed."""

    modules: list[Module]
    functions: list[Function]
    cycles: list[list[str]]
    tests: int
    mocks: int

    @property
    def documented(self) -> float:
        """The share of public functions with a docstring, from 0 to 1."""
        public = [function for function in self.functions if function.public]
        return sum(function.documented for function in public) / len(public) if public else 1.0


def measure(source: Path, tests: Path) -> Measures:
    """Parse every Python file of both folders and measure it.

    Raises:
        ValueError: the source folder has no Python files, so that every limit would be kept.
    """
    modules = [module for module in _modules(source) if "migrations/versions" not in module.path.as_posix()]
    if not modules:
        raise ValueError(f"{source} has no Python files")
    functions = [function for module in modules for function in _functions(module)]
    trees = [module.tree for module in _modules(tests)]
    return Measures(
        modules,
        functions,
        every_cycle(import_graph(modules)),
        sum(map(_count_tests, trees)),
        sum(map(_count_mocks, trees)),
    )


def _modules(folder: Path) -> list[Module]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(path, name, len(text.splitlines()), ast.parse(text, str(path))))
    return found


def _functions(module: Module) -> Iterator[Function]:
    def walk(node: ast.AST, public: bool, prefix: str) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Definition):
                name, shown = prefix + child.name, public and not child.name.startswith("_")
                documented = ast.get_docstring(child, clean=False) is not None
                yield Function(module, name, child.lineno, _length(child), shown, documented)
                yield from walk(child, False, f"{name}.")
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, public and not child.name.startswith("_"), f"{prefix}{child.name}.")
            else:
                yield from walk(child, public, prefix)

    return walk(module.tree, True, "")


def _length(function: Definition) -> int:
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    hidden = (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - hidden


def import_graph(modules: Iterable[Module]) -> Graph:
    """Return which of these modules each one imports, anywhere in its file.

    The packages above an imported module are not counted as imported: a package would then be in a cycle with each
    of its modules. A package that is named itself is.
    """
    known = {module.name: module for module in modules}
    return {name: set(_imports(module, known)) for name, module in known.items()}


def _imports(module: Module, known: dict[str, Module]) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner in known:
                    yield inner
                elif base in known:
                    yield base


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    above = module.package.split(".")
    above = above[: len(above) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def package_graphs(graph: Graph) -> list[Graph]:
    """Return, for each package, how the packages and modules directly inside it import each other."""
    inside: dict[str, Graph] = {"": {}}
    for module, imported in graph.items():
        for other in {module, *imported}:
            here, there = module.split("."), other.split(".")
            shared = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
            if shared is not None:
                siblings = inside.setdefault(".".join(here[:shared]), {})
                siblings.setdefault(".".join(there[: shared + 1]), set())
                siblings.setdefault(".".join(here[: shared + 1]), set()).add(".".join(there[: shared + 1]))
    return list(inside.values())


def every_cycle(graph: Graph) -> list[list[str]]:
    """Return the cycles between modules, and those between packages."""
    found = cycles_in(graph)
    for siblings in package_graphs(graph):
        found += [cycle for cycle in cycles_in(siblings) if cycle not in found]
    return found


def cycles_in(graph: Graph) -> list[list[str]]:
    """Return a shortest cycle of each group of modules that import each other, smallest names first."""
    cycles = []
    done: set[str] = set()
    for name in sorted(graph):
        if name not in done:
            cycle = _way(graph, name, name)
            if cycle:
                cycles.append(cycle)
                done |= {other for other in _reached(graph, name) if name in _reached(graph, other)}
    return cycles


def _reached(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _way(graph: Graph, start: str, goal: str) -> list[str]:
    """Return a shortest way along imports, without the goal at its end; empty if there is none."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        for other in sorted(graph[name]):
            if other == goal:
                way = [name]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if other not in came_from:
                came_from[other] = name
                waiting.append(other)
    return []


def _count_tests(tree: ast.Module) -> int:
    return sum(isinstance(node, Definition) and node.name.startswith("test_") for node in ast.walk(tree))


def _count_mocks(tree: ast.Module) -> int:
    """Count stand-ins for our code: `Mock()` and its kin, `patch()`, `monkeypatch.setattr()`."""
    return sum(isinstance(node, ast.Call) and _is_mock(ast.unparse(node.func)) for node in ast.walk(tree))


def _is_mock(called: str) -> bool:
    last = called.rpartition(".")[2]
    return (
        last in ("Mock", "MagicMock", "AsyncMock", "NonCallableMock", "PropertyMock", "create_autospec")
        or called in ("patch", "mock.patch", "monkeypatch.setattr", "monkeypatch.setitem")
        or called.startswith(("patch.", "mock.patch.", "unittest.mock.", "mocker."))
    )


def report(measures: Measures) -> Iterator[str]:
    """Yield the figures, a line each."""
    lengths = sorted(function.length for function in measures.functions) or [0]
    public = sum(function.public for function in measures.functions)
    yield f"files       {len(measures.modules)}"
    yield f"lines       {sum(module.lines for module in measures.modules)}"
    yield (
        f"functions   {len(measures.functions)}; lines: median {statistics.median(lengths):g}, "
        f"p90 {lengths[int(0.9 * (len(lengths) - 1))]}, max {lengths[-1]}"
    )
    yield f"documented  {measures.documented:.1%} of {public} public functions"
    yield f"cycles      {len(measures.cycles)}"
    per_test = measures.mocks / max(measures.tests, 1)
    yield f"mocks       {measures.mocks} in {measures.tests} tests ({per_test:.3f} per test)"
    yield "longest files"
    for module in sorted(measures.modules, key=lambda module: -module.lines)[:LONGEST_SHOWN]:
        yield f"  {module.lines:5} {_shown(module.path)}"


def breaches(measures: Measures) -> Iterator[str]:
    """Yield one line for each limit that is not kept: where, what was found, what is allowed."""
    for function in measures.functions:
        if function.length > MOST_FUNCTION_LINES:
            where = f"{_shown(function.module.path)}:{function.line}"
            yield f"{where}: {function.name} has {function.length} lines, at most {MOST_FUNCTION_LINES}; split it"
    for module in measures.modules:
        if module.lines > MOST_FILE_LINES:
            yield f"{_shown(module.path)}: {module.lines} lines, at most {MOST_FILE_LINES}; split it by subject"
    for cycle in measures.cycles:
        yield f"import cycle: {' -> '.join([*cycle, cycle[0]])}; move what both need below both"
    if measures.documented < LEAST_DOCUMENTED:
        missing = [f for f in measures.functions if f.public and not f.documented]
        share, least = f"{measures.documented:.1%}", f"{LEAST_DOCUMENTED:.0%}"
        yield f"documented: {share} of public functions, at least {least}; without are:"
        yield from (f"  {_shown(f.module.path)}:{f.line} {f.name}" for f in missing)


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


def main(arguments: list[str]) -> int:
    """Print the figures and the breaches; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="print the figures only; limits are not compared")
    parser.add_argument("--source", type=Path, default=PROJECT / "src")
    parser.add_argument("--tests", type=Path, default=PROJECT / "tests")
    asked = parser.parse_args(arguments)
    measures = measure(asked.source, asked.tests)
    print("\n".join(report(measures)))
    if asked.report:
        return 0
    found = list(breaches(measures))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
