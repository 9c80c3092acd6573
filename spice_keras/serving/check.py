"""The check of an exported model: a process of its own loads it and says what it answers.

`python -m spice_keras.serving.check MODEL ITEMS.npy OUT.npz` is that process. It shows that the
model needs nothing of the code that made it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

_TOLERANCE = 2e-2  # of a probability: bfloat16 rounds differently for other batch sizes


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


def verify(model: Path, items: np.ndarray, probabilities: np.ndarray) -> None:
    """Load a SavedModel in a separate process and compare what it says.

    Args:
        model: The SavedModel's folder.
        items: Images uint8 [n, S, S, 3], or embeddings float32 [n, D].
        probabilities: float32 [n, K], what the trained model said of them.

    Raises:
        RuntimeError: If it fails to load or says something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "items.npy", Path(folder) / "outputs.npz"
        np.save(source, items, allow_pickle=False)
        module = [sys.executable, "-m", "spice_keras.serving.check"]
        command = [*module, str(model), str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"The exported model does not load:\n{done.stderr[-2000:]}")
        with np.load(target, allow_pickle=False) as outputs:
            said = dict(outputs)
    for name, found in said.items():
        worst = float(np.abs(found - probabilities).max())
        if worst > _TOLERANCE:
            raise RuntimeError(
                f"The exported model's endpoint {name} differs from the trained model by "
                f"{worst:.4f} in a probability (at most {_TOLERANCE} is rounding)."
            )


if __name__ == "__main__":
    _, model_path, items_path, output_path = sys.argv
    said = probabilities(model_path, np.load(items_path, allow_pickle=False))
    np.savez(output_path, **said)  # type: ignore[arg-type]
