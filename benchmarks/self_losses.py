"""One SPICE-Self iteration on the same views by both sides: the losses must be the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import embeddings, images
from benchmarks.workers import ask

SIDE, CLUSTERS, HEADS, REPEATS, BATCH = 32, 10, 2, 2, 64
# Adam's first step is the sign of the gradient: near zero, rounding decides where it goes.
_TOLERANCE = 1e-3
# Untrained features lie close together, and rounding decides which of two comes last.
_SHARED = 0.98


def our_iteration(from_images: bool, num_samples: int) -> dict[str, Any]:
    """Our step in float32: what it was given and the losses it reports."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision="float32")
    import keras

    from benchmarks.steps import fit_step
    from spice_keras.backbones.factory import build_backbone
    from spice_keras.heads.spice_self import SpiceSelf

    encoder = build_backbone("resnet18_cifar", image_size=SIDE) if from_images else None
    if encoder is not None:
        views = [images(num_samples, SIDE, seed) for seed in (1, 2)]
        plain = encoder.predict_on_batch(images(num_samples, SIDE, 0))
        embedding = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    else:
        embedding = embeddings(num_samples, 512)
        views = [5.0 * embedding + 0.1 * embeddings(num_samples, 512, seed=s) for s in (1, 2)]
    model = SpiceSelf(
        CLUSTERS, 512, encoder=encoder, num_heads=HEADS, batch_size=BATCH, num_repeats=REPEATS
    )
    model.compile(keras.optimizers.Adam(0.005, epsilon=1e-8), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    batch = {"embedding": embedding, "weak": views[0], "strong": views[1]}
    given = {
        "batch": batch,
        "heads": model.classifier.get_weights(),
        "encoder": encoder and {layer.name: layer.get_weights() for layer in encoder.layers},
        "samples": _our_samples(model, batch),
        "batches": model._shuffled_batches(num_samples // CLUSTERS * CLUSTERS).numpy(),
    }
    fit_step(model, batch)()
    return given | {"losses": model.head_losses.numpy()}


def _our_samples(model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Samples of each head's pairs, by the functions that the step calls."""
    import tensorflow as tf

    from spice_keras.algorithm.prototypes import log_probabilities, num_confident, prototypes
    from spice_keras.algorithm.pseudo_labels import pseudo_labels

    count = len(batch["embedding"])
    scores = log_probabilities(model.logits_by_head(model._features(tf.constant(batch["weak"]))))
    centers = prototypes(batch["embedding"], scores, num_confident(count, CLUSTERS, 0.5))
    return pseudo_labels(batch["embedding"], centers, count // CLUSTERS).indices.numpy()


def reference_iteration(given: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The reference's procedure from the same weights, on the same views, in the same order.

    Returns:
        The losses of heads trained on our pairs, and the share of its own pairs that are ours.
    """
    import torch

    from benchmarks import torch_self
    from benchmarks.torch_networks import ResNet, load_keras, normalized

    batch = given["batch"]
    if given["encoder"]:
        network = load_keras(ResNet(), given["encoder"]).eval()
        weak, strong = normalized(batch["weak"]), normalized(batch["strong"])
    else:
        network = torch.nn.Identity()
        weak, strong = torch.from_numpy(batch["weak"]), torch.from_numpy(batch["strong"])
    heads = torch_self.make_heads(HEADS, 512, CLUSTERS)
    with torch.no_grad():
        for number, head in enumerate(heads):
            for place, value in zip((0, 0, 2, 2), given["heads"], strict=True):
                name = "weight" if value[number].ndim == 2 else "bias"
                getattr(head[place], name).copy_(torch.from_numpy(value[number].T.copy()))
        embedding, weak = torch.from_numpy(batch["embedding"]), network(weak)
        pairs = [torch_self.pseudo_labels(embedding, head(weak)) for head in heads]

    def features(samples: Any) -> Any:
        with torch.no_grad():
            return network(strong[samples])

    losses = torch_self.train(
        heads,
        torch_self.adam(heads),
        features,
        [torch.from_numpy(samples.astype(np.int64)) for samples in given["samples"]],
        pairs[0][1],
        [torch.from_numpy(batch) for batch in given["batches"].astype(np.int64)],
    )
    per_cluster = (HEADS, CLUSTERS, -1)
    own = np.stack([samples.numpy() for samples, _ in pairs]).reshape(per_cluster)
    ours = given["samples"].reshape(per_cluster)
    shared = sum(
        len(np.intersect1d(own[head, cluster], ours[head, cluster]))
        for head in range(HEADS)
        for cluster in range(CLUSTERS)
    )
    return losses.numpy(), shared / ours.size


def check(from_images: bool, num_samples: int) -> str:
    """Both sides' losses.

    Args:
        from_images: Views are images and go through ResNet-18; otherwise features.
        num_samples: M.

    Returns:
        What was compared.

    Raises:
        AssertionError: If the losses differ.
    """
    given = ask(our_iteration, from_images, num_samples)
    expected, shared = ask(reference_iteration, given)
    if shared < _SHARED:
        raise AssertionError(f"The sides label different items: {shared:.4f} in common.")
    np.testing.assert_allclose(given["losses"], expected, rtol=_TOLERANCE)
    apart = np.max(np.abs(given["losses"] / expected - 1.0))
    steps = len(given["batches"])
    return (
        f"from the same weights, on the same {'views' if from_images else 'features'} of "
        f"{num_samples} items in the same order, the loss of each of {HEADS} heads over {steps} "
        f"steps in float32 is the other side's to {apart:.0e}; the pseudo-labels that the other "
        f"side works out itself agree in {shared:.1%}"
    )
