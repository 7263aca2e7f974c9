"""What a sample is made of, and what is refused."""

import importlib
import inspect
import warnings
from typing import Any

import pytest

import backfleet.app  # noqa: F401 - every operation enters the catalogue
from backfleet.operations.catalogue import Operation, every_operation
from backfleet.samples import (
    LANGUAGES,
    BadCall,
    Target,
    example_values,
    find_operation,
    make_sample,
    sample_call,
)
from backfleet.samples._python import FURTHER, JSON_TEXT, PACKAGES, WITHOUT_REQUEST, snake
from backfleet.wire.parameters import parameters_of

TARGET = Target("fleet.example:8443", "cn-hangzhou")


def code(operation: str, language: str, values: dict[str, str]) -> str:
    return make_sample(sample_call(find_operation(operation), values, TARGET), language).code


@pytest.mark.parametrize(
    ("operation", "values", "text"),
    [
        ("DescribeTsk", {}, "there is no operation 'DescribeTsk'; did you mean DescribeTask"),
        ("quux", {}, "there is no operation 'quux'; docs/reference lists them all"),
        ("DescribeRegions", {}, "DescribeRegions is an operation of 2 products; write ecs:DescribeRegions or hbr:Desc"),
        ("ram:DescribeTask", {}, "there is no operation 'ram:DescribeTask'"),
        ("DescribeTask", {}, "TaskId is mandatory for this action."),
        ("DescribeTask", {"TaskID": "t-1"}, "DescribeTask has no parameter 'TaskID'; did you mean TaskId?"),
        ("DescribeTask", {"TaskId": "t-1", "Zone": "a"}, "it has TaskId"),
        ("ListUsers", {"MaxItems": "many"}, "MaxItems is 'many'; it must be a whole number."),
        ("RunCommand", {"Tag.1.Kee": "x"}, "RunCommand has no parameter 'Tag.1.Kee'; did you mean Tag.1.Key"),
        ("DescribeTask", {"TaskId": "t\0"}, "is not text"),
        ("GetCallerIdentity", {"Who": "me"}, "it takes none"),
    ],
)
def test_a_wrong_call_is_one_clear_error(operation: str, values: dict[str, str], text: str) -> None:
    with pytest.raises(BadCall) as refused:
        code(operation, "python", values)
    assert text in str(refused.value)


def test_every_fault_of_a_call_is_named_at_once() -> None:
    with pytest.raises(BadCall) as refused:
        code("ListTasks", "go", {"PageSize": "many", "PageNumber": "-1"})
    assert "PageSize is 'many'" in str(refused.value)
    assert "PageNumber is -1" in str(refused.value)


def test_an_unknown_language_is_refused_with_the_closest() -> None:
    with pytest.raises(BadCall, match=r"no samples in 'typscript'; did you mean typescript\?"):
        code("ListTasks", "typscript", {})
    with pytest.raises(BadCall, match="there are python, python-generic, typescript, go"):
        code("ListTasks", "cobol", {})


@pytest.mark.parametrize("endpoint", ["", "a b:1", 'x"; os.system("id")', "host:1\n2", "https://host:8443"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(BadCall, match="is no endpoint; write HOST:PORT"):
        sample_call(find_operation("ListTasks"), {}, Target(endpoint, "cn-hangzhou"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_value_of_a_secret_is_never_part_of_a_sample(language: str) -> None:
    """Whatever is given for it: the environment has it."""
    text = code("UpdateClientSettings", language, {"ClientId": "c-1", "ProxyPassword": "hunter2"})
    assert "hunter2" not in text
    assert "PROXY_PASSWORD" in text
    assert "ALIBABA_CLOUD_ACCESS_KEY_SECRET" in text


def test_every_operation_has_an_example_in_every_language() -> None:
    """Files, too, except by the command that sends none."""
    for operation in every_operation():
        call = sample_call(operation, example_values(operation), TARGET)
        for language in LANGUAGES:
            if operation.streams and language == "aliyun":
                with pytest.raises(BadCall, match="sends no files"):
                    make_sample(call, language)
            else:
                assert operation.name in make_sample(call, language).code


def typed(operation: Operation) -> tuple[Any, Any]:
    """Return the typed client's class and models for a product."""
    package = PACKAGES[operation.product.code]
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(f"{package}.client").Client, importlib.import_module(f"{package}.models")


def test_typed_samples_use_what_the_typed_clients_have() -> None:
    """A new operation or parameter that they lack must be entered in the tables of the typed samples."""
    lacking, without, as_text = set(), set(), set()
    for operation in every_operation():
        if operation.product.code not in PACKAGES:
            continue
        client, models = typed(operation)
        assert hasattr(client, snake(operation.name)), operation.name
        model = getattr(models, f"{operation.name}Request", None)
        if model is None:
            without.add(operation.name)
            continue
        fields = inspect.signature(model.__init__).parameters
        for parameter in parameters_of(operation.request):
            if snake(parameter.name) not in fields:
                lacking.add((operation.name, parameter.name))
            elif parameter.kind == "json list" and fields[snake(parameter.name)].annotation == "str":
                as_text.add((operation.name, parameter.name))
            elif parameter.kind == "repeat objects":
                inner = getattr(models, f"{operation.name}Request{parameter.name}")
                known = inspect.signature(inner.__init__).parameters
                assert {snake(each.name) for each in parameters_of(parameter.limits["of"])} <= known.keys()
    assert (lacking, without, as_text) == (FURTHER, WITHOUT_REQUEST, JSON_TEXT)
