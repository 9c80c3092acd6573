"""SPICE-Self: Algorithm 1 replayed head by head, blobs found, the encoder untouched."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.algorithm.double_softmax import double_softmax_floor
from spice_keras.heads.spice_self import SpiceSelf, _cluster_entropy, frozen_features
from tests.models.contract import check_model
from tests.models.synthetic import (
    CLUSTERS,
    FEATURES,
    batches,
    blobs,
    compiled,
    encoder,
    fit,
    images,
    make_self,
    self_batch,
    unit,
)


def test_contract(tmp_path: Path) -> None:
    features = tf.random.stateless_normal([4, FEATURES], [0, 1])
    check_model(lambda: SpiceSelf(3, FEATURES, num_heads=2, hidden_dim=5), features, tmp_path)
    check_model(lambda: SpiceSelf(3, FEATURES, encoder=encoder()), features, tmp_path)


def test_finds_gaussian_blobs() -> None:
    """Several heads may settle on another cut; the one of least loss is the right one."""
    model = make_self(num_heads=5, num_repeats=4)
    features, blob = blobs(90)
    batch = {"embedding": unit(features), "weak": features, "strong": features}
    history = fit(model, lambda step: batch, range(12))
    best = int(np.argmin(model.head_losses))
    clusters = model(features).numpy()[:, best].argmax(axis=1)
    pairs = set(zip(clusters.tolist(), blob.tolist(), strict=True))
    assert len(pairs) == len(set(clusters.tolist())) == CLUSTERS
    assert float(model.head_losses[best]) == pytest.approx(double_softmax_floor(3), abs=0.02)
    assert history["loss"][-1] < history["loss"][0] - 0.2


def test_cluster_entropy_tells_even_clusters_from_one() -> None:
    even = 9.0 * tf.one_hot([[0, 1, 2, 0, 1, 2]], 3)
    single = 9.0 * tf.one_hot([[1, 1, 1, 1, 1, 1]], 3)
    assert float(_cluster_entropy(even)) == pytest.approx(1.0)
    assert float(_cluster_entropy(single)) == pytest.approx(0.0)
    both = tf.concat([even, single], axis=0)
    assert float(_cluster_entropy(both)) == pytest.approx(0.5)


def _twin_step(model: SpiceSelf, batch: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """One iteration in plain loops: each head with its own Adam; weights of each head after it."""
    order = model._shuffled_batches(3 * (50 // 3)).numpy()
    embedding, weak, strong = (batch[key] for key in ("embedding", "weak", "strong"))
    after = []
    for head in range(model.num_heads):
        network = model.classifier.head_model(head)
        optimizer = keras.optimizers.Adam(0.005, epsilon=1e-8)
        probabilities = tf.nn.softmax(network(weak)).numpy()
        chosen: list[int] = []
        for cluster in range(3):
            confident = np.argsort(-probabilities[:, cluster], kind="stable")[: int(0.5 * 16)]
            similarity = embedding @ embedding[confident].mean(axis=0)
            chosen += np.argsort(-similarity, kind="stable")[:16].tolist()
        labels = np.repeat(np.arange(3), 16)
        for positions in order:
            with tf.GradientTape() as tape:
                once = tf.nn.softmax(network(strong[np.array(chosen)[positions]]))
                twice = tf.nn.softmax(once)
                picked = tf.gather(twice, labels[positions], batch_dims=1)
                loss = -tf.reduce_mean(tf.math.log(picked))
            optimizer.apply(
                tape.gradient(loss, network.trainable_variables), network.trainable_variables
            )
        after.append([weight.numpy() for weight in network.weights])
    return after


def test_one_step_equals_heads_trained_one_by_one() -> None:
    model = make_self()
    expected = _twin_step(model, self_batch(0))
    fit(model, self_batch, range(1))
    for head, weights in enumerate(expected):
        for ours, theirs in zip(model.classifier.weights, weights, strict=True):
            np.testing.assert_allclose(ours.numpy()[head], theirs, rtol=1e-3, atol=2e-4)
    # 48 pairs in batches of 16, twice.
    assert int(model.optimizer.iterations) == 6


def test_encoder_gives_what_its_features_give() -> None:
    """Views as images equal their features; M = 25 is no multiple of the chunk of 7."""
    cnn = encoder()
    cnn(images(30), training=True)
    before = cnn.get_weights()
    views = {"weak": images(25, 1), "strong": images(25, 2)}
    embedding = unit(cnn(images(25)).numpy())
    on_images = make_self(encoder=cnn, feature_batch=7)
    on_features = make_self()
    cached = {name: cnn(view).numpy() for name, view in views.items()}
    with_images = fit(on_images, lambda step: {"embedding": embedding} | views, range(2))
    with_features = fit(on_features, lambda step: {"embedding": embedding} | cached, range(2))
    np.testing.assert_allclose(with_images["loss"], with_features["loss"], rtol=1e-4)
    for weight, old in zip(cnn.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert on_images.trainable_variables == on_images.classifier.trainable_variables
    assert cnn.trainable


@pytest.mark.parametrize("count", [1, 7, 14, 15])
def test_chunks_of_any_size(count: int) -> None:
    cnn, views = encoder(), images(count)
    chunked = tf.function(lambda x: frozen_features(cnn, x, 7))(views)
    assert chunked.shape == (count, FEATURES)
    np.testing.assert_allclose(chunked, cnn(views), rtol=1e-5, atol=1e-6)


def test_fewer_pairs_than_a_batch_still_train() -> None:
    """The released code trains nothing here, without a word."""
    model = make_self(batch_size=128)
    before = model.classifier.get_weights()
    fit(model, self_batch, range(1))
    assert int(model.optimizer.iterations) == 2
    assert np.abs(model.classifier.get_weights()[0] - before[0]).max() > 1e-4


def test_each_repeat_shuffles_anew_and_covers_the_pairs() -> None:
    order = make_self(num_repeats=3, batch_size=4)._shuffled_batches(12).numpy()
    assert order.shape == (9, 4)
    repeats = order.reshape(3, 12)
    for repeat in repeats:
        assert sorted(repeat) == list(range(12))
    assert len({tuple(repeat) for repeat in repeats}) == 3


def test_loss_is_the_mean_over_heads() -> None:
    model = make_self()
    history = fit(model, self_batch, range(1))
    losses = model.head_losses.numpy()
    assert history["loss"][0] == pytest.approx(losses.mean(), rel=1e-6)
    assert len(set(losses.tolist())) == 3


def test_refuses_batches_of_unknown_size() -> None:
    data = batches(self_batch, range(1)).unbatch().batch(50)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        make_self().fit(data, shuffle=False, verbose=0)


def test_refuses_features_of_another_width() -> None:
    with pytest.raises(ValueError, match="feature_dim=5"):
        SpiceSelf(3, 5, encoder=encoder())


@pytest.mark.parametrize("option", ["batch_size", "num_repeats", "feature_batch"])
def test_refuses_empty_loops(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}=0"):
        SpiceSelf(3, 5, **{option: 0})


def test_works_with_plain_sgd_too() -> None:
    model = compiled(
        SpiceSelf(CLUSTERS, FEATURES, num_heads=2, batch_size=16, num_repeats=1),
        keras.optimizers.SGD(0.5),
    )
    history = fit(model, self_batch, range(4))
    assert history["loss"][-1] < history["loss"][0]
