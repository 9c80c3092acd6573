"""`python -m spice_keras.serving.check MODEL ITEMS.npy OUT.npz`: what a SavedModel says.

Run in a process of its own, this shows that the model needs nothing of the code that made it.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf


def probabilities(model: str, items: np.ndarray) -> dict[str, np.ndarray]:
    """Ask every endpoint of a SavedModel.

    Args:
        model: Its folder.
        items: Images uint8 [n, H, W, 3], or embeddings float32 [n, D].

    Returns:
        float32 [n, K] of each endpoint, by name; `serving_default` gets images as PNG files.
    """
    loaded = tf.saved_model.load(model)
    default = loaded.signatures["serving_default"]
    if items.ndim == 2:
        found = {"serving_default": default(embeddings=tf.constant(items))}
    else:
        encoded = tf.stack([tf.io.encode_png(image) for image in items])
        found = {
            "images": loaded.signatures["images"](images=tf.constant(items)),
            "serving_default": default(encoded_images=encoded),
        }
    return {name: outputs["probabilities"].numpy() for name, outputs in found.items()}


if __name__ == "__main__":
    _, model_path, items_path, output_path = sys.argv
    said = probabilities(model_path, np.load(items_path, allow_pickle=False))
    np.savez(output_path, **said)  # type: ignore[arg-type]
