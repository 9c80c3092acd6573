from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.data.batches import (
    inference_batches,
    semi_batches,
    steps_per_epoch,
    training_batches,
)

Batch = Mapping[str, np.ndarray]


def pictures(num_images: int) -> np.ndarray:
    """Images that show their row in their first two bytes."""
    images = np.zeros((num_images, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(num_images) % 256
    images[:, 0, 0, 1] = np.arange(num_images) // 256
    return images


def rows_in(images: np.ndarray) -> np.ndarray:
    return images[:, 0, 0, 0].astype(int) + 256 * images[:, 0, 0, 1].astype(int)


def same(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return images


def noise(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A policy that shows its draw: noise in the last channel."""
    drawn = tf.random.stateless_uniform(tf.shape(images)[:3], seed, 0, 256, tf.int32)
    return tf.concat([images[..., :2], tf.cast(drawn, tf.uint8)[..., None]], axis=-1)


def batches(dataset: tf.data.Dataset, count: int | None = None) -> list[Batch]:
    return list((dataset if count is None else dataset.take(count)).as_numpy_iterator())


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def training(images: np.ndarray, **options: Any) -> tf.data.Dataset:
    defaults: dict[str, Any] = {"views": {"a": noise, "b": noise}, "batch_size": 8, "seed": 3}
    return training_batches(images, **{**defaults, **options})


def semi(images: np.ndarray, **options: Any) -> tf.data.Dataset:
    defaults: dict[str, Any] = {
        "labeled_indices": np.array([2, 5, 7, 11, 30]),
        "labels": np.array([0, 0, 0, 4, 2], np.int32),
        "views": {"weak": noise, "strong": noise},
        "labeled_batch": 7,
        "unlabeled_batch": 12,
        "seed": 3,
    }
    return semi_batches(images, **{**defaults, **options})


# --- training --------------------------------------------------------------------------------


def test_keys_shapes_and_length() -> None:
    dataset = training(pictures(30), epochs=2, extras={"e": np.zeros((30, 5), np.float32)})
    assert dataset.element_spec == {
        "index": tf.TensorSpec([8], tf.int64),
        "a": tf.TensorSpec([8, 4, 4, 3], tf.uint8),
        "b": tf.TensorSpec([8, 4, 4, 3], tf.uint8),
        "e": tf.TensorSpec([8, 5], tf.float32),
    }
    assert int(dataset.cardinality()) == 6
    assert len(batches(dataset)) == 6
    assert training(pictures(30)).cardinality() == tf.data.INFINITE_CARDINALITY


def test_each_epoch_is_a_permutation_and_epochs_differ() -> None:
    found = batches(training(pictures(300), batch_size=30, epochs=3))
    epochs = [np.concatenate([b["index"] for b in found[at : at + 10]]) for at in (0, 10, 20)]
    for order in epochs:
        assert sorted(order) == list(range(300))
    assert len({tuple(order) for order in epochs}) == 3


def test_remainder_is_left_out() -> None:
    found = batches(training(pictures(30), epochs=2))
    for at in (0, 3):
        seen = np.concatenate([b["index"] for b in found[at : at + 3]])
        assert len(set(seen)) == 24


def test_views_and_extras_belong_to_the_index() -> None:
    extra = np.arange(300) * 10
    for batch in batches(training(pictures(300), epochs=1, extras={"e": extra})):
        np.testing.assert_array_equal(rows_in(batch["a"]), batch["index"])
        np.testing.assert_array_equal(rows_in(batch["b"]), batch["index"])
        np.testing.assert_array_equal(batch["e"], batch["index"] * 10)


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 2), (1, 0), (1, 1), (2, 3), (3, 0)])
def test_resuming_gives_the_batches_of_an_unbroken_run(epoch: int, step: int) -> None:
    images = pictures(30)
    whole = batches(training(images, epochs=3))
    resumed = training(images, first_epoch=epoch, first_step=step, epochs=3 - epoch)
    assert_same(batches(resumed), whole[3 * epoch + step :])
    endless = training(images, first_epoch=epoch, first_step=step)
    assert_same(batches(endless, 2)[: 9 - 3 * epoch - step], whole[3 * epoch + step :][:2])


def test_a_second_look_gives_the_same() -> None:
    dataset = training(pictures(30), epochs=2)
    assert_same(batches(dataset), batches(dataset))


def test_views_steps_and_seeds_have_their_own_draws() -> None:
    images = np.zeros((30, 4, 4, 3), np.uint8)
    draws = [
        batch[view][..., 2].tobytes()
        for seed in (3, 4)
        for batch in batches(training(images, seed=seed, epochs=2))
        for view in ("a", "b")
    ]
    assert len(set(draws)) == 24


def test_a_view_does_not_hang_on_the_others() -> None:
    images = pictures(30)
    both = batches(training(images, views={"a": same, "b": noise}, epochs=1))
    alone = batches(training(images, views={"b": noise}, epochs=1))
    for one, other in zip(both, alone, strict=True):
        np.testing.assert_array_equal(one["b"], other["b"])
        np.testing.assert_array_equal(one["index"], other["index"])


def test_memory_mapped_equals_in_memory(tmp_path: Path) -> None:
    images = pictures(30)
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_same(batches(training(mapped, epochs=2)), batches(training(images, epochs=2)))
    semi_options = {"labeled_indices": np.array([1, 8]), "labels": np.array([0, 1])}
    assert_same(batches(semi(mapped, **semi_options), 3), batches(semi(images, **semi_options), 3))
    assert_same(batches(inference_batches(mapped, 7)), batches(inference_batches(images, 7)))


def test_images_are_not_copied_into_the_graph() -> None:
    images = np.zeros((1000, 32, 32, 3), np.uint8)
    graph = training(images)._as_serialized_graph().numpy()
    assert len(graph) < images.nbytes / 10


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch_size": 31}, "A batch cannot be larger than the data.* batch_size=31"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"first_step": 4}, "first_step=4"),
        ({"first_step": -1}, "first_step=-1"),
        ({"extras": {"e": np.zeros(29)}}, r"extras\['e'\]"),
        ({"extras": {"a": np.zeros(30)}}, r"\['a'\] twice"),
        ({"extras": {"index": np.zeros(30)}}, r"\['index'\] twice"),
        ({"views": {"index": same}}, r"\['index'\] twice"),
        ({"images": np.zeros((30, 4, 4, 3), np.float32)}, "dtype=float32"),
        ({"images": np.zeros((30, 4, 5, 3), np.uint8)}, r"shape=\(30, 4, 5, 3\)"),
        ({"images": np.zeros((30, 4, 4), np.uint8)}, r"shape=\(30, 4, 4\)"),
        ({"views": {"a": lambda images, seed: tf.cast(images, tf.float32)}}, "dtype=float32"),
        ({"views": {"a": lambda images, seed: images[:, :2]}}, r"shape=\(8, 2, 4, 3\)"),
    ],
)
def test_training_refuses(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        training(**{"images": pictures(30), **options})


def test_steps_per_epoch() -> None:
    assert [steps_per_epoch(10, size) for size in (1, 3, 5, 6, 10)] == [10, 3, 2, 1, 1]


# --- semi-supervised -------------------------------------------------------------------------


def test_semi_keys_shapes_and_length() -> None:
    dataset = semi(pictures(40), num_steps=5)
    assert dataset.element_spec == {
        "labeled": tf.TensorSpec([7, 4, 4, 3], tf.uint8),
        "label": tf.TensorSpec([7], tf.int32),
        "weak": tf.TensorSpec([12, 4, 4, 3], tf.uint8),
        "strong": tf.TensorSpec([12, 4, 4, 3], tf.uint8),
    }
    assert int(dataset.cardinality()) == 5
    assert semi(pictures(40)).cardinality() == tf.data.INFINITE_CARDINALITY


def test_labels_belong_to_their_images() -> None:
    truth = {2: 0, 5: 0, 7: 0, 11: 4, 30: 2}
    for batch in batches(semi(pictures(40)), 10):
        assert [truth[row] for row in rows_in(batch["labeled"])] == batch["label"].tolist()


def test_class_balance() -> None:
    balanced = np.concatenate([b["label"] for b in batches(semi(pictures(40)), 30)])
    assert {k: int((balanced == k).sum()) for k in (0, 2, 4)} == {0: 70, 2: 70, 4: 70}
    plain = np.concatenate(
        [b["label"] for b in batches(semi(pictures(40), class_balanced=False), 100)]
    )
    # Three of the five labelled images are of cluster 0.
    assert abs((plain == 0).mean() - 0.6) < 0.1


def test_unlabeled_passes_are_shuffled_without_repeats() -> None:
    found = batches(semi(pictures(40)), 6)
    passes = [np.concatenate([rows_in(b["weak"]) for b in found[at : at + 3]]) for at in (0, 3)]
    for rows in passes:
        assert len(set(rows)) == 36
        assert set(rows) <= set(range(40))
    assert not np.array_equal(*passes)


def test_weak_and_strong_show_the_same_images_drawn_apart() -> None:
    for batch in batches(semi(pictures(40)), 4):
        np.testing.assert_array_equal(rows_in(batch["weak"]), rows_in(batch["strong"]))
        assert (batch["weak"][..., 2] != batch["strong"][..., 2]).mean() > 0.9


def test_semi_draws_clusters_as_often_as_they_are_large() -> None:
    sizes = np.array([3.0, 9.0, 0.0, 1.0])
    labels = np.array([0, 0, 0, 0, 1, 3])
    options = {"labels": labels, "labeled_indices": np.arange(6), "class_balanced": sizes}
    drawn = np.concatenate([b["label"] for b in batches(semi(pictures(40), **options), 200)])
    np.testing.assert_allclose(
        np.bincount(drawn, minlength=4) / len(drawn), sizes / sizes.sum(), atol=0.06
    )


def test_semi_resumes_at_any_step() -> None:
    whole = batches(semi(pictures(40), num_steps=8))
    for step in (0, 1, 3, 7, 8):
        resumed = batches(semi(pictures(40), first_step=step, num_steps=8 - step))
        assert_same(resumed, whole[step:])


def test_semi_seeds_differ() -> None:
    one, other = (batches(semi(pictures(40), seed=seed), 2) for seed in (1, 2))
    for name in ("labeled", "weak", "strong"):
        assert not np.array_equal(one[0][name], other[0][name])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"unlabeled_batch": 41}, "cannot be larger than the data"),
        ({"labeled_batch": 0}, "labeled_batch=0"),
        ({"views": {"weak": same}}, r"views=\['weak'\]"),
        ({"labels": np.zeros(4, np.int32)}, r"labels.shape=\(4,\)"),
        ({"labels": np.zeros(0, int), "labeled_indices": np.zeros(0, int)}, "at least one"),
        ({"labeled_indices": np.array([0, 1, 2, 3, 40])}, r"0\.\.40"),
        ({"labeled_indices": np.array([0, 1, 2, 3, -1])}, r"-1\.\.3"),
    ],
)
def test_semi_refuses(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        semi(pictures(40), **options)


# --- inference -------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 2]), (5, [5, 5]), (64, [10])])
def test_inference_keeps_order_and_the_last_batch(batch_size: int, sizes: list[int]) -> None:
    images = pictures(10)
    dataset = inference_batches(images, batch_size)
    assert dataset.element_spec == {"image": tf.TensorSpec([None, 4, 4, 3], tf.uint8)}
    assert int(dataset.cardinality()) == len(sizes)
    found = [batch["image"] for batch in batches(dataset)]
    assert [len(image) for image in found] == sizes
    np.testing.assert_array_equal(np.concatenate(found), images)


def test_inference_refuses() -> None:
    with pytest.raises(ValueError, match="batch_size=0"):
        inference_batches(pictures(3), 0)
