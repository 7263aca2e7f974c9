"""Flat names, `A.1.B` and JSON in a string <-> typed requests.

A request is a value object whose fields say how each parameter travels:

    @value_object
    class Request:
        instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
        page_size: int = integer("PageSize", default=10, least=1, most=99)

- `parse(Request, flat)` reads one from merged query and form parameters; `flatten(request)` is the way back.
- `merge` makes one mapping of query and form parameters.
- `parameters_of(Request)` describes the parameters.
- `faults` finds everything that is wrong with the values of a call, `unknown_names` what no parameter reads.
- `text`, `integer`, `boolean`, `json_list`, `json_object`, `repeat` and `repeat_objects` make fields.

Unknown parameters are ignored, because official clients add some of their own. Empty text counts as not given. Names
are case-sensitive, except the members of repeated objects (`Tag.N.key`).
"""

from backfleet.wire.parameters._checking import faults, is_given, unknown_names
from backfleet.wire.parameters._json import json_list, json_object
from backfleet.wire.parameters._repeated import repeat, repeat_objects
from backfleet.wire.parameters._requests import Parameter, flatten, merge, parameters_of, parse
from backfleet.wire.parameters._single import boolean, integer, text

__all__ = [
    "Parameter",
    "boolean",
    "faults",
    "flatten",
    "integer",
    "is_given",
    "json_list",
    "json_object",
    "merge",
    "parameters_of",
    "parse",
    "repeat",
    "repeat_objects",
    "text",
    "unknown_names",
]
