"""The plan: the arithmetic of a run, and what it makes of little data."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spice_keras.config.loading import load_config
from spice_keras.config.plan import Plan, make_plan
from spice_keras.errors import UserError


def _plan(num_images: int, **options: Any) -> Plan:
    overrides = {path.replace("__", "."): value for path, value in options.items()}
    return make_plan(load_config(overrides=overrides), num_images)


def test_the_papers_cifar10() -> None:
    plan = _plan(60_000)
    assert plan.pretrain_steps_per_epoch == 468
    assert plan.queue_size == 12_800
    assert plan.large_batch == 1000
    assert plan.iterations_per_epoch == 60
    assert plan.labels_per_cluster == 100
    assert plan.confident_per_cluster == 50
    assert plan.pseudo_labels_per_iteration == 1000
    assert plan.head_steps_per_iteration == 8 * 7
    assert plan.num_neighbors == 100
    assert plan.semi_steps == 2**20
    assert (plan.labeled_batch, plan.unlabeled_batch) == (64, 448)
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
    assert plan.pretrain_batch == 16
    assert plan.pretrain_epochs == 200
    assert plan.queue_size == 48
    assert plan.large_batch == 120
    assert plan.num_neighbors == 20
    assert plan.unlabeled_batch == 120
    assert (plan.semi_epochs, plan.semi_steps_per_epoch) == (3, 84)
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
                 pretrain__queue_size=None).pretrain_epochs == epochs  # fmt: skip


@pytest.mark.parametrize(
    ("images", "options", "path", "message"),
    [
        (9, {}, "num_clusters", "10 clusters of 9 images cannot be formed"),
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
    assert _plan(5000, pretrain__queue_size=4992).queue_size == 4992


def test_a_queue_as_large_as_the_data_is_accepted() -> None:
    assert _plan(12_800).queue_size == 12_800


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
    assert (refined.neighbor_batch, refined.large_batch) == (pairs, min(2000, images))
    assert (trained.neighbor_batch, trained.large_batch) == (pairs, pairs)
    assert trained.iterations_per_epoch == images // pairs


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
    assert 1 <= plan.pretrain_batch <= min(128, images)
    assert plan.queue_size % plan.pretrain_batch == 0
    assert plan.queue_size <= max(images // 2, plan.pretrain_batch)
    assert plan.pretrain_steps_per_epoch * plan.pretrain_batch <= images
    assert plan.pretrain_steps_per_epoch >= 1
    assert clusters <= plan.large_batch <= images
    assert plan.iterations_per_epoch >= 1
    assert 1 <= plan.confident_per_cluster <= plan.labels_per_cluster
    assert plan.pseudo_labels_per_iteration <= plan.large_batch
    assert plan.head_steps_per_iteration >= 1
    assert 1 <= plan.num_neighbors <= max(1, images // (2 * clusters))
    assert plan.unlabeled_batch <= images
    assert 0 <= plan.semi_steps - steps < plan.semi_epochs
    assert plan.semi_steps_per_epoch <= steps_per_epoch
    json.dumps(plan.as_dict())


def test_the_cost_is_counted_in_forward_passes() -> None:
    plan = _plan(1000, pretrain__batch_size=100, pretrain__queue_size=200, pretrain__epochs=3,
                 self__epochs=2, semi__steps=5, semi__labeled_batch=8)  # fmt: skip
    cost = plan.forward_passes()
    assert cost["pretrain"] == 3 * 10 * 100 * 4
    assert cost["self"] == 2 * 1000 * 2
    assert cost["semi"] == 5 * (8 + 2 * 56) * 3
    assert all(math.isfinite(value) for value in cost.values())
