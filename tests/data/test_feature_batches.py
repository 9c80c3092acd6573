from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from spice_keras.data.feature_batches import FeatureViews, drawn, prototype_batches, step_range

NUM_ITEMS, DIM = 20, 2


def marked(first_view: int, num_views: int, dtype: type = np.float16) -> np.ndarray:
    """Each row says which view and which item it is."""
    view, item = np.indices((num_views, NUM_ITEMS))
    return np.stack([view + first_view, item], axis=-1).astype(dtype)


# --- views -----------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(sum), data=st.data())
@settings(max_examples=20)
def test_several_arrays_are_read_as_one(sizes: list[int], data: st.DataObject) -> None:
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    arrays = [marked(start, size) for start, size in zip(starts, sizes, strict=True)]
    views = FeatureViews(arrays)
    assert views.shape == (sum(sizes), NUM_ITEMS, DIM)
    count = data.draw(st.integers(0, 30))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    numbers = generator.integers(0, sum(sizes), count)
    rows = generator.integers(0, NUM_ITEMS, count)
    taken = views.gather(numbers, rows)
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, np.concatenate(arrays)[numbers, rows])


def test_a_mapped_file_and_an_array_of_another_type_are_read_without_a_copy(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "views.npy", marked(1, 2))
    on_disk = np.load(tmp_path / "views.npy", mmap_mode="r")
    in_memory = marked(0, 1, np.float32)[0]
    views = FeatureViews([in_memory[np.newaxis], on_disk])
    assert [np.shares_memory(view, in_memory) for view in views._views] == [True, False, False]
    assert [np.shares_memory(view, on_disk) for view in views._views] == [False, True, True]
    taken = views.gather(np.array([2, 0, 2]), np.array([3, 5, 7]))
    assert taken.tolist() == [[2.0, 3.0], [0.0, 5.0], [2.0, 7.0]]


@pytest.mark.parametrize(
    "shapes",
    [[], [(0, 4, 2)], [(1, 4, 2), (1, 5, 2)], [(1, 4, 2), (1, 4, 3)], [(4, 2)], [(1, 4, 2, 1)]],
)
def test_refuses_views_of_different_items(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"at least one view \[N, D\].*Received"):
        FeatureViews([np.zeros(shape) for shape in shapes])


# --- batches ---------------------------------------------------------------------------------


def prototype_data(**options: Any) -> tf.data.Dataset:
    arguments: dict[str, Any] = {
        "weak": FeatureViews([marked(0, 2)]),
        "strong": FeatureViews([marked(0, 1), marked(10, 2)]),
        "batch_size": 6,
        "seed": 0,
        "epochs": 1,
    }
    return prototype_batches(marked(-1, 1, np.float32)[0], **arguments | options)


def batches(**options: Any) -> list[dict[str, np.ndarray]]:
    return list(prototype_data(**options).as_numpy_iterator())


def test_shapes_and_length() -> None:
    data = prototype_data(epochs=4)
    spec = tf.TensorSpec([6, DIM], tf.float32)
    assert data.element_spec == {"embedding": spec, "weak": spec, "strong": spec}
    assert int(data.cardinality()) == 4 * (NUM_ITEMS // 6)
    assert prototype_data(epochs=None).cardinality() == tf.data.INFINITE_CARDINALITY


def test_a_row_is_one_item_and_no_item_comes_twice_a_pass() -> None:
    found = batches(epochs=30)
    for batch in found:
        items = batch["embedding"][:, 1]
        np.testing.assert_array_equal(batch["weak"][:, 1], items)
        np.testing.assert_array_equal(batch["strong"][:, 1], items)
        assert set(batch["embedding"][:, 0]) == {-1.0}
    for epoch in range(30):
        of_epoch = [batch["embedding"][:, 1] for batch in found[3 * epoch : 3 * epoch + 3]]
        assert len(set(np.concatenate(of_epoch))) == 18


def test_every_view_is_equally_likely_and_the_draws_are_independent() -> None:
    found = batches(epochs=300, weak=FeatureViews([marked(0, 3)]))
    weak, strong = (np.concatenate([b[kind][:, 0] for b in found]) for kind in ("weak", "strong"))
    for views, kinds in ((weak, [0, 1, 2]), (strong, [0, 10, 11])):
        values, counts = np.unique(views, return_counts=True)
        assert values.tolist() == kinds
        np.testing.assert_allclose(counts / len(views), 1 / 3, atol=0.03)
    together = np.mean((weak == 2) & (strong == 11))
    assert together == pytest.approx(1 / 9, abs=0.03)


def test_resumes_at_any_epoch_and_the_seed_decides() -> None:
    whole, end, other = batches(epochs=4), batches(first_epoch=2, epochs=2), batches(seed=1)
    for old, new in zip(whole[6:], end, strict=True):
        for name in ("embedding", "weak", "strong"):
            np.testing.assert_array_equal(old[name], new[name])
    assert not np.array_equal(whole[0]["embedding"], other[0]["embedding"])


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_refuses_views_of_other_items(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"{kind}.shape=\(1, 19, 2\)"):
        prototype_data(**{kind: FeatureViews([marked(0, 1)[:, 1:]])})


@pytest.mark.parametrize("size", [0, 21])
def test_refuses_a_batch_that_does_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size={size}"):
        prototype_data(batch_size=size)


def test_steps_of_some_epochs() -> None:
    assert step_range(7, 2, 3) == (14, 35)
    assert step_range(7, 2, None) == (14, None)


def test_draws_depend_on_stream_and_step_alone() -> None:
    def draw(step: int, seed: int = 0, stream: str = "s") -> list[int]:
        values = drawn(tf.constant(step, tf.int64), 50, 9, seed=seed, stream=stream)
        assert values.dtype == tf.int64
        return values.numpy().tolist()

    assert draw(3) == draw(3)
    assert set(draw(3)) <= set(range(9))
    assert len({tuple(d) for d in (draw(3), draw(4), draw(3, seed=1), draw(3, stream="t"))}) == 4
