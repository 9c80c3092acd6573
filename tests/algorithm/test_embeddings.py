from __future__ import annotations

import numpy as np
import pytest

from spice_keras.algorithm.embeddings import l2_normalized


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_rows_have_length_1_and_keep_their_direction(dtype: type) -> None:
    features = np.random.default_rng(0).integers(1, 9, (6, 4)).astype(dtype)
    embeddings = l2_normalized(features)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-6)
    ratio = embeddings / features.astype(np.float32)
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(4), rtol=1e-6)


def test_a_row_of_zeros_stays_zero() -> None:
    embeddings = l2_normalized(np.array([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(embeddings, [[0.0, 0.0], [0.6, 0.8]], rtol=1e-6)
