"""SPICE-Self: clustering heads trained on prototype pseudo-labels, the encoder frozen."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from spice_keras.algorithm.feature_space import SpaceLike
from spice_keras.algorithm.prototypes import log_probabilities
from spice_keras.algorithm.pseudo_labels import PseudoLabels, own_pseudo_labels
from spice_keras.algorithm.self_losses import entropy_term, pair_losses, tempered
from spice_keras.heads.multi_head_model import MultiHeadModel
from spice_keras.models.partly_trained import described_input, input_spec_of, refuse_frozen
from spice_keras.options import SelfVariant, evenness_of_heads


def frozen_features(
    encoder: keras.Model, images: tf.Tensor, chunk: int, *, adapt: bool = False
) -> tf.Tensor:
    """Features of a large batch through a frozen encoder, a chunk at a time.

    Runs in inference mode and lets no gradient through, so that neither weights nor batch
    statistics change. The last chunk may be smaller.

    Args:
        encoder: uint8 images to pooled features ``[B, D]``.
        images: uint8 ``[M, S, S, 3]``.
        chunk: Images per forward pass, >= 1.
        adapt: Normalise each chunk by its own statistics and let the moving ones follow; the
            weights stay. Chunks are then made equally large, lest a last one of a few images
            have statistics of its own.

    Returns:
        float32 features ``[M, D]``.

    SPICE (arXiv 2103.09382) Sec. 3.2: the CNN is fixed while the heads train.
    """
    num_images = tf.shape(images)[0]
    dim = encoder.output_shape[-1]
    if adapt:
        chunk = -(-num_images // -(-num_images // chunk))

    def encode(start: tf.Tensor, done: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        features = encoder(images[start : start + chunk], training=adapt)
        return start + chunk, done.write(start // chunk, tf.cast(features, tf.float32))

    empty = tf.TensorArray(
        tf.float32, size=-(-num_images // chunk), element_shape=[None, dim], infer_shape=False
    )
    _, done = tf.while_loop(
        lambda start, _: start < num_images, encode, (0, empty), parallel_iterations=1
    )
    return tf.stop_gradient(tf.ensure_shape(done.concat(), [images.shape[0], dim]))


@keras.saving.register_keras_serializable(package="spice_keras")
class SpiceSelf(MultiHeadModel):
    """SPICE-Self: one training step is one iteration of the paper's Algorithm 1.

    Trains on batches ``{"embedding", "weak", "strong"}``: L2-normalised embeddings float32
    ``[M, D]`` of the un-augmented images, and two views of them, either uint8 ``[M, S, S, 3]`` or,
    without an encoder, raw features ``[M, D]``. M must be known when the step is traced.
    ``compile`` takes an optimizer only (the released code: Adam 0.005, epsilon 1e-8).

    The frozen encoder sees every view once a batch; all heads then train on the cached features,
    as one batched product. An encoder that is trained instead (a variant) sees the strong views of
    every optimizer step anew; similarity stays that of the embeddings in the batch.

    It trains on one device. Several can encode its batches: see ``ReplicatedEncoder``.

    ``predict`` gives logits ``[N, H, K]`` of features, and of images if the model has an encoder.

    Args:
        num_clusters: Number of clusters K, >= 2.
        feature_dim: Width of the features D.
        encoder: uint8 images to pooled features ``[B, D]``, frozen: neither its weights nor its
            batch statistics change, unless the variant says so. None if the batch already holds
            features.
        num_heads: Number of independent heads H.
        hidden_dim: Width of the heads' hidden layer; D where None.
        input_scale: ``"none"`` as in the paper; ``"unit"`` for encoders whose features have
            another scale or width than its ResNet-18 (see ``MultiHeadClassifier``).
        confident_ratio: Share r of a cluster's M // K samples its prototype averages, in (0, 1].
        batch_size: Pairs of a head in one optimizer step; fewer where there are fewer pairs.
        num_repeats: Passes over the same pseudo-labels.
        feature_batch: Images of one forward pass through the encoder.
        variant: What to do differently from the paper.
        seed: Seed of the heads' initial weights and of the shuffles.
        **kwargs: Passed to ``keras.Model``.

    Attributes:
        classifier: The clustering heads.
        head_losses: Mean loss of each head over the last step, float32 ``[H]``.
        evenness: For each head, how even the sizes by which its clusters claim; None if all claim
            equally many, as in the paper.

    Raises:
        ValueError: If an argument is out of its range, or under several replicas.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from spice_keras import SpiceSelf, self_feature_views
        >>> features = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
        >>> model = SpiceSelf(3, 8, num_heads=2)
        >>> model.compile(keras.optimizers.Adam(0.005, epsilon=1e-8))
        >>> batches = self_feature_views(features, batch_size=30)
        >>> history = model.fit(batches, epochs=2, verbose=0)
        >>> model.predict(features, verbose=0).shape
        (60, 2, 3)

    SPICE (arXiv 2103.09382) Sec. 3.2, Algorithm 1.
    """

    def __init__(
        self,
        num_clusters: int,
        feature_dim: int,
        *,
        encoder: keras.Model | None = None,
        num_heads: int = 10,
        hidden_dim: int | None = None,
        input_scale: SpaceLike = "none",
        confident_ratio: float = 0.5,
        batch_size: int = 128,
        num_repeats: int = 8,
        feature_batch: int = 256,
        variant: SelfVariant | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(("loss", "cluster_entropy"), seed, **kwargs)
        if min(batch_size, num_repeats, feature_batch) < 1:
            raise ValueError(
                "SpiceSelf needs batch_size, num_repeats and feature_batch >= 1. Received: "
                f"batch_size={batch_size}, num_repeats={num_repeats}, feature_batch={feature_batch}"
            )
        if encoder is not None and encoder.output_shape[-1] != feature_dim:
            raise ValueError(
                "`feature_dim` must be the width of the encoder's features. Received: "
                f"feature_dim={feature_dim}, encoder.output_shape={encoder.output_shape}"
            )
        self.variant = SelfVariant() if variant is None else variant
        self.evenness = evenness_of_heads(self.variant.sizes, num_heads)
        if self.variant.moves_encoder:
            _refuse_fixed(encoder)
        self.num_clusters = num_clusters
        self.feature_dim = feature_dim
        self.encoder = encoder
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.confident_ratio = confident_ratio
        self.batch_size = batch_size
        self.num_repeats = num_repeats
        self.feature_batch = feature_batch
        self._predicted_rank: int | None = None
        self._add_heads(
            feature_dim,
            num_heads,
            num_clusters,
            hidden_dim=hidden_dim,
            seed=seed,
            input_scale=input_scale,
        )
        self.built = True

    @property
    def batch_parts(self) -> dict[str, str]:
        """Unit embeddings, and two views as images or features."""
        features = f"float [M, {self.feature_dim}]"
        views = features if self.encoder is None else described_input(self.encoder)
        return {"embedding": features, "weak": views, "strong": views}

    @property
    def views_function(self) -> str:
        """What makes such batches."""
        kind = "self_feature_views" if self.encoder is None else "self_views"
        return f"spice_keras.views.{kind}"

    def input_spec_of_call(self) -> keras.InputSpec:
        """Images if the model has an encoder, otherwise features."""
        if self.encoder is None:
            return super().input_spec_of_call()
        return input_spec_of(self.encoder)

    def trained_variables(self) -> list[keras.Variable]:
        """Variables of the clustering heads, and of an encoder that is trained with them."""
        trained = self.classifier.trainable_variables
        if self.variant.train_encoder and self.encoder is not None:
            trained = trained + self.encoder.trainable_variables
        return trained

    def logits_by_head(self, features: tf.Tensor) -> tf.Tensor:
        """Logits head by head, over the temperature if the variant has one.

        Args:
            features: ``[B, D]`` shared by all heads, or ``[H, B, D]``, one batch for each head.

        Returns:
            float32 ``[H, B, K]``.
        """
        logits = super().logits_by_head(features)
        return tempered(logits, self.variant.loss, self.variant.temperature)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> np.ndarray:
        """Logits of every head for features, or for images if the model has an encoder.

        Args:
            x: Features ``[N, D]`` or images ``[N, S, S, 3]``, as arrays or batches.
            *arguments: What else ``keras.Model.predict`` takes.
            **options: What else ``keras.Model.predict`` takes.

        Returns:
            float32 ``[N, H, K]``.
        """
        described = tf.nest.flatten(x.element_spec if isinstance(x, tf.data.Dataset) else x)[0]
        rank = len(getattr(described, "shape", ()))
        if rank != self._predicted_rank:
            # Keras would join the traces for images and for features to one of unknown rank.
            self.predict_function, self._predicted_rank = None, rank
        return super().predict(x, *arguments, **options)

    def _features_of(self, inputs: tf.Tensor) -> tf.Tensor:
        encoder = self.encoder
        if encoder is None or inputs.shape.rank == 2 != len(encoder.inputs[0].shape):
            return super()._features_of(inputs)
        return self._features(inputs)

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Prototypes and pseudo-labels from the weak views, then training on the strong ones."""
        self._refuse_replicas()
        scores, pairs = self._labelled(batch)
        strong = batch["strong"]
        if not self.variant.train_encoder:
            strong = self._features(strong, adapt=self.variant.batch_norm == "adapt")
        self.head_losses.assign(self._train_heads(strong, pairs))
        return self._report(
            loss=tf.reduce_mean(self.head_losses.value), cluster_entropy=_cluster_entropy(scores)
        )

    def test_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The loss on the batch's own prototypes and pseudo-labels; nothing moves."""
        scores, pairs = self._labelled(batch)
        samples = tf.gather(self._features(batch["strong"]), pairs.indices)
        losses = self._loss_by_head(pairs.labels, self.logits_by_head(samples))
        return self._report(loss=tf.reduce_mean(losses), cluster_entropy=_cluster_entropy(scores))

    def _labelled(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, PseudoLabels]:
        """What the heads say of the weak views, and the pairs that this leads to."""
        self._check_parts(batch)
        num_samples = batch["embedding"].shape[0]
        if num_samples is None:
            raise ValueError(
                "SpiceSelf needs batches of known size: batch the dataset with "
                f"drop_remainder=True. Received: embedding.shape={batch['embedding'].shape}"
            )
        scores = log_probabilities(self.logits_by_head(self._features(batch["weak"])))
        return scores, own_pseudo_labels(
            batch["embedding"],
            scores,
            self.confident_ratio,
            assignment=self.variant.assignment,
            evenness=self.evenness,
        )

    def _features(self, views: tf.Tensor, adapt: bool = False) -> tf.Tensor:
        if self.encoder is None:
            return views
        return frozen_features(self.encoder, views, self.feature_batch, adapt=adapt)

    def _seen(self, views: tf.Tensor) -> tf.Tensor:
        """Features ``[H, B, D]`` of cached ones, or of images ``[H, B, ...]`` in one pass."""
        if self.encoder is None or not self.variant.train_encoder:
            return views
        images = tf.reshape(views, [-1, *views.shape[2:]])
        features = self.encoder(images, training=self.variant.batch_norm == "adapt")
        return tf.reshape(features, [*views.shape[:2], self.feature_dim])

    def _train_heads(self, strong: tf.Tensor, pairs: PseudoLabels) -> tf.Tensor:
        """Optimizer steps of all repeats; returns the mean loss of each head, ``[H]``."""
        # The optimizer cannot create its variables inside the loop.
        if not self.optimizer.built:
            self.optimizer.build(self.trained_variables())
        batches = self._shuffled_batches(pairs.labels.shape[-1])
        num_steps = batches.shape[0]

        def step(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            positions = batches[number]
            samples = tf.gather(pairs.indices, positions, axis=1)
            labels = tf.gather(pairs.labels, positions, axis=-1)
            return number + 1, total + self._step(tf.gather(strong, samples), labels)

        _, total = tf.while_loop(
            lambda number, _: number < num_steps,
            step,
            (0, tf.zeros([self.num_heads])),
            parallel_iterations=1,
        )
        return total / num_steps

    def _step(self, views: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """One optimizer step on ``[H, B, ...]`` and labels ``[B]`` or ``[H, B]``; losses."""
        with tf.GradientTape() as tape:
            losses = self._loss_by_head(labels, self.logits_by_head(self._seen(views)))
            # Summed, not averaged: each head takes the step it would take alone.
            scaled_loss = self.optimizer.scale_loss(tf.reduce_sum(losses))
        self._descend(tape, scaled_loss)
        return losses

    def _loss_by_head(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Loss of each head, ``[H]``, on labels, shared or its own, and logits ``[H, B, K]``."""
        labels = tf.broadcast_to(labels, [self.num_heads, labels.shape[-1]])
        losses = tf.reduce_mean(pair_losses(labels, logits, self.variant.loss), axis=1)
        if self.variant.entropy_weight:
            losses += entropy_term(logits, self.variant.entropy_weight)
        return losses

    def _shuffled_batches(self, num_pairs: int) -> tf.Tensor:
        """Positions of the pairs of every step, ``[repeats * steps, batch]``, all heads alike."""
        batch_size = min(self.batch_size, num_pairs)
        used = num_pairs // batch_size * batch_size
        seed = self._step_seed()
        orders = [
            tf.random.experimental.stateless_shuffle(
                tf.range(num_pairs), tf.random.experimental.stateless_fold_in(seed, repeat)
            )[:used]
            for repeat in range(self.num_repeats)
        ]
        return tf.reshape(tf.concat(orders, axis=0), [-1, batch_size])

    def plain_weights(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Weights of heads that say without a temperature what these say with it.

        Args:
            weights: Of the classifier, from a model like this one.

        Returns:
            The same with the division moved into the output layer, which is linear.
        """
        *hidden, kernel, bias = weights
        variant = self.variant
        output = (tempered(w, variant.loss, variant.temperature).numpy() for w in (kernel, bias))
        return [*hidden, *output]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the encoder serialised."""
        encoder = self.encoder and keras.saving.serialize_keras_object(self.encoder)
        return super().get_config() | {
            "num_clusters": self.num_clusters,
            "feature_dim": self.feature_dim,
            "encoder": encoder,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "input_scale": self.classifier.space.as_config(),
            "confident_ratio": self.confident_ratio,
            "batch_size": self.batch_size,
            "num_repeats": self.num_repeats,
            "feature_batch": self.feature_batch,
            "variant": self.variant.model_dump(),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SpiceSelf:
        """Builds the model that ``get_config`` describes, with fresh weights."""
        encoder = config["encoder"]
        if encoder is not None:
            encoder = keras.saving.deserialize_keras_object(encoder, custom_objects)
        return cls(**config | {"encoder": encoder, "variant": SelfVariant(**config["variant"])})


def _refuse_fixed(encoder: keras.Model | None) -> None:
    """Refuses an encoder that a variant wants to change and that cannot be."""
    if encoder is None:
        raise ValueError(
            "Features that are given cannot follow an encoder that changes: give the encoder, and "
            "batches of images. Received: encoder=None"
        )
    refuse_frozen(encoder)


def _cluster_entropy(scores: tf.Tensor) -> tf.Tensor:
    """Entropy of the cluster sizes over its maximum, mean over heads: 1 when all are equal."""
    num_clusters = scores.shape[-1]
    assigned = tf.one_hot(tf.argmax(scores, axis=-1), num_clusters)
    shares = tf.reduce_mean(assigned, axis=1)
    entropy = -tf.reduce_sum(tf.math.xlogy(shares, shares), axis=-1)
    return tf.reduce_mean(entropy) / math.log(num_clusters)
