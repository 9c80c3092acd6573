"""Stage 2, self-labelling: clustering heads on the frozen encoder, and the choice of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from spice_keras.augment.policies import build_policy
from spice_keras.backbones.folding import fold_batch_normalization
from spice_keras.data.batches import training_batches
from spice_keras.errors import UserError
from spice_keras.heads.feature_bank import FeatureBank
from spice_keras.heads.losses import has_diverged
from spice_keras.heads.objectives import (
    HeadOptions,
    PrototypeOptions,
    SelfLabeling,
    SemanticOptions,
    neighbor_labeling,
    prototype_labeling,
    refinement,
    sic_labeling,
)
from spice_keras.heads.replicated_encoder import ReplicatedEncoder
from spice_keras.heads.selection import (
    HeadChoice,
    HeadHistory,
    HeadSelection,
    head_clusters,
    logit_blocks,
)
from spice_keras.heads.spice_self import SpiceSelf
from spice_keras.run.context import Context
from spice_keras.run.fitting import Phase, checkpoints_of, fit_phase
from spice_keras.run.networks import Encoder, pretrained_encoder
from spice_keras.run.store import Heads
from spice_keras.scratch import scratch_array
from spice_keras.stages.expectation import calibrated
from spice_keras.stages.vocabulary import Guidance, guidance_of, vocabulary_of
from spice_keras.training.encoding import encode_images
from spice_keras.training.loop import FitLength

_FIGURES = {"loss": "loss {:.4f}", "cluster_entropy": "balance {:.2f}"}
_Past = Mapping[str, np.ndarray]


def self_label(context: Context) -> None:
    """Train the clustering heads, choose one, and write the artifact `heads`.

    Args:
        context: The run; its encoder and embeddings are there.
    """
    section, bank = context.config.self_labeling, context.bank
    guidance = guidance_of(context)
    if guidance is not None:
        context.screen.say(f"self: {guidance.reason}")
    labeling = bound_objective(context, bank, guidance)
    choice, past = _train_heads(context, labeling, bank)
    features, encoder = bank.features, _moving_encoder(context, labeling)
    if encoder is not None:
        encoder.set_weights(choice.encoder_weights)
        features = encode_images(encoder, context.images)
    histories, unrefined = {"self": past}, None
    if section.refine_epochs:
        unrefined = _clusters(labeling, choice, bank)
        labeling = bound_refinement(context, bank, choice.weights)
        choice, histories["refine"] = _refine_heads(context, labeling, bank)
    labeling.model.classifier.set_weights(choice.weights)
    heads = Heads(
        *_answers(context, labeling.model.classifier, features, choice.head),
        choice.head,
        choice.epoch,
        choice.loss,
        choice.weights,
        unrefined,
        histories,
        {} if guidance is None else guidance.facts(),
    )
    _save(context, calibrated(context, heads), encoder)


def _answers(
    context: Context, classifier: keras.Model, features: np.ndarray, head: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the chosen head [N, K], and the clusters of every head [H, N]."""
    probabilities: np.ndarray | None = None
    clusters = []
    for rows, logits in logit_blocks(classifier, features):
        if probabilities is None:
            shape = len(features), logits.shape[2]
            probabilities = scratch_array(shape, np.float32, context.run.path)
        probabilities[rows] = tf.nn.softmax(logits[head]).numpy()
        clusters.append(logits.argmax(axis=2).astype(np.int32))
    if probabilities is None:
        raise ValueError(f"Expected at least one row. Received: {features.shape=}")
    return probabilities, np.concatenate(clusters, axis=1)


def bound_objective(
    context: Context, bank: FeatureBank, guidance: Guidance | None = None
) -> SelfLabeling:
    """Bind the objective the configuration asks for to the feature bank."""
    config, plan = context.config, context.plan.self_labeling
    section, neighbors = config.self_labeling, config.self_labeling.neighbors
    heads = HeadOptions(
        num_clusters=config.num_clusters,
        num_heads=section.num_heads,
        start=section.start,
        epochs=plan.epochs,
        learning_rate=section.learning_rate,
        seed=context.seed("self"),
        guide=None if guidance is None else guidance.guide,
    )
    if section.objective == "neighbors":
        return neighbor_labeling(
            bank,
            replace(heads, learning_rate=neighbors.learning_rate),
            sizes=section.sizes,
            entropy_weight=neighbors.entropy_weight,
            hidden_dim=neighbors.hidden_dim,
            batch_size=plan.pairs_per_step,
        )
    if section.objective == "sic":
        return _bound_sic(context, bank, heads)
    return _bound_prototypes(context, bank, heads)


def _bound_prototypes(context: Context, bank: FeatureBank, heads: HeadOptions) -> SelfLabeling:
    """Bind SPICE-Self to the feature bank, or to an encoder and the run's images."""
    section, plan = context.config.self_labeling, context.plan.self_labeling
    options = PrototypeOptions(
        large_batch=plan.large_batch,
        hidden_dim=section.hidden_dim,
        confident_ratio=section.confident_ratio,
        batch_size=section.batch_size,
        num_repeats=section.num_repeats,
        feature_batch=section.feature_batch,
        variant=section.variant,
    )
    if not context.has_images or section.cached_views is not None:
        return prototype_labeling(bank, heads, options)
    if context.replicas.count > 1:
        # The replicas encode; the heads train on what they return.
        return prototype_labeling(
            bank, heads, options, image_batches=partial(encoded_batches, context, bank.normalized)
        )
    return prototype_labeling(
        bank,
        heads,
        options,
        encoder=_encoder_for_heads(context),
        image_batches=partial(_image_batches, context, bank.normalized),
    )


def _bound_sic(context: Context, bank: FeatureBank, heads: HeadOptions) -> SelfLabeling:
    """Bind SIC to the feature bank and the run's words."""
    section, sizes = context.config.self_labeling.sic, context.config.self_labeling.sizes
    names = SemanticOptions.__dataclass_fields__.keys() - {"sizes"}
    fields = {name: getattr(section, name) for name in names}
    return sic_labeling(
        bank,
        replace(heads, learning_rate=section.learning_rate),
        SemanticOptions(sizes=sizes, **fields),
        vocabulary_of(context.config).vectors,
    )


def bound_refinement(
    context: Context, bank: FeatureBank, weights: list[np.ndarray]
) -> SelfLabeling:
    """Bind neighbour consistency to the heads SPICE-Self has trained."""
    section = context.config.self_labeling
    heads = HeadOptions(
        num_clusters=context.config.num_clusters,
        num_heads=section.num_heads,
        epochs=section.refine_epochs,
        learning_rate=section.neighbors.learning_rate,
        seed=context.seed("refine"),
    )
    return refinement(
        bank,
        heads,
        weights,
        hidden_dim=section.hidden_dim,
        entropy_weight=section.entropy_weight_of_refinement,
        batch_size=context.plan.self_labeling.pairs_per_step,
    )


def _encoder_for_heads(context: Context) -> keras.Model:
    """Load the pretrained encoder as SPICE-Self begins with it."""
    moves = context.config.self_labeling.moves_encoder
    # Folded, it would have no batch statistics that could move.
    encoder = pretrained_encoder(context, fold=not moves)
    encoder.trainable = moves
    return encoder


def _moving_encoder(context: Context, labeling: SelfLabeling) -> keras.Model | None:
    """The encoder that changes along with the heads; None if none does."""
    if not context.config.self_labeling.moves_encoder or not isinstance(labeling.model, SpiceSelf):
        return None
    return labeling.model.encoder


def _image_batches(
    context: Context, embedding: np.ndarray | None, first_epoch: int
) -> tf.data.Dataset:
    section, plan = context.config.self_labeling, context.plan.self_labeling
    return training_batches(
        context.images,
        views={"weak": build_policy(section.weak), "strong": build_policy(section.strong)},
        batch_size=plan.large_batch,
        seed=context.seed("self batches"),
        first_epoch=first_epoch,
        epochs=plan.epochs - first_epoch,
        extras={} if embedding is None else {"embedding": embedding},
    )


def encoded_batches(
    context: Context, embedding: np.ndarray | None, first_epoch: int
) -> Iterator[dict[str, tf.Tensor]]:
    """Make SPICE-Self's batches, their views encoded by all replicas.

    Args:
        context: The run; its encoder is there.
        embedding: Unit embeddings [N, D], whose rows travel with their images; None for none.
        first_epoch: Epoch of the first batch.

    Yields:
        `{"embedding": [M, D], "weak": [M, D], "strong": [M, D]}`, whole on every replica.
    """
    with context.replicas.phase(context.run, "self"):
        encoder = fold_batch_normalization(pretrained_encoder(context, fold=False))
        encode = ReplicatedEncoder(encoder, context.config.self_labeling.feature_batch)
    for batch in _image_batches(context, embedding, first_epoch):
        yield batch | encode({name: batch[name] for name in ("weak", "strong")})


def help_to_encode(context: Context) -> None:
    """Encode this worker's share of every batch of SPICE-Self, whose heads the chief trains.

    Args:
        context: The run, as one of its workers sees it.
    """
    first = checkpoints_of(context, "self").completed
    with context.replicas.watched():
        for _ in encoded_batches(context, None, first):
            pass


def _train_heads(
    context: Context, labeling: SelfLabeling, bank: FeatureBank
) -> tuple[HeadChoice, _Past]:
    """Train with the run's objective; return the best head, its encoder with it if that moves."""
    section, epochs = context.config.self_labeling, context.plan.self_labeling.epochs
    encoder = _moving_encoder(context, labeling)
    selection = HeadSelection(
        bank.features if encoder is None else lambda: encode_images(encoder, context.images),
        labeling.losses,
        min(int(section.select_from * epochs), epochs - 1),
        history=HeadHistory(epochs),
        encoder=encoder,
        scores=labeling.scores,
        rows=labeling.judged,
    )
    _say_judged(context, labeling)
    _fit(context, "self", labeling, selection, epochs)
    choice = selection.choice
    if section.objective == "neighbors":
        _refuse_diverged(context, choice)
    if isinstance(labeling.model, SpiceSelf):
        choice = replace(choice, weights=labeling.model.plain_weights(choice.weights))
    return choice, selection.past()


def _say_judged(context: Context, labeling: SelfLabeling) -> None:
    """Say that the losses of the heads are those of a draw, if they are."""
    if len(labeling.judged):
        noun = "images" if context.has_images else "items"
        context.screen.detail(
            f"self: the loss of a head is that of a draw of the {noun}; its clusters are judged "
            "on all."
        )


def _refuse_diverged(context: Context, choice: HeadChoice) -> None:
    """Stop if neighbour consistency has made even the best head worse than one that knows nothing.

    Raises:
        UserError: If it has; it names the learning rate.
    """
    config = context.config
    if has_diverged(choice.loss, config.num_clusters):
        rate = config.self_labeling.neighbors.learning_rate
        raise UserError(
            f"Self-labelling diverged: the loss of the best head is {choice.loss:.3g}, far above "
            f"that of a head that knows nothing ({math.log(config.num_clusters):.2f}). Lower the "
            f"learning rate (now {rate:g}): --set self.neighbors.learning_rate={rate / 10:g}, with "
            f"another --run-dir than {context.run.path}."
        )


def _refine_heads(
    context: Context, labeling: SelfLabeling, bank: FeatureBank
) -> tuple[HeadChoice, _Past]:
    """Go on with neighbour consistency; heads are judged after the last epoch."""
    epochs = context.config.self_labeling.refine_epochs
    history = HeadHistory(epochs)
    selection = HeadSelection(
        bank.features, labeling.losses, epochs - 1, history=history, rows=labeling.judged
    )
    _fit(context, "refine", labeling, selection, epochs)
    _refuse_diverged(context, selection.choice)
    return selection.choice, selection.past()


def _fit(
    context: Context, name: str, labeling: SelfLabeling, selection: HeadSelection, epochs: int
) -> None:
    section = context.config.self_labeling
    rates = {"prototypes": "self.learning_rate", "sic": "self.sic.learning_rate"}
    rate = "self.neighbors.learning_rate"
    if name == "self":
        rate = rates.get(section.objective, rate)
    phase = Phase(
        name,
        FitLength(
            epochs, labeling.steps_per_epoch, section.checkpoint_every, labeling.items_per_step
        ),
        _FIGURES,
        rate,
        (*labeling.callbacks, selection),
    )
    fit_phase(context, phase, labeling.model, labeling.batches)


def _clusters(labeling: SelfLabeling, choice: HeadChoice, bank: FeatureBank) -> np.ndarray:
    """What the chosen head says of every item, int64 [N]."""
    classifier = labeling.model.classifier
    classifier.set_weights(choice.weights)
    return head_clusters(classifier, bank.features)[choice.head].astype(np.int64)


def _save(context: Context, heads: Heads, encoder: keras.Model | None) -> None:
    """Write the heads, with the encoder they read if it moved."""
    with context.writing(Heads) as folder:
        heads.save(folder)
        if encoder is not None:
            beside = Heads.encoder_folder(folder)
            beside.mkdir()
            Encoder(encoder, context.config.backbone).save(beside)
    for phase in ("self", "refine"):
        checkpoints_of(context, phase).clear()
    context.screen.say(
        f"self: head {heads.head} of epoch {(heads.epoch or 0) + 1} {_reason(context, heads)}; it "
        f"uses {len(np.unique(heads.clusters))} of {context.config.num_clusters} clusters."
    )


def _reason(context: Context, heads: Heads) -> str:
    """Say what the head was chosen by."""
    section = context.config.self_labeling
    smallest = f"has the smallest loss, {heads.loss:.4f}"
    if section.sizes == "auto" and section.is_for_uneven(heads.head):
        return f"{smallest} of those for uneven clusters, which separate better"
    if section.objective != "neighbors" or section.sizes == "uneven":
        return smallest
    return "keeps the most neighbours together, beyond chance"
