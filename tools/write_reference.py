"""Write docs/reference/ from the catalogue of operations: `write_reference.py`; `--check` reports differences."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import backfleet.app  # noqa: F401 - every operation enters the catalogue
from backfleet.endpoints.openapi.document import TITLES, described_error, value_schema
from backfleet.operations.catalogue import PRODUCTS, Operation, Product, every_operation
from backfleet.samples import LANGUAGES, Target, command, example_values, find_operation, make_sample, sample_call
from backfleet.wire.parameters import Parameter, parameters_of
from backfleet.wire.shapes import Anything, Maybe

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}
SERVER = Target("host:8443", "cn-hangzhou")
SHOWN = "DescribeTask"
KINDS = {
    "json list": "JSON list of strings",
    "json object": "JSON object",
    "repeat list": "`.1`, `.2`, ...",
    "repeat objects": "`.1.*`, `.2.*`, ...",
}


def pages() -> dict[str, str]:
    """Return the text of each page, by its file name."""
    every = every_operation()
    made = {
        f"{product.code}.md": _page(product, [o for o in every if o.product == product])
        for product in PRODUCTS.values()
    }
    return made | {"README.md": _index(every), "samples.md": _samples()}


def _index(every: list[Operation]) -> str:
    lines = [
        "# Reference",
        "",
        "Printed from the description by which the server parses requests (`tools/write_reference.py`). Every server",
        "has it as an OpenAPI 3.1 document at `/openapi.json`, too. Our decisions, and why: [the API](../api.md).",
        "",
        "Each operation is shown as a call by the command line; [the same call in every language](samples.md).",
        "The explorer of a server's console, `/console/explorer`, has a form for each, and calls it as you.",
        "",
    ]
    for product in PRODUCTS.values():
        names = [operation.name for operation in every if operation.product == product]
        links = ", ".join(f"[{name}]({product.code}.md#{name.lower()})" for name in names)
        lines += [f"**{TITLES[product.code]}**, {product.version}: {links}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _samples() -> str:
    lines = [
        f"# {SHOWN} in every language",
        "",
        "Printed by the templates of [code samples](../samples.md). Every other operation, with your own values:",
        "`backfleet sample OPERATION --language NAME Key=Value...`.",
        "",
    ]
    operation = find_operation(SHOWN)
    call = sample_call(operation, example_values(operation), SERVER)
    for language in LANGUAGES.values():
        # Shell blocks of other pages are examples that tests run as they stand; these need a server of this name.
        markup = "text" if language.markup == "bash" else language.markup
        code = make_sample(call, language.name).code.rstrip("\n")
        lines += [f"## {language.title}", "", f"```{markup}", code, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _page(product: Product, operations: list[Operation]) -> str:
    lines = [f"# {TITLES[product.code]}, {product.version}", ""]
    for operation in operations:
        lines += _operation(operation)
    return "\n".join(lines).rstrip() + "\n"


def _operation(operation: Operation) -> list[str]:
    text = " ".join(re.split(r"\n\s*(?:Args|Returns|Raises|Source):", operation.run.__doc__ or "")[0].split())
    permission = f"`{operation.action}`" if operation.action else "none needed"
    notes = [f"Permission: {permission}."]
    if operation.administrator_only:
        notes.append("For the administrator account only.")
    if operation.needs_tls:
        notes.append("Over TLS only, where `require_tls` is set.")
    if operation.anonymous:
        notes.append("Works without a signature, too.")
    if operation.streams:
        notes.append("The body of the request is the file.")
    call = command(sample_call(operation, example_values(operation), SERVER))
    lines = [f"## {operation.name}", "", text, "", " ".join(notes), "", "```text", call, "```", ""]
    parameters = parameters_of(operation.request)
    if parameters:
        lines += ["| parameter | what it is | |", "|---|---|---|"]
        lines += [row for parameter in parameters for row in _rows(parameter)]
        lines.append("")
    lines += ["```json", json.dumps(_shown(operation.answer), indent=2), "```", ""]
    if operation.errors:
        lines += ["| status | code | what it means |", "|---|---|---|"]
        for error in map(described_error, operation.errors):
            lines.append(f"| {error['status']} | `{error['code']}` | {_cell(error['meaning'])} |")
        lines.append("")
    return lines


def _rows(parameter: Parameter, prefix: str = "", times: str = "") -> list[str]:
    name = prefix + parameter.name
    if parameter.kind == "repeat objects":
        most = f"at most {parameter.limits['most']} of them"
        members = parameters_of(parameter.limits["of"])
        return [row for member in members for row in _rows(member, f"{name}.N.", most)]
    schema = value_schema(parameter)
    if parameter.kind == "repeat list":
        name, times = f"{name}.N", f"at most {parameter.limits['most']} of them"
    what = KINDS.get(parameter.kind, schema["type"]) if parameter.kind.startswith("json") else schema["type"]
    limits = [*_limits(schema), *([times] if times else [])]
    needed = "required" if parameter.required and not prefix else ""
    return [f"| `{name}` | {what}{': ' if limits else ''}{_cell('; '.join(limits))} | {needed} |"]


def _limits(schema: dict[str, Any]) -> list[str]:
    found = []
    if "enum" in schema:
        found.append(" or ".join(f"`{choice}`" for choice in schema["enum"]))
    if "minimum" in schema or "maximum" in schema:
        found.append(f"{schema.get('minimum', '...')} to {schema.get('maximum', '...')}")
    if "maxLength" in schema:
        found.append(f"at most {schema['maxLength']} characters")
    if "pattern" in schema:
        found.append(f"`{schema['pattern'][4:-2]}`")
    if schema.get("default") not in (None, ""):
        found.append(f"`{json.dumps(schema['default']).strip(chr(34))}` if not given")
    if schema.get("format") == "password":
        found.append("never shown again")
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown(shape: Any) -> Any:
    """Return a shape as an example of itself."""
    if isinstance(shape, Maybe):
        inner = _shown(shape.shape)
        return f"{inner} (may be absent)" if isinstance(inner, str) else inner
    if shape is Anything:
        return "any JSON"
    if isinstance(shape, list):
        return [_shown(shape[0])]
    if isinstance(shape, dict):
        return {name: _shown(member) for name, member in shape.items()}
    return NAMES[shape]


def main() -> int:
    """Write the pages, or compare them with `--check`; return 1 if one differs."""
    made = pages()
    if "--check" in sys.argv:
        differing = [name for name, text in made.items() if not _is(FOLDER / name, text)]
        print(
            "\n".join(
                f"docs/reference/{name} differs from the catalogue; run tools/write_reference.py" for name in differing
            )
        )
        return int(bool(differing))
    FOLDER.mkdir(exist_ok=True)
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    return 0


def _is(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
