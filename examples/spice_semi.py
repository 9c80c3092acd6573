"""Train a network with SPICE-Semi on the reliable labels of a clustering, and export it."""

from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

import spice_keras as sk

digits = load_digits()
small = np.uint8(digits.images[:600] * 15.9)
images = small.repeat(2, axis=1).repeat(2, axis=2)[..., np.newaxis].repeat(3, axis=3)

# The labels may come from anywhere: a clustering of pixels here, of an encoder's features better.
found = sk.SpiceClusterer(10, epochs=5, random_state=0).fit(digits.data[:600])
labels = np.where(found.reliable_, found.labels_, -1)


class ShowBelieved(keras.callbacks.Callback):
    """Prints the share of unlabelled images whose predicted label was believed."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        print(f"epoch {epoch + 1}: believed {(logs or {})['mask_ratio']:.0%}")


encoder = sk.build_backbone("small_resnet", image_size=16, width=16)
model = sk.SpiceSemi(encoder, num_clusters=10, threshold=0.8)
model.compile(keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True))
upright = sk.UprightPolicy()  # digits are not mirrored
batches = sk.semi_views(
    images, labels, weak=upright, strong=upright, labeled_batch=64, unlabeled_batch=64
)
model.fit(batches, epochs=6, verbose=0, callbacks=[ShowBelieved()])
clusters = model.predict(images, verbose=0).argmax(axis=1)
print(f"accuracy {sk.clustering_accuracy(digits.target[:600], clusters):.2f}")
model.export("semi", verbose=False)
