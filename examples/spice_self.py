"""Train clustering heads with SPICE-Self on a frozen encoder, and keep the head of least loss."""

from functools import partial
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

import spice_keras as sk

digits = load_digits()
small = np.uint8(digits.images[:600] * 15.9)
images = small.repeat(2, axis=1).repeat(2, axis=2)[..., np.newaxis].repeat(3, axis=3)
upright = sk.UprightPolicy()  # digits are not mirrored

encoder = sk.build_backbone("small_resnet", image_size=16, width=16)
pretraining = sk.MoCo(encoder, queue_size=256, momentum=0.99)
pretraining.compile(keras.optimizers.SGD(0.03, momentum=0.9))
pretraining.fit(sk.moco_views(images, policy=upright, batch_size=64), epochs=10, verbose=0)
features = encoder.predict(images, verbose=0)


class ShowBalance(keras.callbacks.Callback):
    """Prints how even the clusters are, from 0 to 1."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        print(f"epoch {epoch + 1}: balance {(logs or {})['cluster_entropy']:.2f}")


model = sk.SpiceSelf(10, features.shape[1], encoder=encoder, num_heads=4, input_scale="unit")
model.compile(keras.optimizers.Adam(5e-3, epsilon=1e-8))
unit = features / np.linalg.norm(features, axis=1, keepdims=True)
selection = sk.HeadSelection(features, partial(sk.head_losses, unit, confident_ratio=0.5))
batches = sk.self_views(images, features, weak="none", strong=upright, batch_size=300)
model.fit(batches, epochs=10, verbose=0, callbacks=[selection, ShowBalance()])
model.classifier.set_weights(selection.choice.weights)
clusters = model.predict(images, verbose=0)[:, selection.choice.head].argmax(axis=1)
print(f"accuracy {sk.clustering_accuracy(digits.target[:600], clusters):.2f}")
