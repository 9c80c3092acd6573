"""The schema: defaults of the paper, frozen, strict, bounded, and the same after a round trip."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spice_keras.config.loading import check, load_config
from spice_keras.config.schema import RunConfig
from spice_keras.config.yaml_reader import read_yaml
from spice_keras.errors import UserError


def test_defaults_are_the_papers() -> None:
    config = RunConfig()
    assert config.pretrain.temperature == 0.2
    assert config.pretrain.momentum == 0.999
    assert config.pretrain.epochs == 1000
    assert config.pretrain.views.policy == "moco"
    assert config.self_labeling.num_heads == 10
    assert config.self_labeling.confident_ratio == 0.5
    assert config.self_labeling.weak.policy == "weak"
    assert config.self_labeling.strong.policy == "spice"
    assert config.reliable.num_neighbors == 100
    assert config.reliable.consistency_threshold == 0.95
    assert config.reliable.confidence_threshold == 0.99
    assert config.semi.threshold == 0.95
    assert config.semi.unlabeled_ratio == 7
    assert config.semi.steps == 2**20
    assert config.semi.ema_momentum == 0.999


def test_the_default_configuration_is_valid() -> None:
    assert check(RunConfig().as_dict(), origin="defaults") == RunConfig()


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (None, "seed", 1),
        ("pretrain", "epochs", 3),
        ("self_labeling", "large_batch", 3),
        ("semi", "weak", "moco"),
    ],
)
def test_nothing_can_be_assigned(section: str | None, name: str, value: Any) -> None:
    config = RunConfig()
    target = config if section is None else getattr(config, section)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(target, name, value)


def test_a_policy_cannot_be_assigned_to() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().semi.strong.num_ops = 9  # type: ignore[union-attr, misc]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", "3"),
        ("seed", True),
        ("seed", 1.0),
        ("seed", -1),
        ("seed", 2**31),
        ("num_clusters", 1),
        ("num_clusters", 10.0),
        ("precision", "float16"),
        ("name", ""),
        ("name", "../outside"),
        ("name", "a" * 65),
        ("data.image_size", 7),
        ("data.max_skipped_share", 1.01),
        ("pretrain.symmetric", "yes"),
        ("pretrain.symmetric", 1),
        ("pretrain.temperature", 0),
        ("pretrain.temperature", float("inf")),
        ("pretrain.learning_rate", float("nan")),
        ("pretrain.epochs", 0),
        ("self.confident_ratio", 0.0),
        ("self.large_batch", None),
        ("reliable.consistency_threshold", 1.0),
        ("semi.strong.num_ops", 15),
        ("semi.weak.shift", 1.5),
        ("semi.weak.shift", float("inf")),
        ("semi.backbone", "resnet18_cifar"),
    ],
)
def test_wrong_types_and_bounds_are_refused(path: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        load_config(overrides={path: value})
    assert str(caught.value).startswith(f"{path}: ")
    assert "Received: " in str(caught.value)


def test_a_whole_number_is_a_float_where_one_is_wanted() -> None:
    assert load_config(overrides={"pretrain.temperature": 1}).pretrain.temperature == 1.0


_UNIT = st.floats(0.0, 1.0)
_POSITIVE = st.floats(1e-12, 1e12, exclude_min=True)
_COUNT = st.integers(1, 10**9)
_POLICIES = st.one_of(
    st.just("none"),
    st.sampled_from(["weak", "moco", "spice", "kerascv", "upright"]),
    st.fixed_dictionaries({"policy": st.just("weak")}, optional={"shift": _UNIT}),
    st.fixed_dictionaries(
        {"policy": st.just("moco")},
        optional={"hue": st.floats(0.0, 0.5), "flip": st.booleans(), "contrast": _UNIT},
    ),
    st.fixed_dictionaries(
        {"policy": st.just("upright")},
        optional={
            "rotate": st.floats(0.0, 180.0),
            "fill": st.sampled_from(["reflect", "black"]),
            "zoom": st.floats(0.0, 1.0, exclude_max=True),
        },
    ),
)
_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    "seed": st.integers(0, 2**31 - 1),
    "num_clusters": st.integers(2, 1000),
    "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    "data.tfds_dir": st.none() | st.text(max_size=8),
    "data.split": st.text(max_size=8),
    "data.image_size": st.integers(8, 512),
    "data.max_skipped_share": _UNIT,
    "backbone.width": st.none() | _COUNT,
    "backbone.bn_momentum": st.none() | _UNIT,
    "pretrain.epochs": st.none() | _COUNT,
    "pretrain.queue_size": st.none() | st.integers(1, 100).map(lambda n: 128 * n),
    "pretrain.temperature": _POSITIVE,
    "pretrain.learning_rate": _POSITIVE,
    "pretrain.views": _POLICIES,
    "self.hidden_dim": st.none() | _COUNT,
    "self.large_batch": st.integers(1000, 10**9),
    "self.weak": _POLICIES,
    "reliable.confidence_threshold": st.floats(0.0, 1.0, exclude_max=True),
    "semi.enabled": st.booleans(),
    "semi.backbone": st.none() | st.fixed_dictionaries({"width": _COUNT}),
    "semi.strong": _POLICIES,
    "semi.weight_decay": st.floats(0.0, 1.0),
    "export.name": st.none() | st.text(max_size=8),
}


@given(st.fixed_dictionaries({}, optional=_OPTIONS))
def test_round_trip_through_a_dictionary_and_through_yaml(overrides: dict[str, Any]) -> None:
    config = load_config(overrides=overrides)
    values = config.as_dict()
    assert check(values, origin="again") == config
    assert check(values, origin="again").as_dict() == values
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    assert check(yaml.safe_load(text), origin="resume") == config
    assert check(read_yaml(text, origin="file"), origin="file") == config


def test_the_dictionary_is_spelt_as_a_file_is() -> None:
    values = RunConfig().as_dict()
    assert "self" in values
    assert "self_labeling" not in values
    assert values["pretrain"]["views"]["policy"] == "moco"
