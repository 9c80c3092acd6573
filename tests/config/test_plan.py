"""The plan: the arithmetic of a run, and what it makes of little data."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.config.loading import load_config
from spice_keras.config.plan import Plan, PseudoLabelPlan, make_plan
from spice_keras.errors import UserError
from spice_keras.estimator import SpiceClusterer


def _plan(num_images: int, **options: Any) -> Plan:
    overrides = {path.replace("__", "."): value for path, value in options.items()}
    return make_plan(load_config(overrides=overrides), num_images)


def test_the_papers_cifar10() -> None:
    plan = _plan(60_000)
    assert plan.pretrain.steps_per_epoch == 468
    assert plan.pretrain.queue_size == 12_800
    assert plan.self_labeling.large_batch == 1000
    assert plan.self_labeling.iterations_per_epoch == 60
    assert plan.self_labeling.pseudo_labels == PseudoLabelPlan(
        confident_per_cluster=50, labels_per_cluster=100, labels=1000, batch_size=128, steps=8 * 7
    )
    assert plan.reliable.num_neighbors == 100
    assert plan.semi.steps == 2**20
    assert (plan.semi.labeled_batch, plan.semi.unlabeled_batch) == (64, 448)
    assert plan.image_bytes == 60_000 * 32 * 32 * 3
    assert plan.notes == ()


def test_little_data_is_adapted_to_and_said() -> None:
    plan = _plan(
        120,
        num_clusters=3,
        pretrain__batch_size=None,
        pretrain__queue_size=None,
        pretrain__epochs=None,
        semi__steps=250,
        semi__steps_per_epoch=100,
    )
    assert plan.pretrain.batch_size == 16
    assert plan.pretrain.epochs == 200
    assert plan.pretrain.queue_size == 48
    assert plan.self_labeling.large_batch == 120
    assert plan.reliable.num_neighbors == 20
    assert plan.semi.unlabeled_batch == 120
    assert (plan.semi.epochs, plan.semi.steps_per_epoch) == (3, 84)
    assert plan.notes == (
        "Pretraining batch 16 instead of 128: only 120 images.",
        "M = 120 instead of 1000: a large batch of SPICE-Self cannot hold more images than there "
        "are.",
        "n_s = 20 neighbours instead of 100: more would reach beyond half a cluster of 40 images.",
        "SPICE-Semi takes 120 unlabelled images a step instead of 448: there are no more.",
        "SPICE-Semi runs 252 steps instead of 250: 3 equal stretches of 84.",
    )


@pytest.mark.parametrize(("images", "epochs"), [(100, 200), (3000, 50), (1_000_000, 10)])
def test_automatic_epochs_are_fewer_for_more_images(images: int, epochs: int) -> None:
    assert _plan(images, pretrain__epochs=None, pretrain__batch_size=None,
                 pretrain__queue_size=None).pretrain.epochs == epochs  # fmt: skip


@pytest.mark.parametrize(
    ("images", "options", "path", "message"),
    [
        (9, {}, "num_clusters", "10 clusters of 9 images cannot be formed; ask for at most 9"),
        (1, {}, "num_clusters", "10 clusters cannot be formed of 1 image; clustering needs"),
        (0, {}, "num_clusters", "10 clusters cannot be formed of 0 images; clustering needs"),
        (100, {}, "pretrain.batch_size", "a batch of 128 is larger than the data (100 images)"),
        (5000, {}, "pretrain.queue_size", "a queue of 12800 keys is larger than the data"),
        (
            100,
            {"pretrain__batch_size": None, "pretrain__queue_size": None, "pretrain__bn_groups": 3},
            "pretrain.bn_groups",
            "a batch of 16 cannot be cut into 3 equal groups",
        ),
    ],
)
def test_what_cannot_work_on_the_data_is_refused(
    images: int, options: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        _plan(images, **options)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The configuration does not fit the data:"
    assert any(line.startswith(f"  {path}: {message}") for line in lines)


def test_all_that_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(UserError) as caught:
        _plan(9)
    paths = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert paths == ["num_clusters", "pretrain.batch_size", "pretrain.queue_size"]


def test_the_queue_that_is_offered_is_accepted() -> None:
    with pytest.raises(UserError, match="take at most 4992,"):
        _plan(5000)
    assert _plan(5000, pretrain__queue_size=4992).pretrain.queue_size == 4992


def test_a_queue_as_large_as_the_data_is_accepted() -> None:
    assert _plan(12_800).pretrain.queue_size == 12_800


@pytest.mark.parametrize(
    ("images", "clusters", "asked", "pairs"),
    [
        (10_000, 10, None, 256),
        (10_000, 200, None, 2000),
        (10_000, 200, 100, 100),  # what is stated is obeyed
        (150, 10, None, 150),
        (150, 10, 400, 150),
    ],
)
def test_the_pairs_of_a_step_of_neighbour_consistency(
    images: int, clusters: int, asked: int | None, pairs: int
) -> None:
    options: dict[str, Any] = {
        "num_clusters": clusters,
        "self__neighbors__batch_size": asked,
        "self__large_batch": 2000,
        "pretrain__batch_size": None,
        "pretrain__queue_size": None,
    }
    refined = _plan(images, **options)
    trained = _plan(
        images, self__objective="neighbors", self__cached_views={"weak": 1, "strong": 1}, **options
    )
    assert (refined.self_labeling.pairs_per_step, refined.self_labeling.large_batch) == (
        pairs,
        min(2000, images),
    )
    assert (trained.self_labeling.pairs_per_step, trained.self_labeling.large_batch) == (
        pairs,
        pairs,
    )
    assert trained.self_labeling.iterations_per_epoch == images // pairs


@given(
    images=st.integers(2, 200_000),
    clusters=st.integers(2, 300),
    large_batch=st.integers(300, 5000),
    ratio=st.floats(0.01, 1.0),
    steps=st.integers(1, 10**6),
    steps_per_epoch=st.integers(1, 5000),
)
def test_every_plan_can_be_carried_out(
    images: int, clusters: int, large_batch: int, ratio: float, steps: int, steps_per_epoch: int
) -> None:
    """Whatever the numbers, the plan is one the stages accept: null sizes always fit."""
    clusters = min(clusters, images)
    plan = _plan(
        images,
        num_clusters=clusters,
        pretrain__batch_size=None,
        pretrain__queue_size=None,
        self__large_batch=large_batch,
        self__confident_ratio=ratio,
        semi__steps=steps,
        semi__steps_per_epoch=steps_per_epoch,
    )
    assert 1 <= plan.pretrain.batch_size <= min(128, images)
    assert plan.pretrain.queue_size % plan.pretrain.batch_size == 0
    assert plan.pretrain.queue_size <= max(images // 2, plan.pretrain.batch_size)
    assert plan.pretrain.steps_per_epoch * plan.pretrain.batch_size <= images
    assert plan.pretrain.steps_per_epoch >= 1
    assert clusters <= plan.self_labeling.large_batch <= images
    assert plan.self_labeling.iterations_per_epoch >= 1
    labels = plan.self_labeling.pseudo_labels
    assert labels is not None
    assert 1 <= labels.confident_per_cluster <= labels.labels_per_cluster
    assert labels.labels <= plan.self_labeling.large_batch
    assert labels.steps >= 1
    assert 2 <= plan.reliable.num_neighbors <= max(2, images // (2 * clusters))
    assert plan.semi.unlabeled_batch <= images
    assert 0 <= plan.semi.steps - steps < plan.semi.epochs
    assert plan.semi.steps_per_epoch <= steps_per_epoch
    json.dumps(plan.as_dict())


_OWN_NETWORK = {"pretrain__batch_size": None, "pretrain__queue_size": None}


@pytest.mark.parametrize("images", [2, 3, 1001, 2500])
@pytest.mark.parametrize("source", ["embeddings", "images"])
def test_as_many_clusters_as_items_can_be_asked_for(images: int, source: str) -> None:
    """More clusters than SPICE-Self's M too: neighbour consistency has no M."""
    neighbors: dict[str, Any] = {"self__objective": "neighbors", "num_clusters": images}
    if source == "embeddings":
        of_source = {"data__source": "embeddings", "data__path": "x.npy", "semi__enabled": False}
    else:
        of_source = {**_OWN_NETWORK, "self__cached_views": {"weak": 1, "strong": 1}}
    plan = _plan(images, **neighbors, **of_source)
    assert plan.self_labeling.iterations_per_epoch >= 1
    assert (plan.self_labeling.num_neighbors, plan.reliable.num_neighbors) == (1, 2)
    assert plan.self_labeling.pseudo_labels is None
    json.dumps(plan.as_dict())


@pytest.mark.parametrize("images", [2, 3, 5, 100])
def test_the_number_of_clusters_that_is_offered_is_accepted(images: int) -> None:
    with pytest.raises(UserError, match=f"ask for at most {images}"):
        _plan(images, num_clusters=images + 1, **_OWN_NETWORK)
    assert _plan(images, num_clusters=images, **_OWN_NETWORK).num_clusters == images


@pytest.mark.parametrize("rows", [50, 14_999, 15_001, 60_000, 400_000])
@pytest.mark.parametrize("clusters", [3, 40])
def test_the_command_and_the_estimator_train_for_the_same_number_of_steps(
    rows: int, clusters: int
) -> None:
    config = load_config("embeddings", overrides={"data.path": "x", "num_clusters": clusters})
    plan = make_plan(config, rows).self_labeling
    recipe = SpiceClusterer(clusters)._recipe(rows)
    assert plan.epochs == recipe.epochs
    assert plan.pairs_per_step == min(rows, recipe.batch_size)
    assert config.self_labeling.neighbors.learning_rate == recipe.learning_rate


def test_stated_epochs_are_obeyed() -> None:
    options = {"data.path": "x", "self.neighbors.epochs": 60}
    assert (
        make_plan(load_config("embeddings", overrides=options), 60_000).self_labeling.epochs == 60
    )
    assert make_plan(load_config("cifar10-cpu"), 60_000).self_labeling.epochs == 60, "as measured"


def test_the_cost_is_counted_in_forward_passes() -> None:
    plan = _plan(1000, pretrain__batch_size=100, pretrain__queue_size=200, pretrain__epochs=3,
                 self__epochs=2, semi__steps=5, semi__labeled_batch=8)  # fmt: skip
    cost = plan.forward_passes()
    assert cost["pretrain"] == 3 * 10 * 100 * 4
    assert cost["self"] == 2 * 1000 * 2
    assert cost["semi"] == 5 * (8 + 2 * 56) * 3
    assert all(math.isfinite(value) for value in cost.values())
