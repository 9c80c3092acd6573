"""MoCo: what is trained, in which order, and what the queue holds."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from spice_keras.models.moco import MoCo
from tests.models.contract import check_model
from tests.models.synthetic import SIDE, batches, encoder, fit, images, make_moco, moco_batch


def _unit_keys(model: MoCo, view: np.ndarray) -> np.ndarray:
    """Keys with batch statistics, computed step by step."""
    keys = model.key_projector(model.key_encoder(view, training=True), training=True).numpy()
    return keys / np.linalg.norm(keys, axis=1, keepdims=True)


def test_contract(tmp_path: Path) -> None:
    check_model(
        lambda: MoCo(encoder(), queue_size=12, projection_dim=4, symmetric=True, seed=2),
        images(3),
        tmp_path,
    )


def test_key_network_starts_equal_and_stays_away_from_the_optimizer() -> None:
    model = make_moco()
    for key, query in zip(model.key_variables(), model.trained_variables(), strict=True):
        np.testing.assert_array_equal(key, query)
    trained = {id(variable) for variable in model.trainable_variables}
    assert trained == {id(variable) for variable in model.trained_variables()}
    assert not trained & {id(variable) for variable in model.key_variables()}
    # SGD with momentum: one velocity for each trained variable, iterations and learning rate.
    assert len(model.optimizer.variables) == len(trained) + 2


def test_calls_give_unit_vectors() -> None:
    outputs = make_moco()(images(5))
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=1), 1.0, rtol=1e-5)


def test_one_step_in_the_order_of_algorithm_1() -> None:
    """Average, keys, loss against the old queue, step, enqueue: replayed by hand."""
    model, twin = make_moco(weight_decay=0.01), make_moco(weight_decay=0.01)
    for m in (model, twin):
        # Apart, so that the average moves before the keys are taken.
        for key in m.key_variables():
            key.assign(key * 0.5)
    batch, queue = moco_batch(0), twin.queue.numpy()
    loss = fit(model, moco_batch, range(1))["loss"][0]

    for key, query in zip(twin.key_variables(), twin.trained_variables(), strict=True):
        key.assign(0.9 * key + 0.1 * query)
    keys = _unit_keys(twin, batch["key"])
    with tf.GradientTape() as tape:
        queries = twin(batch["query"], training=True)
        positive = tf.reduce_sum(queries * keys, axis=1, keepdims=True)
        logits = tf.concat([positive, queries @ queue.T], axis=1) / 0.2
        expected = -tf.reduce_mean(tf.nn.log_softmax(logits)[:, 0])
    gradients = tape.gradient(expected, twin.trained_variables())
    assert loss == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(model.queue[:6], keys, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.queue[6:], queue[:-6])
    for ours, start, gradient in zip(
        model.trained_variables(), twin.trained_variables(), gradients, strict=True
    ):
        stepped = start - 0.05 * (gradient + 0.01 * start)
        np.testing.assert_allclose(ours, stepped, rtol=1e-3, atol=1e-5, err_msg=ours.path)
    for ours, averaged in zip(model.key_variables(), twin.key_variables(), strict=True):
        np.testing.assert_allclose(ours, averaged, rtol=1e-6)


def test_key_statistics_are_the_key_networks_own() -> None:
    model = make_moco()
    before = [weight.numpy() for weight in model.key_encoder.non_trainable_weights]
    fit(model, moco_batch, range(1))
    moved = [weight.numpy() for weight in model.key_encoder.non_trainable_weights]
    queried = [weight.numpy() for weight in model.encoder.non_trainable_weights]
    for old, key, query in zip(before, moved, queried, strict=True):
        assert np.abs(key - old).max() > 1e-3
        assert np.abs(key - query).max() > 1e-5


def test_queue_holds_the_latest_keys_first() -> None:
    model = make_moco(queue_size=10)
    first = model.queue.numpy()
    fit(model, moco_batch, range(1))
    after_one = model.queue.numpy()
    np.testing.assert_array_equal(after_one[6:], first[:4])
    fit(model, moco_batch, range(1, 2))
    np.testing.assert_array_equal(model.queue.numpy()[6:], after_one[:4])
    np.testing.assert_allclose(np.linalg.norm(model.queue, axis=1), 1.0, rtol=1e-5)


def test_symmetric_loss_is_the_mean_of_both_directions() -> None:
    symmetric = make_moco(symmetric=True)
    forth = fit(make_moco(), moco_batch, range(1))["loss"][0]
    back = fit(
        make_moco(),
        lambda step: {"query": moco_batch(step)["key"], "key": moco_batch(step)["query"]},
        range(1),
    )["loss"][0]
    both = fit(symmetric, moco_batch, range(1))["loss"][0]
    assert both == pytest.approx((forth + back) / 2.0, rel=1e-5)
    batch, twin = moco_batch(0), make_moco()
    keys = np.concatenate([_unit_keys(twin, batch["key"]), _unit_keys(twin, batch["query"])])
    np.testing.assert_allclose(symmetric.queue[:12], keys, rtol=1e-4, atol=1e-5)


def test_shuffled_keys_return_in_order() -> None:
    """With one group the batch statistics do not depend on the order, so neither may the keys."""
    plain, shuffled = make_moco(), make_moco(shuffle_keys=True)
    for model in (plain, shuffled):
        fit(model, moco_batch, range(1))
    np.testing.assert_allclose(shuffled.queue, plain.queue, rtol=1e-3, atol=1e-5)


def test_shuffled_keys_meet_other_groups() -> None:
    plain, shuffled = make_moco(bn_groups=2), make_moco(bn_groups=2, shuffle_keys=True)
    for model in (plain, shuffled):
        fit(model, moco_batch, range(1))
    assert np.abs(shuffled.queue[:6] - plain.queue[:6]).max() > 1e-3


def test_queue_stays_float32_and_unit_in_mixed_precision(request: pytest.FixtureRequest) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    request.addfinalizer(lambda: keras.config.set_dtype_policy("float32"))
    model = make_moco()
    fit(model, moco_batch, range(2))
    assert model.queue.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(model.queue, axis=1), 1.0, rtol=1e-5)


def test_metrics_tell_collapse_from_spread() -> None:
    model = make_moco()
    assert model.random_guess == pytest.approx(np.log(21.0))
    same = np.full((6, SIDE, SIDE, 3), 128, np.uint8)
    collapsed = fit(model, lambda step: {"query": same, "key": same}, range(1))
    assert collapsed["embedding_std"][0] < 0.01
    spread = make_moco().fit(batches(moco_batch, range(1)), shuffle=False, verbose=0).history
    assert 0.1 < spread["embedding_std"][0] <= 1.0


@pytest.mark.parametrize(
    "option", [{"momentum": 1.1}, {"temperature": 0.0}, {"weight_decay": -1.0}], ids=str
)
def test_refuses_values_out_of_range(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}={next(iter(option.values()))}"):
        MoCo(encoder(), **option)


def test_refuses_a_frozen_encoder() -> None:
    frozen = encoder()
    frozen.trainable = False
    with pytest.raises(ValueError, match="frozen"):
        MoCo(frozen)
