"""A process that lives long keeps nothing of the data that it once trained on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.data.batches import inference_batches, semi_batches, training_batches
from spice_keras.data.feature_batches import FeatureViews, prototype_batches
from spice_keras.data.neighbor_batches import neighbor_batches
from spice_keras.views import moco_views, self_feature_views

N = 12


def _as_it_is(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return images


_VIEWS = {"weak": _as_it_is, "strong": _as_it_is}
_IMAGES: dict[str, Callable[[np.ndarray], tf.data.Dataset]] = {
    "training": lambda images: training_batches(images, views=_VIEWS, batch_size=4, seed=0),
    "inference": lambda images: inference_batches(images, 4),
    "semi": lambda images: semi_batches(
        images, labeled_indices=np.arange(4), labels=np.arange(4), views=_VIEWS, labeled_batch=2,
        unlabeled_batch=4, seed=0,
    ),
    "moco": lambda images: moco_views(images, policy=_as_it_is, batch_size=4),
}  # fmt: skip
_FEATURES: dict[str, Callable[[np.ndarray], tf.data.Dataset]] = {
    "prototypes": lambda rows: prototype_batches(
        rows, weak=FeatureViews([rows[None]]), strong=FeatureViews([rows[None]]), batch_size=4,
        seed=0,
    ),
    "neighbors": lambda rows: neighbor_batches(
        FeatureViews([rows[None]]), np.zeros((N, 1), int), batch_size=4, seed=0
    ),
    "views": lambda rows: self_feature_views(rows, batch_size=4),
}  # fmt: skip


def _let_go(make: Callable[[np.ndarray], tf.data.Dataset], array: np.ndarray) -> None:
    data = make(array)
    known = weakref.ref(array)
    batches = iter(data)
    next(batches)
    del data
    gc.collect()
    del array
    # Whoever reads the batches still has what they are made of.
    assert known() is not None
    next(batches)
    del batches
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("name", _IMAGES)
def test_images_go_with_the_last_of_their_batches(name: str) -> None:
    _let_go(_IMAGES[name], np.zeros((N, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("name", _FEATURES)
def test_features_go_with_the_last_of_their_batches(name: str) -> None:
    _let_go(_FEATURES[name], np.ones((N, 3), np.float32))
