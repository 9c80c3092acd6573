"""The check of an exported model: a process of its own loads it and says what it answers.

`python -m spice_keras.serving.check` is that process. It starts TensorFlow, then reads one line of
JSON: the paths of the model, of ITEMS.npy and of OUT.npz. It shows that the model needs nothing of
the code that made it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

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
        with ThreadPoolExecutor(2) as pool:  # TensorFlow prepares each graph on one core
            others = {
                name: pool.submit(loaded.signatures[name], **{name: tf.constant(items)})
                for name in ("images", "pixels")
            }
            found = {"serving_default": default(encoded_images=encoded)}
            found |= {name: answer.result() for name, answer in others.items()}
    return {name: outputs["probabilities"].numpy() for name, outputs in found.items()}


class Checker:
    """A process of its own that loads one exported model and compares what it says.

    It starts TensorFlow while the model is still being written. Leaving the `with` block ends it.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spice_keras.serving.check"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process, if it was not asked."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def verify(self, model: Path, items: np.ndarray, probabilities: np.ndarray) -> None:
        """Load a SavedModel in the process and compare what it says; once.

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
            request = json.dumps([str(model), str(source), str(target)])
            _, errors = self._process.communicate(request + "\n")
            if self._process.returncode:
                raise RuntimeError(f"The exported model does not load:\n{errors[-2000:]}")
            with np.load(target, allow_pickle=False) as outputs:
                said = dict(outputs)
        _compare(said, probabilities)


def _compare(said: dict[str, np.ndarray], probabilities: np.ndarray) -> None:
    for name, found in said.items():
        worst = float(np.abs(found - probabilities).max())
        if worst > _TOLERANCE:
            raise RuntimeError(
                f"The exported model's endpoint {name} differs from the trained model by "
                f"{worst:.4f} in a probability (at most {_TOLERANCE} is rounding)."
            )


if __name__ == "__main__":
    if line := sys.stdin.readline():
        model_path, items_path, output_path = json.loads(line)
        answers = probabilities(model_path, np.load(items_path, allow_pickle=False))
        np.savez(output_path, **answers)  # type: ignore[arg-type]
