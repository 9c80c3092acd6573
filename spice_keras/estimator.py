"""The clustering heads as a scikit-learn estimator: rows of embeddings in, clusters out."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from spice_keras.algorithm.feature_space import fitted_space
from spice_keras.algorithm.local_consistency import local_consistency
from spice_keras.clustering.approximate import neighbor_search
from spice_keras.heads.answers import learn_answers
from spice_keras.heads.constraints import UNKNOWN, Pairs, labels_from_pairs
from spice_keras.heads.feature_bank import FeatureBank, unit_feature_bank
from spice_keras.heads.float32 import float32_layers
from spice_keras.heads.inference import head_probabilities
from spice_keras.heads.losses import has_diverged
from spice_keras.heads.objectives import (
    HeadOptions,
    PrototypeOptions,
    SelfLabeling,
    neighbor_labeling,
    prototype_labeling,
)
from spice_keras.heads.selection import HeadSelection, head_clusters, head_logits
from spice_keras.metrics.calibration import cautious, temperature_for, tempered_weights
from spice_keras.metrics.expected_accuracy import (
    JUDGED_OBJECTIVES,
    ExpectedAccuracy,
    Judged,
    applies,
    expected_accuracy,
    trust_figures,
)
from spice_keras.options import (
    EmbeddingObjective,
    HeadTraining,
    InputScale,
    Search,
    SelfVariant,
    Sizes,
    Start,
    head_training,
)
from spice_keras.progress import Loudness, Screen
from spice_keras.runtime import forget_kernels
from spice_keras.training.callbacks import ShowProgress
from spice_keras.words.guide import WordGuide, word_guide
from spice_keras.words.vocabulary import Vocabulary, vocabulary_from_file

_LARGE_BATCH, _LEAST_PER_CLUSTER = 1000, 10  # M of SPICE-Self, and M / K if K is large
_HIDDEN_DIM = 256  # of the heads of SPICE-Self
_RELIABLE_NEIGHBORS, _CONSISTENCY = 50, 0.95  # n_s and tau of the reliable labels
_JUDGEMENTS = 10  # of all heads by their loss over all rows, in one fit
_OPTIONAL = ("epochs", "batch_size")


class SpiceClusterer(ClusterMixin, BaseEstimator):
    """Deep clustering of embeddings: heads that learn to agree, and the choice of the best one.

    Several classification heads start from restarts of k-means and are trained without labels;
    one is kept. Of heads for even clusters that is the one with the highest modularity, the share
    of neighbours in one cluster beyond chance; of others, the one with the smallest loss. Rows are
    compared by direction alone, as is usual for embeddings: their length has no influence. For
    other data, where the origin means nothing, put a `StandardScaler` in front.

    A row of zeros has no direction: all such rows come into one cluster. Clusters can stay empty,
    if there are fewer distinct directions than clusters for instance; `fit` then warns with a
    `ConvergenceWarning`.

    Prediction is plain NumPy on the stored weights, so that a fitted estimator can be pickled and
    copied. Memory grows with N * (D + n_s) and n_heads * N * K, never N * N.

    Args:
        n_clusters: K, from 1 to the number of rows.
        objective: "neighbors", a row and its nearest neighbours belong together (SCAN), or
            "prototypes", the paper's SPICE-Self.
        start: Where the heads begin: each at another restart of k-means, on the neighbour graph's
            eigenvectors ("spectral"), "balanced-kmeans" or "kmeans", half of them at "spectral"
            and half at "kmeans" ("mixed"), at K words that cover the rows ("words"), or at
            "random".
        n_heads: Independent heads, of which one is kept.
        n_neighbors: Neighbours that heads are trained with, at most half the rows an even cluster
            has. For "neighbors" alone.
        neighbor_search: "exact"; "approximate", which finds 95 % of the neighbours; or "auto",
            exact up to about two minutes of two cores.
        input_scale: The space in which rows are compared: "unit", of cosines; "center", minus the
            mean direction; "root-center", the same of square roots; None for "root-center" if no
            value of X is negative, as in pooled ReLU features, and for "unit" if one is.
        sizes: Whether clusters should be about equally large, "even" or "uneven"; "auto" trains
            heads for both and decides without labels.
        entropy_weight: The larger, the more even the clusters; None for what `sizes` says, 0.7 or
            0.3. For "neighbors" alone.
        epochs: Passes over the rows; None for the objective's own number (60; 6), from which
            "neighbors" comes down to 10 as the rows grow beyond 15,000.
        batch_size: Rows of a step, None for the objective's own number (256, or ten for each
            cluster if that is more; 128).
        learning_rate: Learning rate of Adam; None for the objective's own (0.001; 0.0005).
        words: For start="words": a `Vocabulary`, or the path of an .npz file of `names` and
            `vectors`, in the space of X. Heads of "neighbors" learn their probabilities too.
        random_state: Int, `numpy.random.RandomState` or None; an int makes `fit` repeatable.
        verbose: 0 for silence, 1 for a progress bar, and what the search for neighbours found, on
            standard error.

    Attributes:
        labels_: int32 cluster of each row. Shape: (n_samples,).
        reliable_: Whether more than 95 % of a row's up to 50 nearest neighbours are in its own
            cluster (the paper's local consistency); with fewer than four rows a cluster, its
            nearest neighbour's alone. Shape: (n_samples,).
        loss_: Loss of the chosen head over all rows.
        head_losses_: Loss of every head at the chosen head's epoch. Shape: (n_heads,), or twice
            as many for sizes="auto", those for even clusters first.
        space_: The space in which rows are compared, with its centre.
        weights_: float32 weights of the chosen head, kernel and bias of each layer, input first.
            It reads unit rows of `space_` times sqrt(D); between two layers lies a ReLU.
        expected_accuracy_: What accuracy clusters with such figures had on labelled data, with
            its range: `acc`, `low`, `high`, `purity`. None where it was not measured: for words,
            partial labels and pairs, one head, more than 60 clusters or fewer than eight rows
            a cluster.
        temperature_: What the head's logits were divided by, so that its confidence is about the
            share of rows that lie in the largest class of their cluster; 1 if no accuracy is
            expected.
        words_: The K words the heads began at; None without words.
        n_iter_: Epochs trained.
        n_features_in_: D.
        feature_names_in_: Names of the columns, if X had any.

    Example:
        >>> import numpy as np
        >>> from spice_keras import SpiceClusterer
        >>> noise = 0.1 * np.random.default_rng(0).normal(size=(60, 3))
        >>> rows = np.eye(3).repeat(20, axis=0) + noise
        >>> clusterer = SpiceClusterer(n_clusters=3, epochs=2, random_state=0).fit(rows)
        >>> [len(set(clusterer.labels_[start : start + 20])) for start in (0, 20, 40)]
        [1, 1, 1]
        >>> clusterer.predict_proba(rows[:2]).shape
        (2, 3)

    SPICE (arXiv 2103.09382) Sec. 3.2-3.3; SCAN (arXiv 2005.12320) Sec. 2.2.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        objective: EmbeddingObjective = "neighbors",
        start: Start = "mixed",
        n_heads: int = 10,
        n_neighbors: int = 10,
        neighbor_search: Search = "auto",
        input_scale: InputScale | None = None,
        sizes: Sizes = "even",
        entropy_weight: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        words: Vocabulary | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.objective = objective
        self.start = start
        self.n_heads = n_heads
        self.n_neighbors = n_neighbors
        self.neighbor_search = neighbor_search
        self.input_scale = input_scale
        self.sizes = sizes
        self.entropy_weight = entropy_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.words = words
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: npt.ArrayLike,
        y: Any = None,
        *,
        together: Pairs = (),
        apart: Pairs = (),
    ) -> Self:
        """Find the clusters of the rows of X.

        Partial labels and pairs are learned after the clusters were found: they spread along the
        neighbour graph, and a linear head is fitted to what comes out.

        Args:
            X: Embeddings, any real numbers. Shape: (n_samples, n_features).
            y: Partial labels: whole numbers from 0 to n_clusters - 1, and -1 for rows whose label
                is unknown; cluster k is then label k. Labels without any -1 are ignored, as
                scikit-learn passes them to clusterers too. Shape: (n_samples,).
            together: Pairs of rows that belong into one cluster. Shape: (n_pairs, 2).
            apart: Pairs of rows that do not. Shape: (n_pairs, 2).

        Returns:
            The estimator itself.

        Raises:
            ValueError: If a parameter is out of range, there are fewer rows than clusters,
                training diverged, or labels and pairs contradict each other.
        """
        _check_parameters(self.get_params(deep=False))
        rows: np.ndarray = validate_data(self, X)
        if self.n_clusters > len(rows):
            raise ValueError(
                "Each cluster needs a row: give more rows or ask for fewer clusters. "
                f"Received: n_samples={len(rows)}, n_clusters={self.n_clusters}"
            )
        known = _partial_labels(y, len(rows), int(self.n_clusters))
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        guide = self._guide(rows)
        self.words_ = None if guide is None else guide.words
        self.space_ = fitted_space(rows, self.input_scale)
        bank = self._bank(rows, seed)
        self.expected_accuracy_: ExpectedAccuracy | None = None
        self.temperature_ = 1.0
        if self.n_clusters == 1:
            self._keep([np.zeros((rows.shape[1], 1)), np.zeros(1)], np.zeros(self.n_heads), 0, 0)
        else:
            with float32_layers():
                clusters, head = self._train(bank, seed, guide)
            if (known != UNKNOWN).any() or len(together) or len(apart):
                self._learn(rows, bank, known, (together, apart))
            else:
                self._calibrate(rows, bank, clusters, head, seed)
        # Not from the training's own logits: what `predict` says of X must be the same to the bit.
        probabilities = head_probabilities(rows, self.weights_, self.space_)
        self.labels_ = probabilities.argmax(axis=1).astype(np.int32)
        self.reliable_ = local_consistency(self.labels_, bank.neighbors) > _CONSISTENCY
        empty = self.n_clusters - len(np.unique(self.labels_))
        if empty:
            warnings.warn(
                f"{empty} of the {self.n_clusters} clusters are empty: the rows have fewer groups, "
                "or the heads collapsed. Ask for fewer clusters or lower the learning rate.",
                ConvergenceWarning,
                stacklevel=2,
            )
        forget_kernels()
        return self

    def _bank(self, rows: np.ndarray, seed: int) -> FeatureBank:
        half_a_cluster = max(1, len(rows) // (2 * self.n_clusters))
        return unit_feature_bank(
            rows,
            for_heads=min(int(self.n_neighbors), half_a_cluster),
            # A row is one of its own neighbours, and alone would call every label reliable.
            for_reliability=max(2, min(_RELIABLE_NEIGHBORS, half_a_cluster)),
            search=neighbor_search(self.neighbor_search, seed=seed, tell=self._screen().say),
            space=self.space_,
        )

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Give each row its most probable cluster.

        Args:
            X: Embeddings. Shape: (n_samples, n_features).

        Returns:
            Clusters in 0..n_clusters-1. Shape: (n_samples,).
        """
        return self.predict_proba(X).argmax(axis=1).astype(np.int32)

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Give the chosen head's probability of each cluster.

        Args:
            X: Embeddings. Shape: (n_samples, n_features).

        Returns:
            Rows that sum to 1. Shape: (n_samples, n_clusters).
        """
        check_is_fitted(self)
        return head_probabilities(validate_data(self, X, reset=False), self.weights_, self.space_)

    def _screen(self) -> Screen:
        return Screen(Loudness.NORMAL if self.verbose else Loudness.QUIET)

    def _learn(
        self, rows: np.ndarray, bank: FeatureBank, known: np.ndarray, pairs: tuple[Pairs, Pairs]
    ) -> None:
        """Retrain the chosen head with what was said about some rows."""
        prior = head_probabilities(rows, self.weights_, self.space_)
        prior = prior[:, _clusters_of_labels(prior.argmax(axis=1), known, prior.shape[1])]
        labels = labels_from_pairs(prior, known, *pairs)
        said = np.flatnonzero(labels != UNKNOWN)
        taught = learn_answers(bank.features, bank.head_neighbors, prior, said, labels[said])
        # Heads read unit rows times sqrt(D).
        self._keep_weights([taught.kernel / math.sqrt(rows.shape[1]), taught.bias])

    def _calibrate(
        self, rows: np.ndarray, bank: FeatureBank, clusters: np.ndarray, head: int, seed: int
    ) -> None:
        """Make the head as sure of itself as the share of rows that are expected to be right."""
        mine, count = clusters[head], int(self.n_clusters)
        fitted = self.objective in JUDGED_OBJECTIVES and self.words_ is None
        if not fitted or not applies(len(rows), count, len(np.unique(mine)), len(clusters)):
            return
        others = np.delete(clusters, head, axis=0)
        judged = Judged(mine, count, bank.normalized, bank.neighbors, others)
        self.expected_accuracy_ = expected_accuracy(trust_figures(judged, seed=seed))
        probabilities = head_probabilities(rows, self.weights_, self.space_)
        self.temperature_ = temperature_for(probabilities, cautious(self.expected_accuracy_.purity))
        self._keep_weights(tempered_weights(self.weights_, self.temperature_))

    def _recipe(self, num_rows: int) -> HeadTraining:
        """The objective's own numbers, unless the caller gave others."""
        asked = {name: getattr(self, name) for name in HeadTraining._fields}
        given = {name: value for name, value in asked.items() if value is not None}
        return head_training(self.objective, num_rows, int(self.n_clusters))._replace(**given)

    def _guide(self, rows: np.ndarray) -> WordGuide | None:
        """The words that cover the rows, if the heads begin there."""
        if self.start != "words":
            return None
        words = self.words
        vocabulary = words if isinstance(words, Vocabulary) else vocabulary_from_file(str(words))
        return word_guide(vocabulary, rows, int(self.n_clusters))

    def _train(
        self, bank: FeatureBank, seed: int, guide: WordGuide | None
    ) -> tuple[np.ndarray, int]:
        """Train the heads and keep the best one; the clusters of all [H, N], and which it is."""
        epochs = int(self._recipe(len(bank.features)).epochs)
        labeling = self._labeling(bank, seed, guide)
        # On many rows each judgement of all heads costs as much as an epoch of training.
        selection = HeadSelection(
            bank.features,
            labeling.losses,
            every=max(1, epochs // _JUDGEMENTS),
            scores=labeling.scores,
            rows=labeling.judged,
        )
        screen = self._screen()
        steps, items = labeling.steps_per_epoch, labeling.items_per_step
        with screen.task("fit", epochs * steps, unit="rows", per_step=items) as task:
            labeling.model.fit(
                labeling.batches(0),
                epochs=epochs,
                steps_per_epoch=steps,
                verbose=0,
                shuffle=False,  # the batches come shuffled
                callbacks=[selection, ShowProgress(task, {"loss": "loss {:.4f}"})],
            )
        choice = selection.choice
        if not choice.weights:
            raise ValueError(
                "Training diverged: no head ever had a finite loss. Lower the learning rate. "
                f"Received: learning_rate={self._recipe(len(bank.features)).learning_rate}"
            )
        if self.objective == "neighbors" and has_diverged(choice.loss, int(self.n_clusters)):
            raise ValueError(
                f"Training diverged: the loss of the best head is {choice.loss:.3g}, far above "
                f"that of a head that knows nothing ({math.log(self.n_clusters):.2f}). Lower the "
                "learning rate. "
                f"Received: learning_rate={self._recipe(len(bank.features)).learning_rate}"
            )
        labeling.model.classifier.set_weights(choice.weights)
        judged = labeling.judged_features(bank.features)
        losses = labeling.losses(head_logits(labeling.model, judged))
        self._keep([weight[choice.head] for weight in choice.weights], losses, choice.head, epochs)
        return head_clusters(labeling.model, bank.features), choice.head

    def _labeling(self, bank: FeatureBank, seed: int, guide: WordGuide | None) -> SelfLabeling:
        """Bind the objective to the bank."""
        settings, clusters = self._recipe(len(bank.features)), int(self.n_clusters)
        batch_size = int(settings.batch_size)
        heads = HeadOptions(
            num_clusters=clusters,
            num_heads=int(self.n_heads),
            start=self.start,
            epochs=int(settings.epochs),
            learning_rate=float(settings.learning_rate),
            seed=seed,
            guide=guide,
        )
        if self.objective == "neighbors":
            return neighbor_labeling(
                bank,
                heads,
                sizes=self.sizes,
                entropy_weight=None if self.entropy_weight is None else float(self.entropy_weight),
                batch_size=batch_size,
            )
        large_batch = max(_LARGE_BATCH, _LEAST_PER_CLUSTER * clusters)
        options = PrototypeOptions(
            large_batch, _HIDDEN_DIM, batch_size=batch_size, variant=SelfVariant(sizes=self.sizes)
        )
        return prototype_labeling(bank, heads, options)

    def _keep_weights(self, weights: list[np.ndarray]) -> None:
        # Copies: a slice would hold on to the weights of all heads.
        self.weights_: list[np.ndarray] = [np.array(weight, np.float32) for weight in weights]

    def _keep(
        self, weights: list[np.ndarray], head_losses: np.ndarray, head: int, epochs: int
    ) -> None:
        self._keep_weights(weights)
        self.head_losses_ = head_losses
        self.loss_ = float(head_losses[head])
        self.n_iter_ = epochs


def _partial_labels(y: Any, num_rows: int, num_clusters: int) -> np.ndarray:
    """The known labels, -1 for unknown ones; all unknown if y is not a set of partial labels."""
    labels = np.asarray(UNKNOWN if y is None else y)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not (labels == UNKNOWN).any():
        return np.full(num_rows, UNKNOWN)
    if len(labels) != num_rows or labels.min() < UNKNOWN or labels.max() >= num_clusters:
        raise ValueError(
            "Partial labels must be one for each row, from 0 to n_clusters - 1, or -1. Received: "
            f"{len(labels)} labels from {labels.min()} to {labels.max()} for {num_rows} rows and "
            f"n_clusters={num_clusters}"
        )
    return labels


def _clusters_of_labels(clusters: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """The cluster that is each label, by the matching in which most known rows agree."""
    shared = np.zeros((count, count))
    rows = np.flatnonzero(known != UNKNOWN)
    np.add.at(shared, (known[rows], clusters[rows]), 1.0)
    if not len(rows):
        return np.arange(count)
    matched: np.ndarray = linear_sum_assignment(-shared)[1]
    return matched


def _check_parameters(parameters: dict[str, Any]) -> None:
    """Refuse parameters that cannot work, by name."""
    choices_of = {
        "objective": EmbeddingObjective,
        "start": Start,
        "neighbor_search": Search,
        "sizes": Sizes,
    }
    for name, choices in ((name, get_args(literal)) for name, literal in choices_of.items()):
        if parameters[name] not in choices:
            raise ValueError(
                f"`{name}` must be one of {choices}. Received: {name}={parameters[name]!r}"
            )
    if (parameters["start"] == "words") != (parameters["words"] is not None):
        raise ValueError(
            '`words` and start="words" belong together. '
            f"Received: start={parameters['start']!r}, words={type(parameters['words']).__name__}"
        )
    if parameters["input_scale"] not in (None, *get_args(InputScale)[1:]):
        raise ValueError(
            f"`input_scale` must be one of {get_args(InputScale)[1:]} or None. "
            f"Received: input_scale={parameters['input_scale']!r}"
        )
    for name in ("n_clusters", "n_heads", "n_neighbors", "epochs", "batch_size"):
        value = parameters[name]
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if (not whole or int(value) < 1) and (value is not None or name not in _OPTIONAL):
            raise ValueError(f"`{name}` must be an int of at least 1. Received: {name}={value!r}")
    weight, rate = parameters["entropy_weight"], parameters["learning_rate"]
    if weight is not None and (not isinstance(weight, Real) or not 0 <= float(weight) < math.inf):
        raise ValueError(
            f"`entropy_weight` must be a number of at least 0. Received: entropy_weight={weight!r}"
        )
    if weight is not None and parameters["sizes"] != "even":
        raise ValueError(
            '`sizes` other than "even" name a weight of their own: leave `entropy_weight` None. '
            f"Received: sizes={parameters['sizes']!r}, entropy_weight={weight!r}"
        )
    if rate is not None and (not isinstance(rate, Real) or not 0 < float(rate) < math.inf):
        raise ValueError(
            f"`learning_rate` must be a number above 0. Received: learning_rate={rate!r}"
        )
