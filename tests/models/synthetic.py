"""Small seeded batches and models for the tests of this room."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.backbones.normalization import FusedBatchNormalization, PixelNormalization
from spice_keras.heads.classifier import MultiHeadClassifier
from spice_keras.heads.neighbor_clustering import NeighborClustering
from spice_keras.heads.semantic_clustering import SemanticClustering
from spice_keras.heads.spice_self import SpiceSelf
from spice_keras.models.clusterer import build_clusterer
from spice_keras.models.moco import MoCo
from spice_keras.models.spice_semi import SpiceSemi

SIDE = 8
CLUSTERS = 3
FEATURES = 16


def images(count: int, seed: int = 0) -> np.ndarray:
    """Random uint8 images: each a colour of its own, with noise."""
    rng = np.random.default_rng(seed)
    color = rng.uniform(0.0, 255.0, (count, 1, 1, 3))
    noise = rng.normal(scale=30.0, size=(count, SIDE, SIDE, 3))
    return np.clip(color + noise, 0.0, 255.0).astype(np.uint8)


def encoder(seed: int = 0, bn_groups: int = 1) -> keras.Model:
    """One normalised convolution, pooled: an encoder that is traced quickly."""
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = PixelNormalization()(inputs)
    initializer = keras.initializers.HeNormal(seed)
    x = keras.layers.Conv2D(FEATURES, 3, use_bias=False, kernel_initializer=initializer)(x)
    x = FusedBatchNormalization(groups=bn_groups)(x)
    x = keras.layers.ReLU()(x)
    outputs = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    return keras.Model(inputs, outputs, name="encoder")


def blobs(count: int, seed: int = 0, spread: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian blobs of features around orthogonal directions, and the blob of each."""
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.arange(count) % CLUSTERS)
    centers = 2.0 * np.eye(CLUSTERS, FEATURES)
    features = centers[blob] + spread * rng.normal(size=(count, FEATURES))
    return features.astype(np.float32), blob


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def make_moco(**options: Any) -> MoCo:
    """MoCo ready to fit."""
    bn_groups = options.pop("bn_groups", 1)
    defaults = {"projection_dim": 8, "queue_size": 20, "momentum": 0.9}
    model = MoCo(encoder(bn_groups=bn_groups), **defaults | options)
    return compiled(model, keras.optimizers.SGD(0.05, momentum=0.9))


def make_self(**options: Any) -> SpiceSelf:
    """SPICE-Self on features, ready to fit."""
    defaults = {"num_heads": 3, "batch_size": 16, "num_repeats": 2}
    model = SpiceSelf(CLUSTERS, FEATURES, **defaults | options)
    return compiled(model, keras.optimizers.Adam(0.005, epsilon=1e-8))


def make_neighbors(**options: Any) -> NeighborClustering:
    """Neighbour clustering on features, ready to fit."""
    options = {"num_heads": 3, "entropy_weight": 2.0} | options
    model = NeighborClustering(CLUSTERS, FEATURES, **options)
    return compiled(model, keras.optimizers.Adam(0.01))


def make_semantic(**options: Any) -> SemanticClustering:
    """SIC on features with centres beside those of the blobs, ready to fit."""
    options = {"num_heads": 3, "label_weight": 1.0} | options
    model = SemanticClustering(CLUSTERS, FEATURES, **options)
    centers = np.random.default_rng(1).normal(size=(model.num_heads, CLUSTERS, FEATURES))
    centers = 0.2 * centers + np.eye(CLUSTERS, FEATURES)
    length = np.linalg.norm(centers, axis=2, keepdims=True)
    model.semantic_centers.assign((centers / length).astype(np.float32))
    return compiled(model, keras.optimizers.Adam(0.01))


def make_semi(**options: Any) -> SpiceSemi:
    """SPICE-Semi ready to fit."""
    model = SpiceSemi(encoder(), CLUSTERS, **{"threshold": 0.5} | options)
    return compiled(model, keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True))


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Any:
    """Compiles for a CPU and creates the optimizer's variables."""
    model.compile(optimizer=optimizer, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def moco_batch(step: int) -> dict[str, np.ndarray]:
    """One batch of two views."""
    return {"query": images(6, 2 * step), "key": images(6, 2 * step + 1)}


def self_batch(step: int) -> dict[str, np.ndarray]:
    """One large batch of features."""
    features, _ = blobs(50, step)
    strong = features + 0.1 * np.random.default_rng(step).normal(size=features.shape)
    return {
        "embedding": unit(features),
        "weak": features,
        "strong": strong.astype(np.float32),
    }


def neighbor_batch(step: int) -> dict[str, np.ndarray]:
    """One batch of pairs: features of a blob and others of the same blob."""
    features, _ = blobs(24, step)
    noise = 0.1 * np.random.default_rng(step).normal(size=features.shape)
    return {"anchor": features, "neighbor": (features + noise).astype(np.float32)}


def semi_batch(step: int) -> dict[str, np.ndarray]:
    """One FixMatch batch."""
    return {
        "labeled": images(6, 3 * step),
        "label": np.arange(6, dtype=np.int32) % CLUSTERS,
        "weak": images(9, 3 * step + 1),
        "strong": images(9, 3 * step + 2),
    }


TRAINED = {
    "moco": (make_moco, moco_batch),
    "self": (make_self, self_batch),
    "neighbors": (make_neighbors, neighbor_batch),
    "semantic": (make_semantic, neighbor_batch),
    "semi": (make_semi, semi_batch),
}


def batches(batch: Any, steps: range) -> tf.data.Dataset:
    """The batches of some steps as a data set."""
    rows = [batch(step) for step in steps]
    return tf.data.Dataset.from_tensor_slices(
        {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    )


def fit(model: keras.Model, batch: Any, steps: range) -> dict[str, list[float]]:
    """Fits one step an epoch, so that the history has one value a step."""
    data = batches(batch, steps)
    history = model.fit(data, epochs=len(steps), steps_per_epoch=1, shuffle=False, verbose=0)
    return dict(history.history)


def clusterer() -> keras.Model:
    """The encoder with one head, as a run would export it."""
    heads = MultiHeadClassifier(2, CLUSTERS, seed=4)
    heads.build((None, FEATURES))
    return build_clusterer(encoder(), heads.head_model(1))
