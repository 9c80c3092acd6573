from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.algorithm.feature_space import FeatureSpace, feature_space, fitted_space
from tests.reference.feature_space import centered_rows

_ROWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 12), st.integers(2, 5)),
    elements=st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3),
)


@pytest.mark.parametrize("scale", ["center", "root-center"])
@given(_ROWS)
def test_centred_rows_are_those_of_the_slow_twin(scale: str, rows: np.ndarray) -> None:
    space = fitted_space(rows, scale)  # type: ignore[arg-type]
    expected = centered_rows(rows.tolist(), rooted=scale == "root-center")
    # The centre is kept in float32: rows near it are known to that precision.
    np.testing.assert_allclose(space.unit_rows(rows), expected, atol=5e-3)


@given(_ROWS)
def test_unit_rows_are_the_embeddings(rows: np.ndarray) -> None:
    found = FeatureSpace("unit").unit_rows(rows)
    np.testing.assert_allclose(found, l2_normalized(rows), rtol=1e-5, atol=1e-7)


def test_blocks_do_not_change_the_rows() -> None:
    rows = np.random.default_rng(0).gamma(1.0, size=(50, 4)).astype(np.float32)
    space = fitted_space(rows)
    found = np.concatenate([block for _, block in space.blocks(rows, 7)])
    np.testing.assert_allclose(found, space.unit_rows(rows), rtol=1e-6)


def test_a_row_has_one_place_whatever_its_length() -> None:
    rows = np.random.default_rng(0).gamma(1.0, size=(20, 4))
    space = fitted_space(rows)
    np.testing.assert_allclose(space.unit_rows(1000.0 * rows), space.unit_rows(rows), rtol=1e-5)


def test_features_that_are_never_negative_are_rooted_and_centred() -> None:
    rows = np.random.default_rng(0).gamma(1.0, size=(20, 4))
    assert fitted_space(rows).scale == "root-center"
    rows[3, 2] = -0.1
    assert fitted_space(rows).scale == "unit"


def test_equal_rows_stay_together_in_the_centre() -> None:
    """Their differences from the mean are rounding, which must not be blown up to unit length."""
    rows = np.full((40, 300), 0.3, np.float32)
    assert np.abs(fitted_space(rows).unit_rows(rows)).max() < 1e-2


def test_a_space_survives_its_plain_values() -> None:
    rows = np.random.default_rng(0).gamma(1.0, size=(20, 4)).astype(np.float32)
    space = fitted_space(rows)
    np.testing.assert_array_equal(
        feature_space(space.as_config()).unit_rows(rows), space.unit_rows(rows)
    )


def test_a_space_without_the_centre_it_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="need the mean of the items"):
        feature_space("center")
    with pytest.raises(ValueError, match="the others take none"):
        FeatureSpace("unit", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="scale='big'"):
        feature_space("big")  # type: ignore[arg-type]
