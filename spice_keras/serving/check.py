"""`python -m spice_keras.serving.check MODEL IMAGES.npy OUT.npz`: what a SavedModel says.

Run in a process of its own, this shows that the model needs nothing of the code that made it.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf


def probabilities(model: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Ask both endpoints of a SavedModel.

    Args:
        model: Its folder.
        images: uint8 [n, H, W, 3].

    Returns:
        float32 [n, K] of `images` and of `serving_default`, which gets the images as PNG.
    """
    loaded = tf.saved_model.load(model)
    encoded = tf.stack([tf.io.encode_png(image) for image in images])
    pixels = loaded.signatures["images"](images=tf.constant(images))
    default = loaded.signatures["serving_default"](encoded_images=encoded)
    return {
        "images": pixels["probabilities"].numpy(),
        "serving_default": default["probabilities"].numpy(),
    }


if __name__ == "__main__":
    _, model_path, images_path, output_path = sys.argv
    found = probabilities(model_path, np.load(images_path, allow_pickle=False))
    np.savez(output_path, images=found["images"], serving_default=found["serving_default"])
