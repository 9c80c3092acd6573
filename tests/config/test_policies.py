"""The policies' models equal the builders they stand for: names, arguments, defaults, bounds."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from pydantic import BaseModel

from spice_keras.augment.policies import POLICIES, build_policy
from spice_keras.config.policies import PolicyConfig, expand_name

_MODELS: dict[str, type[BaseModel]] = {
    model.model_fields["policy"].default: model for model in get_args(get_args(PolicyConfig)[0])
}


def test_there_is_a_model_for_every_builder_and_no_other() -> None:
    assert set(_MODELS) == set(POLICIES)


@pytest.mark.parametrize("name", sorted(_MODELS))
def test_fields_and_defaults_are_the_builders(name: str) -> None:
    fields = {key: field.default for key, field in _MODELS[name].model_fields.items()}
    assert fields.pop("policy") == name
    parameters = inspect.signature(POLICIES[name]).parameters
    assert fields == {key: parameter.default for key, parameter in parameters.items()}
    for key, parameter in parameters.items():
        assert type(fields[key]) is type(parameter.default), key


@pytest.mark.parametrize("name", sorted(_MODELS))
def test_every_bound_of_a_model_is_accepted_by_its_builder(name: str) -> None:
    """What the configuration lets through must not fail when the run has begun."""
    for key, field in _MODELS[name].model_fields.items():
        for bound in field.metadata:
            limits = [getattr(bound, kind, None) for kind in ("ge", "le")]
            for value in (limit for limit in limits if limit is not None):
                build_policy(name, **{key: type(field.default)(value)})


def test_a_bare_name_expands_and_everything_else_stays() -> None:
    assert expand_name("moco") == {"policy": "moco"}
    assert expand_name({"policy": "weak"}) == {"policy": "weak"}
    assert expand_name(None) is None
