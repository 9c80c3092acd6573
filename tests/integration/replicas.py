"""What two virtual devices do beside one: run in a process of its own, which prints JSON.

TensorFlow divides a processor into devices only before it is first used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.heads.guided_clustering import GuidedClustering
from spice_keras.models.partly_trained import PartlyTrainedModel
from spice_keras.models.spice_semi import SpiceSemi
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import FitLength, fit_on_replicas
from tests.models import synthetic
from tests.models.synthetic import CLUSTERS, FEATURES, SIDE

_STEPS = 10
Make = Callable[[], Any]
Batch = Callable[[int], dict[str, np.ndarray]]


def plain_semi() -> SpiceSemi:
    """SPICE-Semi without batch normalisation, which sees one share at a time."""
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255.0)(inputs)
    initializer = keras.initializers.HeNormal(0)
    x = keras.layers.Conv2D(FEATURES, 3, kernel_initializer=initializer, activation="relu")(x)
    encoder = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    model = SpiceSemi(encoder, CLUSTERS, threshold=0.4)
    return synthetic.compiled(model, keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True))


def semi_batch(step: int) -> dict[str, np.ndarray]:
    """Six labelled and eight unlabelled images."""
    batch = synthetic.semi_batch(step)
    return batch | {name: batch[name][:8] for name in ("weak", "strong")}


def guided() -> GuidedClustering:
    """Neighbour clustering with a teacher."""
    model = GuidedClustering(CLUSTERS, FEATURES, num_heads=3, entropy_weight=2.0)
    return synthetic.compiled(model, keras.optimizers.Adam(0.01))


def guided_batch(step: int) -> dict[str, np.ndarray]:
    """Pairs of neighbours, and a label of each."""
    batch = synthetic.neighbor_batch(step)
    labels = np.eye(CLUSTERS, dtype=np.float32)[np.arange(len(batch["anchor"])) % CLUSTERS]
    return batch | {"label": labels}


def moco(groups: int, *, shuffled: bool) -> Make:
    """MoCo, symmetric if the keys are shuffled."""
    return lambda: synthetic.make_moco(
        bn_groups=groups, shuffle_keys=shuffled, symmetric=shuffled, queue_size=24
    )


PAIRS: dict[str, tuple[Make, Make, Batch]] = {
    "moco": (moco(2, shuffled=True), moco(1, shuffled=True), synthetic.moco_batch),
    "guided": (guided, guided, guided_batch),
    "semantic": (synthetic.make_semantic, synthetic.make_semantic, synthetic.neighbor_batch),
    "semi": (plain_semi, plain_semi, semi_batch),
}
"""The model on one device, that on each of two, and their batches."""


def trained(model: PartlyTrainedModel, batch: Batch) -> list[dict[str, float]]:
    """Train a step an epoch; the figures of each."""
    rows: list[dict[str, float]] = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rows.append(dict(logs)))
    data = synthetic.batches(batch, range(_STEPS))
    fit_on_replicas(model, data, FitLength(_STEPS, 1, 1, 1), 0, [keep])
    return rows


def difference(one: list[dict[str, float]], two: list[dict[str, float]]) -> float:
    """The largest difference of a figure of a step."""
    return max(abs(a[name] - b[name]) for a, b in zip(one, two, strict=True) for name in a)


def unlike(model: PartlyTrainedModel, strategy: tf.distribute.Strategy) -> list[str]:
    """The variables of which the devices hold different values."""
    found = []
    for variable in [*model.variables, *model.optimizer.variables]:
        first, *others = strategy.experimental_local_results(variable.value)
        if any(np.any(first.numpy() != other.numpy()) for other in others):
            found.append(variable.path)
    return found


def main(folder: Path) -> None:
    """Compare each model with itself on one device."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found: dict[str, Any] = {}
    for name, (make, make_share, batch) in PAIRS.items():
        one = make()
        rows = trained(one, batch)
        with strategy.scope():
            two = make_share()
        found[name] = {
            "figures": difference(rows, trained(two, batch)),
            "weights": max(
                float(np.abs(a - b).max())
                for a, b in zip(one.get_weights(), two.get_weights(), strict=True)
            ),
            "unlike": unlike(two, strategy),
        }
        checkpoints = Checkpoints(folder / name)
        checkpoints.save(1, two, {})
        fresh = make()
        checkpoints.restore(fresh)
        found[name]["restored"] = all(
            np.array_equal(a, b)
            for a, b in zip(fresh.get_weights(), two.get_weights(), strict=True)
        )
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
