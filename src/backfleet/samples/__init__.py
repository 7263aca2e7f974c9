"""Calls as code that runs as it stands: one template a language over the catalogue of operations. Pure.

- `sample_call` makes a call out of the name of an operation and values as they are on the wire, and finds what is wrong
  with them (`check_names` only whether it has such parameters); `make_sample` returns its code in one of `LANGUAGES`.
- `command` returns the call of our own command line alone, `example_values` values where nobody gave any.
- `find_operation` finds an operation by the name that a person typed.

No sample holds a secret: key, token and the values of secret parameters are read from the environment.
Why each template is as it is: docs/decisions/0054-code-samples.md.
"""

from backfleet.samples._call import BadCall, SampleCall, Target, Value, check_names, sample_call, variable_of
from backfleet.samples._examples import example_values
from backfleet.samples._finding import find_operation
from backfleet.samples._languages import LANGUAGES, Language, Sample, make_sample
from backfleet.samples._our_command import command

__all__ = [
    "LANGUAGES",
    "BadCall",
    "Language",
    "Sample",
    "SampleCall",
    "Target",
    "Value",
    "check_names",
    "command",
    "example_values",
    "find_operation",
    "make_sample",
    "sample_call",
    "variable_of",
]
