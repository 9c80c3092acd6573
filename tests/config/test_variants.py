"""The options of the ablations: one name and one default each, refused where they clash."""

from __future__ import annotations

from typing import Any

import pytest

from spice_keras.config import load_config, make_plan
from spice_keras.config.schema import SelfConfig
from spice_keras.errors import UserError

_CACHED = {"weak": 2, "strong": 2}


def test_an_encoder_moves_where_a_variant_says_so() -> None:
    assert not SelfConfig().moves_encoder
    assert SelfConfig(train_encoder=True).moves_encoder
    assert SelfConfig(batch_norm="adapt").moves_encoder
    assert not SelfConfig(batch_norm="adapt", objective="neighbors").moves_encoder


@pytest.mark.parametrize("option", [{"self.train_encoder": True}, {"self.batch_norm": "adapt"}])
@pytest.mark.parametrize(
    ("beside", "path", "message"),
    [
        (
            {"self.objective": "neighbors", "self.cached_views": _CACHED},
            "self.objective",
            "trains on a frozen encoder",
        ),
        ({"self.cached_views": _CACHED}, "self.cached_views", "set them to null"),
        ({"self.refine_epochs": 3}, "self.refine_epochs", "set it to 0"),
        (
            {"data.source": "embeddings", "data.path": "f.npy", "semi.enabled": False},
            "data.source",
            "have no encoder to change",
        ),
    ],
)
def test_an_encoder_that_moves_is_refused_beside_what_needs_a_frozen_one(
    option: dict[str, Any], beside: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(overrides=option | beside)
    lines = [line for line in str(caught.value).splitlines() if message in line]
    (name,) = option
    assert lines[0].strip().startswith(f"{name}, {path}: ")


def test_true_labels_have_to_be_there_and_are_no_default() -> None:
    assert load_config().semi.labels_from == "reliable"
    asked = {"semi.labels_from": "source"}
    assert load_config(overrides=asked).semi.labels_per_class == 25
    folder = {"data.source": "folder", "data.path": "photos"}
    for data in ({"data.labels": "none"}, folder):
        with pytest.raises(UserError, match=r"semi\.labels_from, data\.labels: asks for true"):
            load_config(overrides=asked | data)
    assert load_config(overrides=asked | folder | {"data.labels": "from-folders"})
    assert load_config(overrides=asked | {"data.labels": "none", "semi.enabled": False})


def test_a_trained_encoder_costs_a_backward_pass_for_every_pair_of_every_head() -> None:
    options = {
        "self.num_heads": 2, "self.num_repeats": 3, "self.epochs": 5, "self.batch_size": 100,
        "pretrain.queue_size": None,
    }  # fmt: skip
    frozen = make_plan(load_config(overrides=options), 2000)
    trained = make_plan(load_config(overrides=options | {"self.train_encoder": True}), 2000)
    iterations = 5 * 2  # of M = 1000
    assert frozen.self_labeling.encoder_passes == iterations * 2 * 1000
    assert trained.self_labeling.encoder_passes == iterations * (1000 + 3 * 2 * 3 * 1000)


@pytest.mark.parametrize("sizes", ["even", "uneven", "auto"])
def test_every_objective_takes_the_sizes(sizes: str) -> None:
    words = {"words.vocabulary": "words.npz", "self.cached_views": _CACHED}
    for objective in ("prototypes", "neighbors", "sic"):
        beside = {} if objective == "prototypes" else words
        asked = {"self.objective": objective, "self.sizes": sizes} | beside
        assert load_config(overrides=asked).self_labeling.sizes == sizes


@pytest.mark.parametrize(
    ("beside", "paths", "message"),
    [
        (
            {"self.refine_epochs": 3, "self.neighbors.entropy_weight": 0.5},
            "self.sizes, self.neighbors.entropy_weight",
            "own",
        ),
        (
            {"self.objective": "sic", "self.sic.entropy_weight": 0.5},
            "self.sizes, self.sic.entropy_weight",
            "own",
        ),
        ({"self.refine_epochs": 3}, "self.sizes, self.refine_epochs", "one or the other"),
    ],
)
def test_sizes_are_refused_beside_what_contradicts_them(
    beside: dict[str, Any], paths: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(overrides={"self.sizes": "auto"} | beside)
    assert any(
        line.strip().startswith(f"{paths}: ") and message in line
        for line in str(caught.value).splitlines()
    )


def test_a_weight_that_nothing_reads_does_not_matter() -> None:
    asked = {"self.sizes": "uneven", "self.neighbors.entropy_weight": 0.5}
    assert load_config(overrides=asked).self_labeling.sizes == "uneven"


def test_only_the_second_half_of_the_heads_of_auto_is_for_uneven_clusters() -> None:
    auto = SelfConfig(sizes="auto", num_heads=4)
    assert [auto.is_for_uneven(head) for head in (None, 0, 3, 4, 7)] == [False] * 3 + [True] * 2
    assert SelfConfig(sizes="uneven").is_for_uneven(0)
    assert not SelfConfig().is_for_uneven(15)
