"""Pretrain an encoder with MoCo v2 on an array of images: `compile`, `fit`, a callback, a file."""

from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

from spice_keras import MoCo, UprightPolicy, build_backbone, moco_views

# Any uint8 array [N, S, S, 3] will do.
digits = np.uint8(load_digits().images[:512] * 15.9)
images = digits.repeat(2, axis=1).repeat(2, axis=2)[..., np.newaxis].repeat(3, axis=3)
training, held_out = images[:384], images[384:]


class CompareWithChance(keras.callbacks.Callback):
    """Prints the loss beside that of a network that cannot tell two images apart."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss, chance = (logs or {})["loss"], self.model.random_guess
        print(f"epoch {epoch + 1}: loss {loss:.3f}, by chance {chance:.3f}")


encoder = build_backbone("small_resnet", image_size=16, width=16)
model = MoCo(encoder, queue_size=256, momentum=0.99)
model.compile(keras.optimizers.SGD(0.03, momentum=0.9))
views = UprightPolicy(rotate=15.0)  # digits are not mirrored
model.fit(
    moco_views(training, policy=views, batch_size=64),
    validation_data=moco_views(held_out, policy=views, batch_size=64, fixed=True),
    epochs=4,
    verbose=0,
    callbacks=[CompareWithChance()],
)
model.save("moco.keras")
features = keras.models.load_model("moco.keras").encoder.predict(images, verbose=0)
print(f"features {features.shape}")
