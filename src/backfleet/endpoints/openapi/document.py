"""Every operation as an OpenAPI 3.1 document, made from the catalogue alone. Pure.

The RPC protocol has one path and tells operations apart by two parameters; OpenAPI needs a path for each. So each has
`/#Action=...&Version=...`: the part after `#` is never sent, so calls go to `/`, as they must.
Why: docs/decisions/0018-openapi-document.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from backfleet import VERSION
from backfleet.operations.catalogue import Operation
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import Parameter, parameters_of
from backfleet.wire.shapes import schema

TITLES: Final = {
    "hbr": "Cloud Backup",
    "ecs": "Cloud Assistant",
    "sts": "Security Token Service",
    "ram": "Resource Access Management",
    "backfleet": "Backfleet",
}
REQUEST_ID: Final = {"type": "string", "description": "Upper-case UUID, also in the header x-acs-request-id."}
ERROR: Final = {
    "type": "object",
    "description": "A refusal. The codes of an operation's own are listed with it.",
    "properties": {
        "Code": {"type": "string"},
        "Message": {"type": "string"},
        "RequestId": REQUEST_ID,
        "HostId": {"type": "string"},
        "Recommend": {"type": "string"},
        "AccessDeniedDetail": {"type": "object"},
    },
    "required": ["Code", "Message", "RequestId", "HostId"],
}
SIGNED: Final = (
    "Every call is signed: V3 (ACS3-HMAC-SHA256, in the header Authorization) or V1 (parameters Signature, "
    "SignatureMethod, SignatureNonce, ...), as official clients do. See docs/api.md."
)


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the whole document as JSON values."""
    every = list(operations)
    codes = {operation.product.code: operation.product for operation in every}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Backfleet", "version": VERSION, "description": SIGNED},
        "servers": [{"url": "/"}],
        "tags": [{"name": code, "description": f"{TITLES[code]} {product.version}"} for code, product in codes.items()],
        "paths": {path_of(operation): {"post": _described(operation)} for operation in every},
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "signature": {"type": "apiKey", "in": "header", "name": "Authorization", "description": SIGNED}
            },
        },
        "security": [{"signature": []}],
    }


def path_of(operation: Operation) -> str:
    """Return the path of an operation in the document."""
    return f"/#Action={operation.name}&Version={operation.product.version}"


def _described(operation: Operation) -> dict[str, Any]:
    text = " ".join((operation.run.__doc__ or "").split("Raises:")[0].split())
    found: dict[str, Any] = {
        "operationId": f"{operation.product.code}_{operation.name}",
        "tags": [operation.product.code],
        "summary": text.partition(". ")[0].rstrip(".") + ".",
        "description": text,
        "parameters": [*_constants(operation), *_parameters(parameters_of(operation.request))],
        "responses": {
            "200": {"description": "A success.", "content": {"application/json": {"schema": _answer(operation)}}},
            "default": {
                "description": "A refusal.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
        "x-ram-action": operation.action or "",
        "x-errors": [described_error(error) for error in operation.errors],
    }
    if operation.streams:
        found["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    if operation.anonymous:
        found["security"] = [{"signature": []}, {}]
    return found


def described_error(error: type[ApiError]) -> dict[str, Any]:
    """Return the code, HTTP status and meaning of an error."""
    return {"code": error.code, "status": error.status, "meaning": " ".join((error.__doc__ or "").split())}


def _answer(operation: Operation) -> dict[str, Any]:
    found = schema(operation.answer)
    if "properties" in found:
        found = {
            **found,
            "properties": {**found["properties"], "RequestId": REQUEST_ID},
            "required": [*found["required"], "RequestId"],
        }
    return found


def _constants(operation: Operation) -> list[dict[str, Any]]:
    constant = {"Action": operation.name, "Version": operation.product.version}
    return [
        {"name": name, "in": "query", "required": True, "schema": {"const": value}} for name, value in constant.items()
    ]


def _parameters(parameters: Iterable[Parameter], prefix: str = "") -> list[dict[str, Any]]:
    """Return one entry for each parameter; for a repeated one the first, with how often it may occur."""
    found: list[dict[str, Any]] = []
    for parameter in parameters:
        name = prefix + parameter.name
        if parameter.kind == "repeat objects":
            found += [
                {**member, "required": False, "x-repeat": parameter.limits["most"]}
                for member in _parameters(parameters_of(parameter.limits["of"]), f"{name}.1.")
            ]
            continue
        one: dict[str, Any] = {"name": name, "in": "query", "required": parameter.required}
        if parameter.kind == "repeat list":
            one |= {"name": f"{name}.1", "x-repeat": parameter.limits["most"]}
        found.append(one | {"schema": value_schema(parameter)})
    return found


def value_schema(parameter: Parameter) -> dict[str, Any]:
    """Return the JSON Schema of one value of a parameter."""
    limits: Mapping[str, Any] = parameter.limits
    if parameter.kind == "integer":
        bounds = {"minimum": limits.get("least"), "maximum": limits.get("most"), "default": limits.get("default")}
        return {"type": "integer"} | _given(bounds)
    if parameter.kind == "boolean":
        return {"type": "boolean"} | _given({"default": limits.get("default")})
    if parameter.kind == "json list":
        inner = {"type": "array", "items": {"type": "string", "maxLength": limits.get("longest_item", 128)}}
        return {"type": "string", "contentMediaType": "application/json", "contentSchema": inner}
    if parameter.kind == "json object":
        return {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "object"}}
    text = {
        "minLength": 1 if parameter.required else None,  # empty text counts as not given
        "maxLength": limits.get("longest") or limits.get("longest_item"),
        "pattern": f"^(?:{limits['pattern']})$" if limits.get("pattern") else None,
        "enum": list(limits.get("choices") or ()) or None,
        "default": limits.get("default"),
        "format": "password" if limits.get("secret") else None,
    }
    return {"type": "string"} | _given(text)


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
