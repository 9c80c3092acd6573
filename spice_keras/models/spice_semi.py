"""SPICE-Semi: FixMatch on reliable pseudo-labels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from spice_keras.algorithm.fixmatch import fixmatch_loss
from spice_keras.algorithm.momentum import update_momentum_variables
from spice_keras.models.layers import linear
from spice_keras.models.partly_trained import (
    PartlyTrainedModel,
    copy_of,
    described_input,
    input_spec_of,
    refuse_frozen,
    refuse_statistics_of_one,
)


@keras.saving.register_keras_serializable(package="spice_keras")
class SpiceSemi(PartlyTrainedModel):
    """SPICE-Semi: encoder and classifier trained jointly, labelled by SPICE-Self where reliable.

    Trains on batches ``{"labeled", "label", "weak", "strong"}``: uint8 ``[B, S, S, 3]``, integer
    labels ``[B]`` and two views uint8 ``[U, S, S, 3]`` of the unlabelled images. ``compile`` takes
    an optimizer only. Inference uses the moving average of the weights and of the batch
    statistics.

    Built under a ``tf.distribute.MirroredStrategy``, each replica takes its share of the labelled
    and of the unlabelled images. Batch normalisation sees one share at a time, unless the encoder
    was synchronised before (``spice_keras.backbones.normalization.synchronize``).

    Args:
        encoder: uint8 images to pooled features ``[B, D]``; trained in place.
        num_clusters: Number of clusters K, >= 2.
        threshold: Confidence from which the label of a weak view is believed, in [0, 1].
        unlabeled_weight: Weight of the consistency loss, >= 0.
        ema_momentum: Share of the average kept at each step, in [0, 1].
        ema_warmup: Start with a shorter average, min(ema_momentum, (1 + step) / (10 + step)).
        weight_decay: L2 penalty on the kernels (not on biases and batch normalisation), added to
            the gradient.
        seed: Seed of the classifier's initial weights.
        **kwargs: Passed to ``keras.Model``.

    Attributes:
        network: The trained network, images to logits.
        ema_network: Its moving average, used by ``call``.

    Raises:
        ValueError: If an argument is out of its range or the encoder is frozen.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from spice_keras import SpiceSemi, build_backbone, semi_views
        >>> images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
        >>> labels = np.array([0, 1, 0, 1] + 12 * [-1])  # -1: no reliable label
        >>> model = SpiceSemi(build_backbone("small_resnet", image_size=16, width=4), 2)
        >>> model.compile(keras.optimizers.SGD(0.03, momentum=0.9, nesterov=True))
        >>> batches = semi_views(
        ...     images, labels, strong="weak", labeled_batch=4, unlabeled_batch=8
        ... )
        >>> history = model.fit(batches, epochs=2, verbose=0)
        >>> model.predict(images, verbose=0).shape
        (16, 2)

    SPICE (arXiv 2103.09382) Eq. 6, Sec. 3.3; FixMatch (arXiv 2001.07685).
    """

    _takes_replicas = True

    def __init__(
        self,
        encoder: keras.Model,
        num_clusters: int,
        *,
        threshold: float = 0.95,
        unlabeled_weight: float = 1.0,
        ema_momentum: float = 0.999,
        ema_warmup: bool = True,
        weight_decay: float = 5e-4,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(("loss", "supervised", "unsupervised", "mask_ratio"), seed, **kwargs)
        shares_valid = 0.0 <= threshold <= 1.0 and 0.0 <= ema_momentum <= 1.0
        if not shares_valid or num_clusters < 2 or min(unlabeled_weight, weight_decay) < 0.0:
            raise ValueError(
                "SpiceSemi needs num_clusters >= 2, threshold and ema_momentum in [0, 1] and "
                f"weights >= 0. Received: num_clusters={num_clusters}, threshold={threshold}, "
                f"ema_momentum={ema_momentum}, unlabeled_weight={unlabeled_weight}, "
                f"weight_decay={weight_decay}"
            )
        self.num_clusters = num_clusters
        self.threshold = threshold
        self.unlabeled_weight = unlabeled_weight
        self.ema_momentum = ema_momentum
        self.ema_warmup = ema_warmup
        self.weight_decay = weight_decay
        refuse_frozen(encoder)
        refuse_statistics_of_one(encoder)
        self.encoder = encoder
        self.network = classification_network(encoder, num_clusters, seed=seed)
        self.ema_network = copy_of(self.network)
        self.built = True

    @property
    def batch_parts(self) -> dict[str, str]:
        """Labelled images with their labels, and two views of unlabelled ones."""
        images = described_input(self.encoder)
        return {"labeled": images, "label": "integers [B]", "weak": images, "strong": images}

    @property
    def views_function(self) -> str:
        """What makes such batches."""
        return "spice_keras.views.semi_views"

    def input_spec_of_call(self) -> keras.InputSpec:
        """Images, as the encoder takes them."""
        return input_spec_of(self.encoder)

    def trained_variables(self) -> list[keras.Variable]:
        """Trainable variables of the network."""
        return self.network.trainable_variables

    def decayed_variables(self) -> list[keras.Variable]:
        """Kernels: what weight decay applies to; biases and normalisation are vectors."""
        return [variable for variable in self.trained_variables() if len(variable.shape) > 1]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Averaged network's logits of uint8 ``[B, S, S, 3]``, float32 ``[B, K]``.

        Args:
            images: uint8 images.
            training: Ignored: the averaged network always runs in inference mode.

        Returns:
            Logits.
        """
        return self.ema_network(images, training=False)

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One FixMatch step on one concatenated forward pass, then the moving average."""
        self._check_parts(batch)
        momentum = self._ema_momentum()
        # One pass: batch statistics have to see labelled, weak and strong images together.
        views = [batch["labeled"], batch["weak"], batch["strong"]]
        with tf.GradientTape() as tape:
            logits = self.network(tf.concat(views, axis=0), training=True)
            labeled, weak, strong = tf.split(logits, [tf.shape(view)[0] for view in views])
            loss = fixmatch_loss(
                batch["label"],
                labeled,
                weak,
                strong,
                threshold=self.threshold,
                unlabeled_weight=self.unlabeled_weight,
            )
            scaled_loss = self.optimizer.scale_loss(loss.total)
        self._descend(tape, scaled_loss, self.weight_decay, self.decayed_variables())
        update_momentum_variables(self.ema_network.weights, self.network.weights, momentum)
        return self._report(
            loss=loss.total,
            supervised=loss.supervised,
            unsupervised=loss.unsupervised,
            mask_ratio=loss.mask_ratio,
        )

    def test_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The loss of the averaged network, which is what predicts; nothing moves."""
        self._check_parts(batch)
        loss = fixmatch_loss(
            batch["label"],
            *(self(batch[view]) for view in ("labeled", "weak", "strong")),
            threshold=self.threshold,
            unlabeled_weight=self.unlabeled_weight,
        )
        return self._report(
            loss=loss.total,
            supervised=loss.supervised,
            unsupervised=loss.unsupervised,
            mask_ratio=loss.mask_ratio,
        )

    def _ema_momentum(self) -> float | tf.Tensor:
        if not self.ema_warmup:
            return self.ema_momentum
        step = tf.cast(self.optimizer.iterations.value, tf.float32)
        return tf.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the encoder serialised."""
        return super().get_config() | {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "num_clusters": self.num_clusters,
            "threshold": self.threshold,
            "unlabeled_weight": self.unlabeled_weight,
            "ema_momentum": self.ema_momentum,
            "ema_warmup": self.ema_warmup,
            "weight_decay": self.weight_decay,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SpiceSemi:
        """Builds the model that ``get_config`` describes, with fresh weights."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(**config | {"encoder": encoder})


def classification_network(
    encoder: keras.Model, num_clusters: int, *, seed: int = 0
) -> keras.Model:
    """The network SPICE-Semi trains: an encoder and a linear classifier on its features.

    Args:
        encoder: uint8 images to pooled features ``[B, D]``; shared, not copied.
        num_clusters: K.
        seed: Seed of the classifier's initial weights.

    Returns:
        A functional model: uint8 images ``[B, S, S, 3]`` to float32 logits ``[B, K]``.

    SPICE (arXiv 2103.09382) Sec. 3.3.
    """
    classifier = linear(
        encoder.output_shape[-1], num_clusters, seed=seed, name="logits", dtype="float32"
    )
    return keras.Model(encoder.input, classifier(encoder.output), name="network")
