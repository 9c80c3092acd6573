"""Views from arrays: one pass an epoch, each pass anew, every draw a function of seed and pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.options import UprightPolicy
from spice_keras.views import (
    moco_views,
    neighbor_views,
    self_feature_views,
    self_views,
    semi_views,
)
from tests.models.synthetic import blobs, images

_IMAGES = images(30)
_FEATURES, _ = blobs(30)
_LABELS = np.where(np.arange(30) % 2, -1, np.arange(30) % 3)

_MAKE: dict[str, tuple[Callable[..., tf.data.Dataset], int, set[str]]] = {
    "moco": (lambda **o: moco_views(_IMAGES, batch_size=8, **o), 3, {"index", "query", "key"}),
    "self": (
        lambda **o: self_views(_IMAGES, 5 * _FEATURES, strong="weak", batch_size=8, **o),
        3,
        {"index", "embedding", "weak", "strong"},
    ),
    "features": (
        lambda **o: self_feature_views(_FEATURES, batch_size=10, **o),
        3,
        {"embedding", "weak", "strong"},
    ),
    "neighbors": (
        lambda **o: neighbor_views(_FEATURES, num_neighbors=4, batch_size=10, **o),
        3,
        {"anchor", "neighbor"},
    ),
    "semi": (
        lambda **o: semi_views(
            _IMAGES, _LABELS, strong="weak", labeled_batch=6, unlabeled_batch=10, **o
        ),
        3,
        {"labeled", "label", "weak", "strong"},
    ),
}


def _pass(data: tf.data.Dataset) -> dict[str, np.ndarray]:
    batches = [{name: part.numpy() for name, part in batch.items()} for batch in data]
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", sorted(_MAKE))
def test_every_pass_is_the_next_epoch(name: str) -> None:
    make, steps, parts = _MAKE[name]
    data = make(seed=3)
    assert len(data) == steps
    first, second = _pass(data), _pass(data)
    assert set(first) == set(data.element_spec) == parts
    assert len(next(iter(first.values()))) == steps
    assert not _equal(first, second)
    assert _equal(_pass(make(seed=3)), first)
    assert _equal(_pass(make(seed=3, first_epoch=1)), second)
    assert not _equal(_pass(make(seed=4)), first)


@pytest.mark.parametrize("name", sorted(_MAKE))
def test_fixed_passes_are_the_same(name: str) -> None:
    data = _MAKE[name][0](fixed=True)
    assert _equal(_pass(data), _pass(data))


def test_views_are_of_the_images_at_the_index() -> None:
    found = _pass(moco_views(_IMAGES, policy="none", batch_size=10))
    np.testing.assert_array_equal(found["query"], _IMAGES[found["index"]])
    np.testing.assert_array_equal(found["key"], found["query"])
    assert sorted(found["index"].ravel()) == list(range(30))


def test_a_policy_is_a_name_its_options_or_a_function() -> None:
    def inverted(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return 255 - pixels

    found = _pass(moco_views(_IMAGES, policy=inverted, batch_size=10))
    np.testing.assert_array_equal(found["query"], 255 - _IMAGES[found["index"]])
    still = UprightPolicy(
        rotate=0.0, zoom=0.0, shift=0.0, shear=0.0, brightness=0.0, gamma=0.0, blur_max_sigma=0.0
    )
    found = _pass(moco_views(_IMAGES, policy=still, batch_size=10))
    np.testing.assert_array_equal(found["query"], _IMAGES[found["index"]])


def test_embeddings_are_brought_to_unit_length() -> None:
    found = _pass(self_views(_IMAGES, 5 * _FEATURES, weak="none", strong="none", batch_size=10))
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=2), 1.0, rtol=1e-5)
    directions = np.sum(found["embedding"] * _FEATURES[found["index"]], axis=2)
    np.testing.assert_allclose(directions, np.linalg.norm(_FEATURES[found["index"]], axis=2), 1e-5)


def test_given_views_of_features_are_drawn() -> None:
    strong = np.stack([_FEATURES + 100, _FEATURES + 200])
    found = _pass(self_feature_views(_FEATURES, strong=strong, batch_size=30))
    shift = np.round((found["strong"] - found["weak"])[0, :, 0])
    assert set(shift) == {100.0, 200.0}


def test_partners_are_neighbors_and_never_the_sample_itself() -> None:
    found = _pass(neighbor_views(_FEATURES, num_neighbors=2, batch_size=30))
    rows = {tuple(row): number for number, row in enumerate(_FEATURES)}
    unit = _FEATURES / np.linalg.norm(_FEATURES, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit.T), axis=1)[:, 1:3]
    for anchor, partner in zip(found["anchor"][0], found["neighbor"][0], strict=True):
        assert rows[tuple(partner)] in nearest[rows[tuple(anchor)]]


def test_labels_are_those_of_the_labelled_images_alone() -> None:
    found = _pass(
        semi_views(
            _IMAGES, _LABELS, weak="none", strong="none", labeled_batch=6, unlabeled_batch=10
        )
    )
    by_pixels = {image.tobytes(): label for image, label in zip(_IMAGES, _LABELS, strict=True)}
    for image, label in zip(
        found["labeled"].reshape(-1, *_IMAGES.shape[1:]), found["label"].ravel(), strict=True
    ):
        assert by_pixels[image.tobytes()] == label >= 0
    assert sorted(np.bincount(found["label"].ravel())) == [6, 6, 6]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: moco_views(_IMAGES / 255.0, batch_size=8), "dtype uint8"),
        (lambda: moco_views(_IMAGES, batch_size=31), "batch_size=31"),
        (lambda: moco_views(_IMAGES, policy="mocco", batch_size=8), "mocco"),
        (lambda: self_views(_IMAGES, _FEATURES[:9], batch_size=8), "one row an image"),
        (lambda: neighbor_views(_FEATURES, num_neighbors=30), "num_neighbors=30"),
        (lambda: semi_views(_IMAGES, _LABELS[:9]), r"shape \(9,\) for 30 images"),
        (lambda: semi_views(_IMAGES, _LABELS + 0.0), "dtype float64"),
        (lambda: semi_views(_IMAGES, np.full(30, -1), unlabeled_batch=10), "at least one labelled"),
    ],
)
def test_refuses_what_does_not_fit(make: Callable[[], tf.data.Dataset], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        next(iter(make()))
