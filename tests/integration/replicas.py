"""What several devices do beside one: run in processes of their own.

TensorFlow divides a processor into devices, and joins workers, only before it is first used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.backbones.normalization import synchronize
from spice_keras.heads.guided_clustering import GuidedClustering
from spice_keras.heads.replicated_encoder import ReplicatedEncoder
from spice_keras.heads.spice_self import SpiceSelf
from spice_keras.models.partly_trained import PartlyTrainedModel
from spice_keras.models.spice_semi import SpiceSemi
from spice_keras.training.checkpoints import Checkpoints
from spice_keras.training.loop import FitLength, fit_on_replicas
from tests.models import synthetic
from tests.models.synthetic import CLUSTERS, FEATURES

STEPS = 6
Make = Callable[[bool], Any]
Batch = Callable[[int], dict[str, np.ndarray]]


def semi(shared: bool) -> SpiceSemi:
    """SPICE-Semi whose batch normalisation sees all images of a step."""
    encoder = synthetic.encoder()
    if shared:
        synchronize(encoder)
    model = SpiceSemi(encoder, CLUSTERS, threshold=0.4)
    return synthetic.compiled(model, keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True))


def semi_batch(step: int) -> dict[str, np.ndarray]:
    """Six labelled and eight unlabelled images."""
    batch = synthetic.semi_batch(step)
    return batch | {name: batch[name][:8] for name in ("weak", "strong")}


def guided(shared: bool) -> GuidedClustering:
    """Neighbour clustering with a teacher."""
    model = GuidedClustering(CLUSTERS, FEATURES, num_heads=3, entropy_weight=2.0)
    return synthetic.compiled(model, keras.optimizers.Adam(0.01))


def guided_batch(step: int) -> dict[str, np.ndarray]:
    """Pairs of neighbours, and a label of each."""
    batch = synthetic.neighbor_batch(step)
    labels = np.eye(CLUSTERS, dtype=np.float32)[np.arange(len(batch["anchor"])) % CLUSTERS]
    return batch | {"label": labels}


def moco_in_groups(shared: bool) -> Any:
    """MoCo whose two groups of batch normalisation are on one device, or on one each."""
    groups = 1 if shared else 2
    return synthetic.make_moco(bn_groups=groups, shuffle_keys=True, symmetric=True, queue_size=24)


def moco(shared: bool) -> Any:
    """MoCo with the statistics of the whole batch."""
    model = synthetic.make_moco(queue_size=24)
    if shared:
        for network in (model.encoder, model.key_encoder):
            synchronize(network)
    return model


def semantic(shared: bool) -> Any:
    """SIC."""
    return synthetic.make_semantic()


MADE: dict[str, tuple[Make, Batch]] = {
    "moco": (moco, synthetic.moco_batch),
    "moco in groups": (moco_in_groups, synthetic.moco_batch),
    "guided": (guided, guided_batch),
    "semantic": (semantic, synthetic.neighbor_batch),
    "semi": (semi, semi_batch),
}
"""What makes a model, for one device or for one of several, and its batches."""
SHARED = {"mirrored": tuple(MADE), "workers": ("moco", "semi")}
"""What is trained in each way; beside it, the views of SPICE-Self are encoded."""


def trained(model: PartlyTrainedModel, batches: Any) -> list[dict[str, float]]:
    """Train a step an epoch; the figures of each."""
    rows: list[dict[str, float]] = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rows.append(dict(logs)))
    fit_on_replicas(model, batches, FitLength(STEPS, 1, 1, 1), 0, [keep])
    return rows


def self_trained(strategy: tf.distribute.Strategy) -> tuple[SpiceSelf, list[dict[str, float]]]:
    """SPICE-Self on large batches that all replicas encode."""
    model = SpiceSelf(CLUSTERS, FEATURES, num_heads=3, batch_size=16, num_repeats=2)
    synthetic.compiled(model, keras.optimizers.Adam(0.005, epsilon=1e-8))
    with strategy.scope():
        encode = ReplicatedEncoder(synthetic.encoder(), chunk=7)

    def batches() -> Iterator[dict[str, tf.Tensor]]:
        for step in range(STEPS):
            views = ("weak", step), ("strong", 100 + step)
            images = {name: synthetic.images(30, seed) for name, seed in views}
            features = encode({name: tf.constant(array) for name, array in images.items()})
            yield features | {"embedding": tf.math.l2_normalize(features["weak"], axis=1)}

    return model, trained(model, batches())


def unlike(model: PartlyTrainedModel, strategy: tf.distribute.Strategy) -> list[str]:
    """The variables of which the devices of this process hold different values."""
    found = []
    for variable in [*model.variables, *model.optimizer.variables]:
        first, *others = strategy.experimental_local_results(variable.value)
        if any(np.any(first.numpy() != other.numpy()) for other in others):
            found.append(variable.path)
    return found


def kept(path: Path, model: PartlyTrainedModel, rows: list[dict[str, float]]) -> None:
    """Write figures and weights."""
    figures = np.array([list(dict(sorted(row.items())).values()) for row in rows])
    np.savez(path, figures, *model.get_weights())


def on(strategy: tf.distribute.Strategy, folder: Path, *, writes: bool = True) -> None:
    """Train each model and write what came of it; with several devices here, compare them."""
    found: dict[str, Any] = {}
    shared = folder.name in SHARED
    for name in SHARED.get(folder.name, MADE):
        make, batch = MADE[name]
        with strategy.scope():
            model = make(shared)
        rows = trained(model, synthetic.batches(batch, range(STEPS)))
        if not writes:
            continue
        kept(folder / f"{name}.npz", model, rows)
        Checkpoints(folder / f"checkpoint {name}").save(1, model, {})
        fresh = make(False)
        Checkpoints(folder / f"checkpoint {name}").restore(fresh)
        pairs = zip(fresh.get_weights(), model.get_weights(), strict=True)
        found[name] = {
            "restored": all(np.array_equal(a, b) for a, b in pairs),
            "unlike": unlike(model, strategy),
        }
    model, rows = self_trained(strategy)
    if writes:
        kept(folder / "self.npz", model, rows)
        (folder / "found.json").write_text(json.dumps(found), "utf-8")


def main(way: str, folder: Path) -> None:
    """Train on two devices of this process and on one, or as one of two workers."""
    if way == "workers":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        chief = strategy.cluster_resolver.task_id == 0
        on(strategy, folder / "workers", writes=chief)
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    on(tf.distribute.get_strategy(), folder / "one")
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    on(mirrored, folder / "mirrored")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
