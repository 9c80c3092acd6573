"""SpiceClusterer: scikit-learn's conventions, what they leave open, and good clusters."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import spice_keras
from spice_keras.algorithm.local_consistency import local_consistency
from spice_keras.estimator import SpiceClusterer
from spice_keras.metrics.calibration import cautious, tempered
from spice_keras.words.vocabulary import Vocabulary, vocabulary_from_file
from tests.reference import neighbors as reference

_CLUSTERS, _DIM = 4, 12
_SMALL: dict[str, Any] = {"n_heads": 2, "epochs": 3, "random_state": 0}
OBJECTIVES = ["neighbors", "prototypes"]
objectives = pytest.mark.parametrize("objective", OBJECTIVES)

# Name of a check: why it may fail. None does.
_EXEMPTED: dict[str, str] = {}


@parametrize_with_checks(
    [SpiceClusterer(n_heads=2, epochs=2)], expected_failed_checks=lambda estimator: _EXEMPTED
)
def test_scikit_learn(estimator: SpiceClusterer, check: Any) -> None:
    check(estimator)


def _blobs(count: int = 120, spread: float = 0.6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    centers = 3.0 * np.eye(_CLUSTERS, _DIM)
    rows, blobs = make_blobs(count, centers=centers, cluster_std=spread, random_state=seed)
    return rows, blobs


def _small(**options: Any) -> SpiceClusterer:
    return SpiceClusterer(_CLUSTERS, **_SMALL | options)


@pytest.fixture(scope="module", params=OBJECTIVES)
def fitted(request: pytest.FixtureRequest) -> SpiceClusterer:
    return _small(objective=request.param).fit(_blobs()[0])


# --- results ---------------------------------------------------------------------------------


def test_what_a_fit_leaves(fitted: SpiceClusterer) -> None:
    _, blobs = _blobs()
    assert adjusted_rand_score(blobs, fitted.labels_) > 0.95
    assert fitted.labels_.dtype == np.int32
    assert fitted.reliable_.dtype == bool
    assert fitted.reliable_.mean() > 0.5
    assert fitted.head_losses_.shape == (2,)
    assert fitted.loss_ in fitted.head_losses_
    assert fitted.n_iter_ == 3
    assert fitted.n_features_in_ == _DIM
    assert not hasattr(fitted, "feature_names_in_")
    assert all(type(weight) is np.ndarray for weight in fitted.weights_)
    assert len(fitted.weights_) == (2 if fitted.objective == "neighbors" else 4)


def test_prediction_on_the_training_rows_is_the_labels(fitted: SpiceClusterer) -> None:
    rows = _blobs()[0]
    np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)
    probabilities = fitted.predict_proba(rows)
    assert probabilities.shape == (len(rows), _CLUSTERS)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), fitted.labels_)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_new_rows_come_to_the_clusters_of_their_kind(fitted: SpiceClusterer) -> None:
    rows, blobs = _blobs(seed=1)
    assert adjusted_rand_score(blobs, fitted.predict(rows)) > 0.95
    order = np.random.default_rng(0).permutation(len(rows))[:17]
    np.testing.assert_allclose(
        fitted.predict_proba(rows[order]), fitted.predict_proba(rows)[order], rtol=1e-6
    )
    np.testing.assert_array_equal(fitted.predict(rows * 1e-30), fitted.predict(rows))


@pytest.mark.parametrize("objective", ["neighbors", "prototypes"])
def test_confidence_is_the_share_that_is_expected_to_be_right(objective: str) -> None:
    rows, _ = _blobs(spread=1.5)
    fitted = _small(n_heads=4, objective=objective).fit(rows)
    expected = fitted.expected_accuracy_
    assert expected is not None
    assert 0.0 < expected.low < expected.acc < expected.high < 1.0
    confidence = fitted.predict_proba(rows).max(axis=1)
    assert confidence.mean() == pytest.approx(cautious(expected.purity), abs=1e-3)
    # Of well separated groups more is expected.
    easy, _ = _blobs(spread=0.3)
    clear = _small(n_heads=4, objective=objective).fit(easy).expected_accuracy_
    assert clear is not None
    assert clear.acc > expected.acc


def test_the_temperature_moves_no_row() -> None:
    rows, _ = _blobs(spread=1.5)
    fitted = _small().fit(rows)
    assert fitted.temperature_ != 1.0
    trained = tempered(fitted.predict_proba(rows), 1.0 / fitted.temperature_)
    np.testing.assert_array_equal(trained.argmax(axis=1), fitted.labels_)
    assert fitted.loss_ in fitted.head_losses_


@pytest.mark.parametrize(
    "options",
    [
        {"n_heads": 1},
        {"n_clusters": 40},  # three rows each
        {"y": [0] + 119 * [-1]},
        {"apart": [[0, 1]]},
        {"start": "words"},
    ],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_where_no_accuracy_is_expected_the_head_stays_as_it_was_trained(
    options: dict[str, Any],
) -> None:
    rows, _ = _blobs()
    said = {name: options[name] for name in ("y", "apart") if name in options}
    settings = {name: value for name, value in options.items() if name not in said}
    if "start" in settings:
        names = ("one", "two", "three", "four")
        settings["words"] = Vocabulary(names, np.eye(4, _DIM), "four axes", temperature=1.0)
    fitted = SpiceClusterer(**{"n_clusters": _CLUSTERS} | _SMALL | settings).fit(rows, **said)
    assert fitted.expected_accuracy_ is None
    assert fitted.temperature_ == 1.0


def test_reliable_rows_are_those_whose_neighbors_agree() -> None:
    rows, _ = _blobs(spread=1.5)
    fitted = _small().fit(rows)
    nearest = reference.nearest_neighbors(rows, len(rows) // (2 * _CLUSTERS))
    expected = local_consistency(fitted.labels_, nearest) > 0.95
    assert 0 < expected.sum() < len(rows)
    np.testing.assert_array_equal(fitted.reliable_, expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_row_alone_does_not_make_itself_reliable() -> None:
    """Where half a cluster is one row, reliability asks the nearest other row too."""
    rows = np.random.default_rng(0).normal(size=(12, 5))
    fitted = _small(start="balanced-kmeans", entropy_weight=2.0).fit(rows)
    nearest = reference.nearest_neighbors(rows, 2)[:, 1]
    agree = fitted.labels_[nearest] == fitted.labels_
    assert 0 < agree.sum() < 12
    np.testing.assert_array_equal(fitted.reliable_, agree)


def test_training_improves_on_its_start() -> None:
    rows, _ = _blobs(spread=1.5)
    rate = 0.02
    start, end = (_small(epochs=n, learning_rate=rate).fit(rows).loss_ for n in (1, 12))
    assert end < start - 0.01


@objectives
def test_nothing_given_means_the_objectives_own_numbers(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    class Stop(Exception):
        pass

    def fit(model: keras.Model, *_: Any, **options: Any) -> None:
        seen.append({"epochs": options["epochs"], "rate": float(model.optimizer.learning_rate)})
        raise Stop

    monkeypatch.setattr(keras.Model, "fit", fit)
    for options in ({}, {"epochs": 5, "learning_rate": 0.25, "batch_size": 16}):
        with pytest.raises(Stop):
            SpiceClusterer(_CLUSTERS, objective=objective, n_heads=1, **options).fit(_blobs()[0])
    own = {
        "neighbors": {"epochs": 60, "rate": pytest.approx(1e-3)},
        "prototypes": {"epochs": 6, "rate": pytest.approx(5e-4)},
    }
    assert seen == [own[objective], {"epochs": 5, "rate": 0.25}]


# --- repeatability ---------------------------------------------------------------------------


@objectives
def test_the_same_int_gives_the_same_weights_and_another_others(objective: str) -> None:
    rows, _ = _blobs(spread=1.5)
    one, same, other = (
        _small(objective=objective, random_state=seed).fit(rows) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.labels_, same.labels_)
    for old, new in zip(one.weights_, same.weights_, strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(one.weights_[0], other.weights_[0])


def test_a_random_state_is_drawn_from() -> None:
    rows, _ = _blobs(spread=1.5)
    state = np.random.RandomState(0)
    first, second = (_small(random_state=state).fit(rows) for _ in range(2))
    again = _small(random_state=np.random.RandomState(0)).fit(rows)
    np.testing.assert_array_equal(first.weights_[0], again.weights_[0])
    assert not np.array_equal(first.weights_[0], second.weights_[0])
    assert _small(random_state=None).fit(rows).labels_.shape == (len(rows),)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_callers_settings_stay_as_they_were(policy: str) -> None:
    rows, _ = _blobs()
    plain = _small().fit(rows)

    def drawn() -> list[float]:
        return [
            random.random(),
            float(np.random.rand()),  # noqa: NPY002
            float(tf.random.uniform([])),
            float(keras.random.uniform([])),
        ]

    def draws(fit: bool) -> list[float]:
        keras.utils.set_random_seed(7)
        if fit:
            _small().fit(rows)
        return drawn()

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        assert draws(fit=True) == draws(fit=False)
        np.testing.assert_array_equal(_small().fit(rows).weights_[0], plain.weights_[0])
        with pytest.raises(ValueError, match="diverged"):
            _small(learning_rate=1e38, epochs=1, batch_size=1).fit(rows)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy(before)


# --- kinds of input --------------------------------------------------------------------------


def test_every_kind_of_array_gives_the_same_clusters() -> None:
    whole = np.round(30 * _blobs(60)[0]).astype(np.int64)
    read_only = whole.astype(np.float64)
    read_only.flags.writeable = False
    expected = _small().fit(whole)
    for rows in (
        read_only,
        whole.astype(np.float32),
        whole.astype(np.int16),
        np.asfortranarray(whole, np.float32),
        np.repeat(whole, 2, axis=0)[::2],
        whole.tolist(),
    ):
        fitted = _small().fit(rows)
        np.testing.assert_array_equal(fitted.labels_, expected.labels_)
        np.testing.assert_array_equal(fitted.weights_[0], expected.weights_[0])
        np.testing.assert_array_equal(expected.predict(rows), expected.labels_)


@objectives
def test_rows_of_zeros_share_a_cluster(objective: str) -> None:
    rows, blobs = _blobs()
    rows[::10] = 0.0
    fitted = _small(objective=objective).fit(rows)
    assert len(set(fitted.labels_[::10])) == 1
    assert np.isfinite(fitted.predict_proba(rows)).all()
    others = np.arange(len(rows)) % 10 > 0
    assert adjusted_rand_score(blobs[others], fitted.labels_[others]) > 0.9


@objectives
@pytest.mark.parametrize("value", [0.0, -3.5])
def test_constant_data_is_one_cluster_and_the_rest_are_empty(objective: str, value: float) -> None:
    rows = np.full((50, 5), value)
    with pytest.warns(ConvergenceWarning, match="3 of the 4 clusters are empty"):
        fitted = _small(objective=objective).fit(rows)
    assert len(set(fitted.labels_)) == 1
    assert fitted.reliable_.all()
    assert len(set(fitted.predict(rows[:7]))) == 1


@objectives
@pytest.mark.parametrize("count", [2, 3, 5, 9])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_few_rows(objective: str, count: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, 3))
    for clusters in {2, count}:
        fitted = SpiceClusterer(clusters, objective=objective, **_SMALL).fit(rows)
        np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)


def test_one_cluster() -> None:
    fitted = SpiceClusterer(1, random_state=0).fit(_blobs()[0])
    assert set(fitted.labels_) == {0}
    assert fitted.reliable_.all()
    assert (fitted.loss_, fitted.n_iter_, fitted.head_losses_.shape) == (0.0, 0, (10,))
    assert (fitted.predict_proba(_blobs()[0][:3]) == 1.0).all()
    assert SpiceClusterer(1).fit([[0.0]]).labels_.tolist() == [0]


# --- copies, pipelines -----------------------------------------------------------------------


def test_copies_predict_the_same(fitted: SpiceClusterer) -> None:
    rows, _ = _blobs(seed=2)
    expected = fitted.predict_proba(rows)
    for copied in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(copied.predict_proba(rows), expected)
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(rows)


_PREDICT = """
import pickle, sys
import numpy as np
import tensorflow as tf
import spice_keras.estimator
def refuse(*_, **__): raise RuntimeError("TensorFlow was asked")
tf.convert_to_tensor = tf.constant = tf.matmul = refuse
fitted, rows = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(fitted.predict_proba(rows)))
"""


@pytest.mark.integration
def test_another_process_predicts_from_the_pickle_without_tensors() -> None:
    rows, _ = _blobs(seed=2)
    fitted = _small(objective="prototypes").fit(rows)
    done = subprocess.run(
        [sys.executable, "-c", _PREDICT],
        input=pickle.dumps((fitted, rows)), capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(pickle.loads(done.stdout), fitted.predict_proba(rows), rtol=1e-6)


@pytest.mark.parametrize("sizes", ["even", "uneven", "auto"])
def test_features_that_are_never_negative_keep_their_space_for_prediction(sizes: str) -> None:
    rows, blobs = _blobs()
    positive = np.exp(rows)
    fitted = _small(sizes=sizes).fit(positive)
    assert fitted.space_.scale == "root-center"
    assert adjusted_rand_score(blobs, fitted.labels_) > 0.9
    assert len(fitted.head_losses_) == (4 if sizes == "auto" else 2)
    np.testing.assert_array_equal(fitted.predict(positive[:7]), fitted.labels_[:7])


@pytest.mark.parametrize("sizes", ["uneven", "auto"])
def test_prototypes_take_the_sizes_too(sizes: str) -> None:
    rows, blobs = _blobs()
    fitted = _small(objective="prototypes", sizes=sizes, start="kmeans").fit(rows)
    assert adjusted_rand_score(blobs, fitted.labels_) > 0.9
    assert len(fitted.head_losses_) == (4 if sizes == "auto" else 2)


def test_works_at_the_end_of_a_pipeline() -> None:
    rows, blobs = _blobs()
    pipeline = make_pipeline(StandardScaler(), _small())
    clusters = clone(pipeline).fit_predict(rows + 100.0)
    assert adjusted_rand_score(blobs, clusters) > 0.9
    pipeline.set_params(spiceclusterer__objective="prototypes").fit(rows + 100.0)
    assert len(pipeline[-1].weights_) == 4
    np.testing.assert_array_equal(pipeline.predict(rows + 100.0), pipeline[-1].labels_)


def test_neighbors_can_be_searched_approximately() -> None:
    rows, blobs = _blobs()
    found = _small(neighbor_search="approximate").fit(rows)
    assert adjusted_rand_score(blobs, found.labels_) > 0.95


def test_comes_from_the_package_itself() -> None:
    assert spice_keras.SpiceClusterer is SpiceClusterer
    assert "SpiceClusterer" in spice_keras.__all__


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("n_clusters", "n_heads", "n_neighbors", "epochs", "batch_size")
          for value in (0, -1, 2.0, True, "3")),
        *((name, None) for name in ("n_clusters", "n_heads", "n_neighbors")),
        *(("entropy_weight", value) for value in (-0.1, np.nan, np.inf, "2")),
        *(("learning_rate", value) for value in (0.0, -1.0, np.nan, np.inf, "1")),
        ("objective", "scan"),
        ("start", None),
        ("neighbor_search", "fast"),
        ("sizes", "equal"),
        ("input_scale", "none"),
    ],
)  # fmt: skip
def test_refuses_a_parameter_by_its_name(name: str, value: Any) -> None:
    estimator = SpiceClusterer(**{name: value})
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}={value!r}$"):
        estimator.fit(np.eye(9))
    assert not hasattr(estimator, "labels_")


def test_a_weight_beside_sizes_that_name_one_is_refused() -> None:
    with pytest.raises(ValueError, match="leave `entropy_weight` None"):
        SpiceClusterer(sizes="uneven", entropy_weight=0.5).fit(np.eye(9))


def test_numpy_numbers_are_numbers() -> None:
    options: dict[str, Any] = {"n_heads": np.int64(1), "epochs": np.int32(1)}
    options |= {"batch_size": np.uint8(16), "learning_rate": np.float32(0.01)}
    fitted = SpiceClusterer(np.int64(4), entropy_weight=np.float64(1), **options).fit(_blobs()[0])
    assert fitted.n_iter_ == 1


def test_refuses_more_clusters_than_rows() -> None:
    with pytest.raises(ValueError, match="n_samples=3, n_clusters=4"):
        _small().fit(np.eye(3))


def test_a_bar_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _small(epochs=1).fit(_blobs()[0])
    assert capsys.readouterr() == ("", "")
    _small(epochs=1, verbose=1).fit(_blobs()[0])
    out, err = capsys.readouterr()
    assert out == ""
    assert "fit: 0:0" in err
    assert "loss" in err


def test_words_guide_the_clusters_and_name_them(tmp_path: Path) -> None:
    rows, groups = _words_world()
    vectors = np.eye(5, 8)[[3, 0, 4, 1, 2]]
    names = np.array(["unused", "sky", "nothing", "sea", "sand"])
    np.savez(tmp_path / "words.npz", names=names, vectors=vectors)
    options = {"start": "words", "n_heads": 2, "epochs": 5, "random_state": 0}
    given = SpiceClusterer(3, words=str(tmp_path / "words.npz"), **options).fit(rows)
    vocabulary = vocabulary_from_file(tmp_path / "words.npz")
    loaded = SpiceClusterer(3, words=vocabulary, **options).fit(rows)
    np.testing.assert_array_equal(given.labels_, loaded.labels_)
    assert set(given.words_) == {"sky", "sea", "sand"}
    assert [given.words_[cluster] for cluster in given.labels_] == [
        ("sky", "sea", "sand")[group] for group in groups
    ]


def test_words_and_their_start_belong_together() -> None:
    rows, _ = _words_world()
    with pytest.raises(ValueError, match="belong together"):
        SpiceClusterer(3, start="words").fit(rows)
    with pytest.raises(ValueError, match="belong together"):
        SpiceClusterer(3, words="words.npz").fit(rows)


def _words_world() -> tuple[np.ndarray, np.ndarray]:
    """Rows around three of the axes; a word stands at each."""
    groups = np.arange(60) % 3
    noise = 0.2 * np.random.default_rng(0).normal(size=(60, 8))
    return np.eye(3, 8)[groups] + noise, groups
