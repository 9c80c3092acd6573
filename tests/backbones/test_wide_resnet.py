"""Wide residual networks: stem, first stride, shortcuts, statistics of short runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.backbones.folding import fold_batch_normalization
from spice_keras.backbones.normalization import FusedBatchNormalization
from tests.backbones.built import built


def _names(model: keras.Model) -> set[str]:
    return {layer.name for layer in model.layers}


def test_only_the_first_block_of_a_group_projects_its_shortcut() -> None:
    projected = {name for name in _names(built("wrn_37_2", 8, width=2)) if "shortcut" in name}
    assert projected == {f"group{group}_block1_shortcut_conv" for group in (1, 2, 3, 4)}


@pytest.mark.parametrize(("first_stride", "projects"), [(1, False), (2, True)])
def test_a_group_as_wide_as_the_stem_projects_only_to_stride(
    first_stride: int, projects: bool
) -> None:
    model = built("wrn_28_2", 8, width=16, first_stride=first_stride)
    assert ("group1_block1_shortcut_conv" in _names(model)) == projects
    assert model.get_layer("group1_block1_add").output.shape[1] == 8 // first_stride


def test_the_stem_has_sixteen_filters_and_no_normalisation() -> None:
    model = built("wrn_28_2", 8, width=2)
    stem = model.get_layer("stem_conv")
    assert stem.kernel.shape == (3, 3, 3, 16)
    reader = model.get_layer("group1_block1_1_bn")
    assert reader.input is stem.output


def test_kernels_start_kaiming_normal() -> None:
    kernel = built("wrn_28_2", 8).get_layer("group3_block4_1_conv").kernel.numpy()
    np.testing.assert_allclose(kernel.std(), np.sqrt(2.0 / (9 * 128)), rtol=0.02)


def test_features_are_the_mean_of_a_map_with_a_leaky_negative_side() -> None:
    model = built("wrn_28_2", 8, width=4)
    both = keras.Model(model.input, [model.get_layer("feature_map").output, model.output])
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    feature_map, features = both(images)
    np.testing.assert_allclose(features, tf.reduce_mean(feature_map, axis=(1, 2)), rtol=1e-4)
    negative, positive = feature_map[feature_map < 0.0], feature_map[feature_map > 0.0]
    ratio = float(tf.reduce_mean(negative) / tf.reduce_mean(positive))
    assert -0.2 < ratio < -0.05


def test_inference_is_usable_after_a_short_run() -> None:
    """Twenty batches in, inference agrees with training; momentum .999 alone would not."""
    model = built("wrn_28_2", 8, width=2)
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    for _ in range(20):
        trained = model(images, training=True)
    np.testing.assert_allclose(model(images), trained, rtol=0.01, atol=0.01)


def test_a_frozen_one_merges_the_normalisation_between_its_convolutions() -> None:
    """The others follow a sum, which the shortcut reads too, and stay."""
    model = built("wrn_28_2", 8, width=2, first_stride=2)
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    model(images, training=True)
    folded = fold_batch_normalization(model)
    kept = [layer.name for layer in folded.layers if isinstance(layer, FusedBatchNormalization)]
    assert not any(name.endswith("_2_bn") for name in kept)
    assert "group2_block3_1_bn" in kept
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-3, atol=1e-4)
