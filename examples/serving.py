"""Sort image files with a SavedModel: `python examples/serving.py SAVED_MODEL FOLDER`.

Without arguments it exports a small, untrained model first and sorts a few digits.
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from spice_keras import build_backbone, build_clusterer, export_clusterer


def export_small_model(folder: Path) -> Path:
    """Writes a model as `spice export` does: files in, clusters and confidences out."""
    encoder = build_backbone("small_resnet", image_size=16, width=8)
    head = keras.Sequential([keras.Input(encoder.output_shape[1:]), keras.layers.Dense(3)])
    return export_clusterer(build_clusterer(encoder, head), folder / "model")


if len(sys.argv) == 3:
    saved_model, folder = map(Path, sys.argv[1:])
else:
    folder = Path(mkdtemp())
    saved_model = export_small_model(folder)
    for number, image in enumerate(load_digits().images[:8]):
        Image.fromarray(np.uint8(image * 15.9)).save(folder / f"{number}.png")

files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".png", ".jpg"})
serve = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
answer = serve(encoded_images=tf.constant([path.read_bytes() for path in files]))
for path, cluster, confidence in zip(files, answer["cluster"], answer["confidence"], strict=True):
    print(f"{path.name}: cluster {cluster}, confidence {confidence:.2f}")
