"""The check of an exported model: a process of its own loads it and says what it answers.

`python -m spice_keras.serving.check` is that process. It starts TensorFlow, then reads a line of
JSON for each model: the paths of the model, of ITEMS.npy and of OUT.npz. It says "done" when the
answers are written, and shows that the model needs nothing of the code that made it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self, cast

import numpy as np
import tensorflow as tf

from spice_keras.runtime import WITHOUT_KERAS

_DONE = "done\n"
_ERRORS_SHOWN = 2000
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
        encoded = tf.stack([tf.io.encode_png(image, compression=1) for image in items])
        with ThreadPoolExecutor(2) as pool:  # TensorFlow prepares each graph on one core
            others = {
                name: pool.submit(loaded.signatures[name], **{name: tf.constant(items)})
                for name in ("images", "pixels")
            }
            found = {"serving_default": default(encoded_images=encoded)}
            found |= {name: answer.result() for name, answer in others.items()}
    return {name: outputs["probabilities"].numpy() for name, outputs in found.items()}


class Checker:
    """A process of its own that loads exported models and says what they answer.

    It starts TensorFlow while the first model is still being written, and answers while this
    process does other work. Leaving the `with` block ends it.
    """

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile(  # noqa: SIM115 (__exit__ closes it)
            "w+", encoding="utf-8", errors="replace"
        )
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spice_keras.serving.check"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | WITHOUT_KERAS,
        )

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()
        self._folder.cleanup()

    def ask(self, model: Path, items: np.ndarray) -> None:
        """Ask the process about a SavedModel; `verify` waits for what it says.

        Args:
            model: The SavedModel's folder, which stays as it is until then.
            items: Images uint8 [n, S, S, 3], or embeddings float32 [n, D].
        """
        np.save(self._items, items, allow_pickle=False)
        request = json.dumps([str(model.resolve()), str(self._items), str(self._answers)])
        questions = cast(IO[str], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # `verify` sees that nothing was answered
            questions.write(request + "\n")
            questions.flush()

    def verify(self, probabilities: np.ndarray) -> None:
        """Compare what the process says of the model that was asked about last.

        Args:
            probabilities: float32 [n, K], what the trained model said of the same items.

        Raises:
            RuntimeError: If it fails to load or says something else. If it fails to load, the
                process has ended.
        """
        if cast(IO[str], self._process.stdout).readline() != _DONE:
            self._process.wait()
            self._said.seek(0)
            errors = self._said.read()[-_ERRORS_SHOWN:]
            raise RuntimeError(f"The exported model does not load:\n{errors}")
        with np.load(self._answers, allow_pickle=False) as outputs:
            _compare(dict(outputs), probabilities)

    @property
    def _items(self) -> Path:
        return Path(self._folder.name) / "items.npy"

    @property
    def _answers(self) -> Path:
        return Path(self._folder.name) / "outputs.npz"


def _compare(said: dict[str, np.ndarray], probabilities: np.ndarray) -> None:
    for name, found in said.items():
        worst = float(np.abs(found - probabilities).max())
        if worst > _TOLERANCE:
            raise RuntimeError(
                f"The exported model's endpoint {name} differs from the trained model by "
                f"{worst:.4f} in a probability (at most {_TOLERANCE} is rounding)."
            )


def main() -> None:
    """Answer for each model that standard input names, and say so on standard output alone."""
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # whatever libraries print goes to standard error
        for line in sys.stdin:
            model, items, target = json.loads(line)
            answers = probabilities(model, np.load(items, allow_pickle=False))
            np.savez(target, **answers)  # type: ignore[arg-type]
            replies.write(_DONE)
            replies.flush()


if __name__ == "__main__":
    main()
