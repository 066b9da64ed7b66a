"""What the description of the API says of texts is what the server takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runs.api.api import api as studio_api
from runs.models import Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run

pytestmark = pytest.mark.django_db

TEXTS = (
    "a",
    "ab",
    " mnist\t",
    "two words",
    "Grüße",
    "-x",
    "1x",
    "x_y-1",
    "line\nend",
    "",
    "  ",
    "a\0b",
    "bell\x07",
    "\x85next",
    "\x9f",
    "a" * 24,
    "b" * 25,
    "c" * 64,
    "d" * 65,
    "e" * 100,
    "f" * 101,
    "g" * 255,
    "h" * 256,
    "i" * 257,
    "k" * 5_001,
    "l" * 50_001,
    "-created",
    "createdly",
    "metric:max:acc",
    "metric:mean:acc",
    "metric:last:",
)


def body_schema(path: str, method: str) -> dict[str, Any]:
    described = studio_api.get_openapi_schema(path_prefix="")
    schema = described["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = described["components"]["schemas"][name] if name else schema
    return found


def is_described(schema: dict[str, Any], text: str) -> bool:
    longest = schema.get("maxLength", len(text))
    return len(text) <= longest and re.search(schema["pattern"], text) is not None


def check(schema: dict[str, Any], send: Callable[[str], Any], field: str) -> None:
    """Each text is refused for this field if, and only if, it is not as described."""
    assert len({is_described(schema, text) for text in TEXTS}) == 2
    for text in TEXTS:
        answer = send(text)
        if is_described(schema, text):
            assert answer.status_code < 300, (text[:60], answer.content)
        else:
            assert (answer.status_code, refusal(answer)["field"].partition(".")[0]) == (422, field), text[:60]


RUNS, EXPERIMENTS = "/workspaces/{workspace}/runs", "/workspaces/{workspace}/experiments"
TARGETS = "/workspaces/{workspace}/compute-targets"


@pytest.mark.parametrize(
    ("path", "field", "more"),
    [
        (EXPERIMENTS, "name", {}),
        (RUNS, "experiment", {}),
        (RUNS, "display_name", {"experiment": "mnist"}),
        (RUNS, "description", {"experiment": "mnist"}),
        (TARGETS, "name", {}),
    ],
)
def test_texts_of_what_is_made(
    api_of: Callable[[User | Run | None], Api], chi: User, path: str, field: str, more: dict[str, str]
) -> None:
    owner = api_of(chi)
    schema = body_schema(path, "post")["properties"][field]
    address = path.format(workspace="default")
    check(schema, lambda text: owner.post(address, {**more, field: text}), field)


@pytest.mark.parametrize("what", ["tags", "properties"])
def test_keys_and_values_of_labels(api: Api, what: str) -> None:
    schema = body_schema(RUNS, "post")["properties"][what]
    value = schema["additionalProperties"]

    def send(labels: dict[str, str]) -> Any:
        return api.post("/workspaces/default/runs", {"experiment": "mnist", what: labels})

    check(schema["propertyNames"], lambda text: send({text: "x"}), what)
    check(value.get("anyOf", [value])[0], lambda text: send({"key": text}), what)


def test_orders(api: Api) -> None:
    path = studio_api.get_openapi_schema(path_prefix="")["paths"][RUNS]["get"]
    schema = next(one["schema"] for one in path["parameters"] if one["name"] == "order")
    check(schema, lambda text: api.get("/workspaces/default/runs", {"order": text}), "order")


def test_writers(api: Api, ana: User) -> None:
    run = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, submitter=ana)
    schema = body_schema("/runs/{run_id}/metrics", "post")["properties"]["writer"]
    batch = {"seq": 1, "series": []}
    check(schema, lambda text: api.post(f"/runs/{run.run_id}/metrics", {"writer": text, **batch}), "writer")


def undescribed(schema: Any, where: str) -> Iterator[str]:
    """The fields that nothing is said of, also those of shapes inside of this one."""
    for field, one in schema.get("properties", {}).items():
        if not one.get("description"):
            yield f"{where}.{field}"
        yield from undescribed(one, f"{where}.{field}")
    inside = [schema["items"]] if "items" in schema else schema.get("anyOf", [])
    for inner in inside:
        yield from undescribed(inner, where)


def test_every_field_and_every_parameter_is_described() -> None:
    described = studio_api.get_openapi_schema(path_prefix="")
    missing = [
        one for name, shape in described["components"]["schemas"].items() for one in undescribed(shape, name)
    ]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            parameters = operation.get("parameters", [])
            missing += [f"{where} {one['name']}" for one in parameters if not one.get("description")]
            for body in operation.get("requestBody", {}).get("content", {}).values():
                missing += undescribed(body["schema"], where)
    assert missing == []


def test_the_description_tells_the_words_and_the_shape_of_moments() -> None:
    fields = studio_api.get_openapi_schema(path_prefix="")["components"]["schemas"]["RunDetailOut"][
        "properties"
    ]
    for words, field in ((Kind, "kind"), (Status, "status")):
        assert all(word in fields[field]["description"] for word in words)
    assert fields["created_at"]["format"] == "date-time"
    assert fields["ended_at"]["anyOf"][0]["format"] == "date-time"
