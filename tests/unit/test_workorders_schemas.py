"""Every example that the documentation shows is a valid message, and none shows a subscriber in full."""

from __future__ import annotations

import inspect
import json
import re

import pytest
from pydantic import BaseModel

from workorders import schemas

MODELS = [
    model
    for _, model in inspect.getmembers(schemas, inspect.isclass)
    if issubclass(model, BaseModel) and model.__module__ == schemas.__name__ and model is not schemas.Meaning
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_example_is_valid(model: type[BaseModel]) -> None:
    extra = model.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    [example] = extra["examples"]  # type: ignore[misc]
    again = model.model_validate_json(json.dumps(example)).model_dump(mode="json")
    assert again == example
    assert not re.search(r"s_[0-9a-f]{32}", json.dumps(example))


def test_a_subscriber_is_shortened() -> None:
    line = "s_" + "0123456789abcdef" * 2
    assert schemas.shown_subscriber(line, full=False) == "s_01234567…"
    assert schemas.shown_subscriber(line, full=True) == line
    assert schemas.shown_scope({"subscriber": line, "source": "pear-tv"}, full=False) == {
        "subscriber": "s_01234567…",
        "source": "pear-tv",
    }
