"""What the models of the three training stages share: an optimizer that sees only part of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class PartlyTrainedModel(keras.Model):
    """A Keras model with its own metrics, of which the optimizer trains only a part.

    The rest (a momentum encoder, a queue, a frozen encoder, averaged weights) is saved and restored
    with the model but is no business of the optimizer, so it is kept out of
    ``trainable_variables`` without being put in inference mode.

    Args:
        metric_names: Names of the means that ``fit`` reports; one of them must be ``loss``.
        seed: Seed of the model's random draws.
        **kwargs: Passed to ``keras.Model``.

    Raises:
        ValueError: If built under a ``tf.distribute`` strategy of several replicas.
    """

    def __init__(self, metric_names: Sequence[str], seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refuse_replicas()
        self.seed = seed
        self._means = [keras.metrics.Mean(name=name) for name in metric_names]

    @abstractmethod
    def trained_variables(self) -> list[keras.Variable]:
        """The variables that the optimizer updates."""

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The variables that the optimizer updates."""
        return self.trained_variables()

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """The variables that the optimizer updates."""
        return self.trained_variables()

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """All other variables, those of the metrics included."""
        return _without(self.variables, self.trained_variables())

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        """All other weights."""
        return _without(self.weights, self.trained_variables())

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that ``fit`` reports and resets at each epoch."""
        return list(self._means)

    def _report(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Updates the means of the given names and returns all of them."""
        for mean in self._means:
            mean.update_state(values[mean.name])
        return {mean.name: mean.result() for mean in self._means}

    def _step_seed(self) -> tf.Tensor:
        """Stateless seed int32 [2] of the current optimizer step."""
        return tf.stack([self.seed, tf.cast(self.optimizer.iterations.value, tf.int32)])

    def _descend(
        self,
        tape: tf.GradientTape,
        scaled_loss: tf.Tensor,
        weight_decay: float = 0.0,
        decayed: Sequence[keras.Variable] = (),
    ) -> None:
        """One optimizer step; L2 decay is part of the gradient and so passes through momentum.

        Keras's own ``weight_decay`` is decoupled from the gradient, about ten times weaker at
        momentum 0.9 than the L2 penalty of MoCo and FixMatch.
        """
        variables = self.trained_variables()
        gradients = tape.gradient(scaled_loss, variables)
        # Under loss scaling the gradients come scaled, and the decay has to be as well.
        decay = self.optimizer.scale_loss(tf.constant(weight_decay, tf.float32))
        chosen = {id(variable) for variable in decayed}
        gradients = [
            gradient + decay * variable.value if id(variable) in chosen else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply(gradients, variables)

    def _refuse_replicas(self) -> None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            raise ValueError(
                f"{type(self).__name__} trains on one replica: its state (queue, averages, "
                "pseudo-labels) would silently differ between replicas. Build and fit it outside "
                f"the strategy. Received: num_replicas_in_sync={replicas}"
            )


def refuse_frozen(encoder: keras.Model) -> None:
    """Refuses an encoder that would silently not be trained.

    Args:
        encoder: The encoder a model is about to train.

    Raises:
        ValueError: If none of its variables is trainable.
    """
    if not encoder.trainable_variables:
        raise ValueError(
            "The encoder is frozen and could not be trained; set `encoder.trainable = True` first. "
            f"Received: encoder={encoder.name}"
        )


def copy_of(model: keras.Model) -> keras.Model:
    """A second network of the same architecture that starts from the same weights.

    Args:
        model: A functional or sequential model.

    Returns:
        The copy; it shares no variable with the original.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _without(
    variables: Sequence[keras.Variable], left_out: Sequence[keras.Variable]
) -> list[keras.Variable]:
    ids = {id(variable) for variable in left_out}
    return [variable for variable in variables if id(variable) not in ids]
