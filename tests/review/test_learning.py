"""Learning from answers: the equations beside slow twins, and what answers are worth."""

from __future__ import annotations

import numpy as np
import pytest

from spice_keras.clustering.label_spreading import spread_labels
from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.clustering.representatives import representatives, worth_asking
from spice_keras.estimator import SpiceClusterer
from spice_keras.heads.answers import images_that_stay, learn_answers
from spice_keras.heads.constraints import labels_from_pairs
from spice_keras.heads.soft_targets import fit_soft_targets


def slow_spread(
    neighbors: np.ndarray, prior: np.ndarray, known: dict[int, int], weight: float, steps: int
) -> np.ndarray:
    """The same in loops."""
    count, classes = prior.shape
    links = [[0] * count for _ in range(count)]
    for item in range(count):
        for other in neighbors[item]:
            links[item][other] += 1
            links[other][item] += 1
    found = [list(row) for row in prior]
    for _ in range(steps):
        for item, label in known.items():
            found[item] = [float(k == label) for k in range(classes)]
        new = []
        for item in range(count):
            degree = sum(links[item])
            pull = weight * max(degree, 1)
            new.append(
                [
                    (
                        sum(links[item][j] * found[j][k] for j in range(count))
                        + pull * prior[item][k]
                    )
                    / (degree + pull)
                    for k in range(classes)
                ]
            )
        found = new
    for item, label in known.items():
        found[item] = [float(k == label) for k in range(classes)]
    return np.array(found)


def test_spreading_is_its_slow_twin() -> None:
    rng = np.random.default_rng(0)
    neighbors = np.array([rng.choice(np.delete(np.arange(15), i), 3, False) for i in range(15)])
    prior = rng.dirichlet(np.ones(3), 15)
    known = {2: 1, 7: 0, 11: 2}
    fast = spread_labels(
        neighbors,
        prior,
        np.array([*known]),
        np.array([*known.values()]),
        prior_weight=0.2,
        num_steps=7,
    )
    np.testing.assert_allclose(fast, slow_spread(neighbors, prior, known, 0.2, 7), atol=1e-12)
    np.testing.assert_allclose(fast.sum(axis=1), 1.0)


def test_spreading_ends_at_the_fixed_point() -> None:
    """Solved as a linear system: the minimum of the energy that the docstring names."""
    rng = np.random.default_rng(1)
    neighbors = np.array([rng.choice(np.delete(np.arange(12), i), 3, False) for i in range(12)])
    prior = rng.dirichlet(np.ones(2), 12)
    found = spread_labels(
        neighbors, prior, np.array([0]), np.array([1]), prior_weight=0.3, num_steps=400
    )
    links = np.zeros((12, 12))
    for item, others in enumerate(neighbors):
        links[item, others] += 1
        links[others, item] += 1
    degrees = np.diag(links.sum(axis=1))
    system, wanted = 1.3 * degrees - links, 0.3 * degrees @ prior
    system[0], wanted[0] = np.eye(12)[0], [0.0, 1.0]
    np.testing.assert_allclose(found, np.linalg.solve(system, wanted), atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "labels"), [([0], [2]), ([0], [-1]), ([0, 1], [0])], ids=["high", "low", "uneven"]
)
def test_spreading_refuses_what_does_not_fit(rows: list[int], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="Received"):
        spread_labels(np.array([[1], [0]]), np.full((2, 2), 0.5), np.array(rows), np.array(labels))


def test_the_head_has_no_gradient_left() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(40, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    targets = rng.dirichlet(np.ones(3), 40)
    kernel, bias = fit_soft_targets(rows, targets, decay=0.01)
    gradient = 0.01 * kernel.astype(float)
    slope = np.zeros(3)
    for row, target in zip(rows, targets, strict=True):
        scores = [sum(row[d] * kernel[d, k] for d in range(6)) + bias[k] for k in range(3)]
        total = sum(np.exp(score) for score in scores)
        for k in range(3):
            error = (np.exp(scores[k]) / total - target[k]) / 40
            slope[k] += error
            gradient[:, k] += error * row
    assert np.abs(gradient).max() < 1e-4
    assert np.abs(slope).max() < 1e-4


def test_the_head_refuses_other_items() -> None:
    with pytest.raises(ValueError, match="same items"):
        fit_soft_targets(np.zeros((3, 2)), np.zeros((4, 2)))


def test_representatives_stand_for_their_cells() -> None:
    rng = np.random.default_rng(3)
    rows = np.eye(4)[np.repeat([0, 1, 2], [30, 20, 10])] + 0.05 * rng.normal(size=(60, 4))
    found = representatives(rows, 3, seed=0)
    assert found.sizes.tolist() == [30, 20, 10]
    for place, row in enumerate(found.rows):
        members = rows[found.cells == place]
        far = np.square(members - members.mean(axis=0)).sum(axis=1)
        assert np.square(rows[row] - members.mean(axis=0)).sum() == pytest.approx(far.min())
    assert len(representatives(np.ones((5, 2)), 3, seed=0).rows) == 1
    with pytest.raises(ValueError, match="at least one"):
        representatives(rows, 0, seed=0)


def test_answers_mend_clusters_that_mix_two_groups() -> None:
    """Six blobs, two of them in the wrong cluster: an answer for each blob puts all of it right."""
    rng = np.random.default_rng(4)
    blob = np.repeat(np.arange(6), 40)
    rows = np.eye(8)[blob] + 0.12 * rng.normal(size=(240, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    truth = np.array([0, 0, 1, 1, 2, 2])[blob]
    believed = np.array([0, 1, 1, 2, 2, 2])[blob]
    prior = np.full((240, 3), 0.05)
    prior[np.arange(240), believed] = 0.9
    asked = representatives(rows, 6, seed=0).rows
    neighbors = nearest_neighbors(rows.astype(np.float32), 11)[:, 1:]
    taught = learn_answers(rows, neighbors, prior, asked, truth[asked])
    assert (believed == truth).mean() < 0.7
    assert ((rows @ taught.kernel + taught.bias).argmax(axis=1) == truth).mean() > 0.95
    certain = np.where(prior > 0.5, 0.99, 0.005)
    sharp = learn_answers(rows, neighbors, certain, asked, truth[asked])
    scores = rows @ sharp.kernel + sharp.bias
    sure = np.exp(scores.max(axis=1)) / np.exp(scores).sum(axis=1)
    assert sure.mean() == pytest.approx(0.99, abs=0.005)  # as sure as the prior
    unasked = learn_answers(rows, neighbors, prior, np.array([0]), truth[:1])
    assert ((rows @ unasked.kernel + unasked.bias).argmax(axis=1) == believed).mean() > 0.95


def test_pairs_become_labels() -> None:
    prior = np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [1, 0, 0]]
    )
    unknown = np.full(5, -1)
    assert labels_from_pairs(prior, unknown, [], []).tolist() == [-1] * 5
    assert labels_from_pairs(prior, unknown, [(0, 1), (1, 2)], []).tolist() == [0, 0, 0, -1, -1]
    # The surest chooses first, and the others what is left.
    assert labels_from_pairs(prior, unknown, [], [(0, 2), (2, 3)]).tolist() == [0, -1, 1, 0, -1]
    known = np.array([2, -1, -1, -1, -1])
    assert labels_from_pairs(prior, known, [(0, 4)], []).tolist() == [2, -1, -1, -1, 2]


@pytest.mark.parametrize(
    ("known", "together", "apart", "said"),
    [
        ([0, 1, -1], [(0, 1)], [], "to be together"),
        ([-1, -1, -1], [(0, 1)], [(1, 0)], "both together and apart"),
        ([0, 0, -1], [], [(0, 1)], "both of class 0"),
        ([0, 1, -1], [], [(2, 0), (2, 1)], "all 2 clusters"),
        ([-1, -1, -1], [(0, 3)], [], "pairs of rows from 0 to 2"),
    ],
)
def test_contradictions_are_refused(
    known: list[int], together: list[tuple[int, int]], apart: list[tuple[int, int]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        labels_from_pairs(np.full((3, 2), 0.5), np.array(known), together, apart)


def test_the_estimator_takes_partial_labels_and_pairs() -> None:
    rng = np.random.default_rng(5)
    blob = np.repeat(np.arange(4), 25)
    rows = np.eye(6)[blob] + 0.1 * rng.normal(size=(100, 6))
    pairs = [(0, 25), (50, 75)]  # two blobs are one thing, and so are the other two

    def fit(y: object = None, **said: object) -> SpiceClusterer:
        clusterer = SpiceClusterer(2, n_heads=2, epochs=2, random_state=0)
        return clusterer.fit(rows, y, **said)  # type: ignore[arg-type]

    known = np.full(100, -1)
    known[[0, 25, 50, 75]] = [1, 0, 0, 1]
    found = fit(known)
    assert (found.labels_ == np.array([1, 0, 0, 1])[blob]).mean() > 0.95
    np.testing.assert_array_equal(found.predict(rows), found.labels_)
    joined = fit(together=pairs, apart=[(0, 50)]).labels_
    assert (joined[blob <= 1] == joined[0]).mean() > 0.95
    assert (joined[blob >= 2] == joined[50]).mean() > 0.95
    assert joined[0] != joined[50]
    np.testing.assert_array_equal(fit(blob).labels_, fit().labels_)  # whole labels are not read
    known[0] = 2
    with pytest.raises(ValueError, match="Partial labels"):
        fit(known)


def test_what_stays_speaks_for_itself() -> None:
    angles = np.linspace(0.0, 1.0, 12)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    automatic = np.repeat([0, 1], [10, 2])
    clusters, fixed = automatic.copy(), np.zeros(12, bool)
    assert images_that_stay(rows, automatic, clusters, fixed).tolist() == []
    clusters[[0, 1, 2]], fixed[[0, 1, 2]] = 2, True  # one end of the first cluster is taken out
    assert images_that_stay(rows, automatic, clusters, fixed).tolist() == [7, 8, 9]
    fixed[[4, 5]] = True  # a person found these right
    assert images_that_stay(rows, automatic, clusters, fixed).tolist() == [9]
    clusters[3:8], fixed[3:8] = 2, True
    assert images_that_stay(rows, automatic, clusters, fixed).tolist() == [9]  # half of the rest
    fixed[:10] = True
    assert images_that_stay(rows, automatic, clusters, fixed).tolist() == []


def test_half_of_what_is_asked_is_where_the_doubt_lies() -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.normal(place, 0.05, 50) for place in (0.0, 1.0, 2.0)])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    confidence = np.where(np.arange(150) < 100, 0.99, 0.5)  # the third group is in doubt
    chosen = worth_asking(rows, confidence, 6, seed=0)
    asked = [one.row for one in chosen]
    assert len(set(asked)) == 6
    assert sorted(row // 50 for row in asked[:3]) == [0, 1, 2]
    assert [row // 50 for row in asked[3:]] == [2, 2, 2]
    assert all(one.row in one.members for one in chosen)
    assert sum(len(one.members) for one in chosen[:3]) == 150
    assert len(worth_asking(np.ones((5, 2)), np.ones(5), 6, seed=0)) == 1
