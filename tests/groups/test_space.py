from __future__ import annotations

import numpy as np
import pytest

from spice_keras.groups.space import for_silhouette, group_space, reduced


def test_root_and_centre_of_features_that_are_not_negative() -> None:
    features = np.random.default_rng(0).random((20, 6)) ** 2
    rows = np.sqrt(features)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(group_space(features), rows, rtol=1e-4, atol=1e-6)


def test_directions_of_other_features() -> None:
    features = np.random.default_rng(0).standard_normal((20, 6))
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(group_space(features), rows, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (200, 100)])
def test_reduced_rows_keep_what_varies_most(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    rows = group_space(generator.standard_normal(shape) / np.arange(1, shape[1] + 1))
    kept = reduced(rows, 4)
    assert kept.shape == (shape[0], 4)
    assert kept.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1.0, rtol=1e-5)
    centred = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:4].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(kept), np.abs(expected), atol=1e-3)


def test_no_more_dimensions_than_there_are() -> None:
    rows = group_space(np.random.default_rng(0).standard_normal((10, 30)))
    assert reduced(rows).shape == (10, 9)
    assert for_silhouette(reduced(rows)).shape == (10, 9)
    assert for_silhouette(np.ones((3, 64), np.float32)).shape == (3, 50)
