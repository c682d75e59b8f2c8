"""Examples in the documentation are ones that the service would take or give."""

from __future__ import annotations

import inspect

import pytest
from pydantic import BaseModel

from cem.access import schemas as access
from cem.customers import schemas as customers

MODELS = [
    model
    for module in (access, customers)
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, BaseModel) and model.model_config.get("json_schema_extra")
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_an_example_fits_its_model(model: type[BaseModel]) -> None:
    extra = model.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    for example in extra["examples"]:  # type: ignore[union-attr]
        assert model.model_validate(example)


def test_there_are_models_to_look_at() -> None:
    assert len(MODELS) > 15


@pytest.mark.parametrize(
    "model",
    [
        access.LoginRequest(name="a", password="hidden"),
        access.PasswordChange(current_password="hidden", new_password="hidden"),
        access.NewUserRequest(name="abc", roles=["agent"], password="hidden"),
        access.DeviceTokenRequest(number="hidden"),
        customers.LookupRequest(number="hidden"),
        customers.ProvisionedCustomer(number="hidden"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_secrets_and_numbers_are_in_no_text_form(model: BaseModel) -> None:
    assert "hidden" not in repr(model) + str(model)
