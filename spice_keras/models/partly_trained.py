"""What the models of the three training stages share: an optimizer that sees only part of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from spice_keras.models.replicas import apply_gradients, num_replicas


class PartlyTrainedModel(keras.Model):
    """A Keras model with its own metrics, of which the optimizer trains only a part.

    The rest (a momentum encoder, a queue, a frozen encoder, averaged weights) is saved and restored
    with the model but is no business of the optimizer, so it is kept out of
    ``trainable_variables`` without being put in inference mode.

    A subclass computes its own loss from batches that are dictionaries. ``compile`` refuses
    losses and metrics, ``fit`` and ``evaluate`` refuse other data, each before anything changes.

    Args:
        metric_names: Names of the means that ``fit`` reports; one of them must be ``loss``.
        seed: Seed of the model's random draws.
        **kwargs: Passed to ``keras.Model``.

    Raises:
        ValueError: If built under a ``tf.distribute`` strategy of several replicas, unless the
            subclass says that its step takes them.
    """

    _takes_replicas: bool = False
    """Whether a step on several replicas is the step that one takes on the whole batch."""

    def __init__(self, metric_names: Sequence[str], seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refuse_replicas()
        self.seed = seed
        self._means = [keras.metrics.Mean(name=name) for name in metric_names]

    @abstractmethod
    def trained_variables(self) -> list[keras.Variable]:
        """The variables that the optimizer updates."""

    @property
    def batch_parts(self) -> dict[str, str]:
        """The keys of a batch, and the dtype and shape of what each holds."""
        return {}

    @property
    def views_function(self) -> str:
        """The public function that makes such batches of an array."""
        return "tf.data.Dataset"

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

    def compile(
        self, optimizer: str | keras.optimizers.Optimizer = "rmsprop", **options: Any
    ) -> None:
        """Sets the optimizer; the loss and the metrics are the model's own.

        Args:
            optimizer: A Keras optimizer, its name or its configuration.
            **options: What else ``keras.Model.compile`` takes, losses and metrics aside.

        Raises:
            ValueError: If a loss or metrics are given.
        """
        refused = ("loss", "loss_weights", "metrics", "weighted_metrics")
        given = {name: options[name] for name in refused if options.get(name) is not None}
        if given:
            names = ", ".join(mean.name for mean in self._means)
            received = ", ".join(f"{name}={value!r}" for name, value in given.items())
            raise ValueError(
                f"{type(self).__name__} computes its own loss and reports {names}: compile it "
                f"with an optimizer alone. Received: {received}"
            )
        super().compile(optimizer=optimizer, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
        """Trains on batches that are dictionaries.

        Args:
            x: A ``tf.data.Dataset`` of such batches, arrays in a dictionary, or what else Keras
                takes.
            y: None: labels, if any, are a part of the batch.
            **options: What else ``keras.Model.fit`` takes. ``validation_data`` are batches of the
                same kind, on which the same loss is computed without a step.

        Returns:
            The history.

        Raises:
            ValueError: If the batches are of another kind.
        """
        self._refuse_other_data(x, y, options)
        if options.get("validation_split"):
            raise ValueError(
                "`validation_split` divides arrays: divide the images before you make views of "
                "them, and give the views of the second part as `validation_data`. "
                f"Received: validation_split={options['validation_split']}"
            )
        if options.get("validation_data") is not None:
            self._refuse_other_data(options["validation_data"], None, {})
        if isinstance(x, tf.data.Dataset):
            # Keras cannot shuffle batches, and warns of its own default.
            options.setdefault("shuffle", False)
        return super().fit(x, y, **options)

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Computes the training loss on batches that are dictionaries, without a step.

        Args:
            x: Batches as ``fit`` takes them.
            y: None: labels, if any, are a part of the batch.
            **options: What else ``keras.Model.evaluate`` takes.

        Returns:
            The means by name with ``return_dict=True``, otherwise a list in the order of
            ``metrics_names``.

        Raises:
            ValueError: If the batches are of another kind.
        """
        self._refuse_other_data(x, y, options)
        return super().evaluate(x, y, **options)

    def export(self, filepath: str | Path, format: str = "tf_saved_model", **options: Any) -> None:
        """Writes what ``call`` computes, as a SavedModel by default.

        Args:
            filepath: Folder to write.
            format: A format that ``keras.Model.export`` knows.
            **options: What else ``keras.Model.export`` takes; ``input_signature`` is the model's
                own input unless given.
        """
        if options.get("input_signature") is None:
            options["input_signature"] = [self.input_spec_of_call()]
        super().export(filepath, format=format, **options)

    @abstractmethod
    def input_spec_of_call(self) -> keras.InputSpec:
        """What ``call`` takes: dtype and shape, the size of the batch unknown."""

    def _refuse_other_data(self, x: Any, y: Any, options: Mapping[str, Any]) -> None:
        """Refuses data of another kind as far as it can be told before a batch is drawn."""
        extras = {"y": y} | {name: options.get(name) for name in ("sample_weight", "class_weight")}
        given = [name for name, value in extras.items() if value is not None]
        if given:
            self._refuse_batch(f"`{given[0]}` beside the batches")
        if isinstance(x, tf.data.Dataset):
            self._check_parts(x.element_spec)
        elif isinstance(x, Mapping) or x is None or tf.is_tensor(x) or hasattr(x, "__array__"):
            self._check_parts(x)
        elif isinstance(x, list | tuple):
            self._refuse_batch(f"a {type(x).__name__}")

    def _check_parts(self, batch: Any) -> None:
        """Refuses a batch, or its description, that lacks a part or holds pixels of another type.

        Raises:
            ValueError: With what was expected and received.
        """
        if not isinstance(batch, Mapping):
            shape = getattr(batch, "shape", None)
            kind = f"a {type(batch).__name__}"
            self._refuse_batch(kind if shape is None else f"one array of shape {shape}")
        missing = [name for name in self.batch_parts if name not in batch]
        if missing:
            self._refuse_batch(f"a batch of {sorted(batch)} without {missing}")
        for name, what in self.batch_parts.items():
            dtype = getattr(batch[name], "dtype", None)
            # Keras would cast pixels from 0 to 1 to integers, all of them 0.
            if what.startswith("uint8") and dtype is not None and tf.as_dtype(dtype).is_floating:
                self._refuse_batch(f"{name} of dtype {tf.as_dtype(dtype).name}")

    def _refuse_batch(self, received: str) -> None:
        parts = ", ".join(f'"{name}": {what}' for name, what in self.batch_parts.items())
        raise ValueError(
            f"{type(self).__name__} takes batches {{{parts}}}, as `{self.views_function}` makes "
            f"them of an array. Received: {received}"
        )

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
        replicas = num_replicas()
        if replicas > 1:  # the optimizer takes the sum of what they send
            gradients = [gradient / replicas for gradient in gradients]
        apply_gradients(self.optimizer, gradients, variables)

    def _refuse_replicas(self) -> None:
        replicas = num_replicas()
        if replicas > 1 and not self._takes_replicas:
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


def refuse_statistics_of_one(encoder: keras.Model) -> None:
    """Refuses, under several replicas, normalisation whose averages would differ between them.

    Args:
        encoder: The encoder a model is about to train.

    Raises:
        ValueError: If a layer of Keras's batch normalisation is neither synchronised nor frozen.
    """
    if num_replicas() == 1:
        return
    for layer in encoder._flatten_layers():
        kind = isinstance(layer, keras.layers.BatchNormalization)
        if kind and layer.trainable and not layer.synchronized:
            raise ValueError(
                "Under several replicas the moving statistics of Keras's batch normalisation would "
                "differ between them: build it with `synchronized=True`, or use "
                f"FusedBatchNormalization. Received: layer={layer.name}"
            )


def described_input(encoder: keras.Model) -> str:
    """The dtype and shape of an encoder's input, as messages give them.

    Args:
        encoder: A functional or sequential model of one input.

    Returns:
        Such as ``uint8 [B, 32, 32, 3]``.
    """
    tensor = encoder.inputs[0]
    sizes = ", ".join("?" if size is None else str(size) for size in tensor.shape[1:])
    return f"{tensor.dtype} [B, {sizes}]"


def input_spec_of(encoder: keras.Model) -> keras.InputSpec:
    """The input of an encoder for an exported function: any number of images.

    Args:
        encoder: A functional or sequential model of one input.

    Returns:
        Its dtype and shape, the first size unknown.
    """
    tensor = encoder.inputs[0]
    return keras.InputSpec(dtype=tensor.dtype, shape=(None, *tensor.shape[1:]), name="images")


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
