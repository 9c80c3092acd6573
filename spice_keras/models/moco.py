"""MoCo v2: contrastive pretraining of the encoder against a queue of momentum keys."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from spice_keras.algorithm.info_nce import info_nce, random_guess_loss
from spice_keras.algorithm.key_queue import enqueue, initial_queue
from spice_keras.algorithm.momentum import update_momentum_variables
from spice_keras.models.layers import projection_head
from spice_keras.models.partly_trained import (
    PartlyTrainedModel,
    copy_of,
    described_input,
    input_spec_of,
    refuse_frozen,
    refuse_statistics_of_one,
)
from spice_keras.models.replicas import gathered, own_share


@keras.saving.register_keras_serializable(package="spice_keras")
class MoCo(PartlyTrainedModel):
    """MoCo v2: two views of an image attract each other, the queued keys of others repel.

    Trains on batches ``{"query", "key"}``, two views uint8 ``[B, S, S, 3]`` of the same images.
    ``compile`` takes an optimizer only. The momentum (key) network runs with batch statistics of
    its own and is never seen by the optimizer.

    Built under a ``tf.distribute.MirroredStrategy`` of R replicas, each takes its share of a batch
    and all queue the keys of all: the step that one device takes with R times as many groups of
    batch normalisation, or with one if the encoder was synchronised before
    (``spice_keras.backbones.normalization.synchronize``).

    Args:
        encoder: The query encoder, uint8 images to pooled features ``[B, D]``; trained in place.
        projection_dim: Width of the projection.
        queue_size: Number of queued keys.
        momentum: Share of the key network kept at each step, in [0, 1].
        temperature: Divides the cosine similarities, > 0.
        symmetric: Use each view as query and as key; the loss is the mean of the two directions
            and the keys of both are queued.
        weight_decay: L2 penalty on every trained parameter, added to its gradient.
        shuffle_keys: Permute the key batch while it is encoded; of use only with an encoder whose
            batch normalisation has several groups.
        seed: Seed of the projection head, of the initial queue and of the permutations.
        **kwargs: Passed to ``keras.Model``.

    Attributes:
        encoder: The query encoder.
        random_guess: InfoNCE of a network that cannot tell the keys apart, ln(queue_size + 1).

    Raises:
        ValueError: If an argument is out of its range or the encoder is frozen.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from spice_keras import MoCo, build_backbone, moco_views
        >>> images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
        >>> model = MoCo(build_backbone("small_resnet", image_size=16, width=4), queue_size=32)
        >>> model.compile(keras.optimizers.SGD(0.03, momentum=0.9))
        >>> history = model.fit(moco_views(images, batch_size=8), epochs=2, verbose=0)
        >>> sorted(history.history)
        ['embedding_std', 'loss']
        >>> model.encoder.predict(images, verbose=0).shape
        (16, 16)

    MoCo (arXiv 1911.05722) Algorithm 1; MoCo v2 (arXiv 2003.04297); SPICE (arXiv 2103.09382)
    Sec. 3.1.
    """

    _takes_replicas = True

    def __init__(
        self,
        encoder: keras.Model,
        *,
        projection_dim: int = 128,
        queue_size: int = 4096,
        momentum: float = 0.999,
        temperature: float = 0.2,
        symmetric: bool = False,
        weight_decay: float = 1e-4,
        shuffle_keys: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(("loss", "embedding_std"), seed, **kwargs)
        if not 0.0 <= momentum <= 1.0 or temperature <= 0.0 or weight_decay < 0.0:
            raise ValueError(
                "MoCo needs a momentum in [0, 1], a positive temperature and a weight decay >= 0. "
                f"Received: momentum={momentum}, temperature={temperature}, "
                f"weight_decay={weight_decay}"
            )
        self.projection_dim = projection_dim
        self.queue_size = queue_size
        self.momentum = momentum
        self.temperature = temperature
        self.symmetric = symmetric
        self.weight_decay = weight_decay
        self.shuffle_keys = shuffle_keys
        self.random_guess = random_guess_loss(queue_size)
        refuse_frozen(encoder)
        refuse_statistics_of_one(encoder)
        self.encoder = encoder
        self.projector = projection_head(
            encoder.output_shape[-1], encoder.output_shape[-1], projection_dim, seed=seed
        )
        self.key_encoder = copy_of(self.encoder)
        self.key_projector = copy_of(self.projector)
        # Without `autocast=False` mixed precision would round the queue at every read.
        self.queue = self.add_weight(
            name="queue", shape=(queue_size, projection_dim), dtype="float32", trainable=False,
            initializer="zeros", autocast=False,
        )  # fmt: skip
        self.queue.assign(initial_queue(queue_size, projection_dim, seed))
        self.built = True

    @property
    def batch_parts(self) -> dict[str, str]:
        """Two views of the same images."""
        return dict.fromkeys(("query", "key"), described_input(self.encoder))

    @property
    def views_function(self) -> str:
        """What makes such batches."""
        return "spice_keras.views.moco_views"

    def input_spec_of_call(self) -> keras.InputSpec:
        """Images, as the encoder takes them."""
        return input_spec_of(self.encoder)

    def trained_variables(self) -> list[keras.Variable]:
        """Trainable variables of the query encoder and its projection head."""
        return self.encoder.trainable_variables + self.projector.trainable_variables

    def key_variables(self) -> list[keras.Variable]:
        """The momentum average of each trained variable, in the same order."""
        return self.key_encoder.trainable_variables + self.key_projector.trainable_variables

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Projects uint8 images ``[B, S, S, 3]`` to unit queries, float32 ``[B, projection_dim]``.

        Args:
            images: uint8 images.
            training: Whether batch normalisation uses, and moves, batch statistics.

        Returns:
            L2-normalised projections.
        """
        features = self.encoder(images, training=training)
        return tf.math.l2_normalize(self.projector(features, training=training), axis=-1)

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Momentum update, keys, loss, optimizer step, enqueue: in this order (Algorithm 1)."""
        self._check_parts(batch)
        update_momentum_variables(self.key_variables(), self.trained_variables(), self.momentum)
        directions = self._directions()
        keys = [self._keys(batch[key], number) for number, (_, key) in enumerate(directions)]
        with tf.GradientTape() as tape:
            queries = [self(batch[query], training=True) for query, _ in directions]
            losses = [
                info_nce(query, own_share(key), self.queue.value, self.temperature)
                for query, key in zip(queries, keys, strict=True)
            ]
            loss = tf.reduce_mean(losses)
            scaled_loss = self.optimizer.scale_loss(loss)
        self._descend(tape, scaled_loss, self.weight_decay, self.trained_variables())
        self.queue.assign(enqueue(self.queue.value, tf.concat(keys, axis=0)))
        return self._report(loss=loss, embedding_std=_embedding_std(gathered(queries[0])))

    def test_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The loss in inference mode against the queue as it stands; nothing moves."""
        self._check_parts(batch)
        queries = [self(batch[query]) for query, _ in self._directions()]
        keys = [
            self.key_projector(self.key_encoder(batch[key], training=False), training=False)
            for _, key in self._directions()
        ]
        losses = [
            info_nce(query, tf.math.l2_normalize(key, axis=-1), self.queue.value, self.temperature)
            for query, key in zip(queries, keys, strict=True)
        ]
        return self._report(loss=tf.reduce_mean(losses), embedding_std=_embedding_std(queries[0]))

    def _directions(self) -> list[tuple[str, str]]:
        """Which view is the query and which the key: both ways if the loss is symmetric."""
        return [("query", "key"), ("key", "query")] if self.symmetric else [("query", "key")]

    def _keys(self, images: tf.Tensor, direction: int) -> tf.Tensor:
        """Unit keys of the momentum network for the images of all replicas, without gradient."""
        if self.shuffle_keys:
            images = gathered(images)
            order = tf.range(tf.shape(images)[0])
            seed = tf.random.experimental.stateless_fold_in(self._step_seed(), direction)
            order = tf.random.experimental.stateless_shuffle(order, seed)
            images = own_share(tf.gather(images, order))
        keys = self.key_projector(self.key_encoder(images, training=True), training=True)
        keys = gathered(tf.stop_gradient(tf.math.l2_normalize(keys, axis=-1)))
        return tf.gather(keys, tf.math.invert_permutation(order)) if self.shuffle_keys else keys

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the encoder serialised."""
        return super().get_config() | {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "projection_dim": self.projection_dim,
            "queue_size": self.queue_size,
            "momentum": self.momentum,
            "temperature": self.temperature,
            "symmetric": self.symmetric,
            "weight_decay": self.weight_decay,
            "shuffle_keys": self.shuffle_keys,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> MoCo:
        """Builds the model that ``get_config`` describes, with fresh weights."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(**config | {"encoder": encoder})


def _embedding_std(embeddings: tf.Tensor) -> tf.Tensor:
    """Spread of unit vectors ``[B, D]``: 1 when isotropic, 0 when all images look the same."""
    std = tf.reduce_mean(tf.math.reduce_std(embeddings, axis=0))
    return std * tf.sqrt(tf.cast(tf.shape(embeddings)[1], tf.float32))
