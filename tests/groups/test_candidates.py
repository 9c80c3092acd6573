from __future__ import annotations

import numpy as np

from spice_keras.clustering.neighbors import nearest_neighbors
from spice_keras.groups.candidates import (
    Candidates,
    GridTraining,
    best_clusters,
    graph_of,
    train_candidates,
)
from spice_keras.metrics.clustering import adjusted_rand_index
from spice_keras.metrics.modularity import modularity
from spice_keras.progress import silent_screen


def points_around(
    num_groups: int, each: int, spread: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    groups = np.repeat(np.arange(num_groups), each)
    noise = spread * np.random.default_rng(0).standard_normal((len(groups), 8))
    rows = np.eye(8)[groups] + noise
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), groups


def test_heads_find_the_groups_on_all_items_and_on_each_half() -> None:
    points, groups = points_around(3, 24)
    graph = graph_of(points)
    with silent_screen().task("groups", 2) as task:
        two, three = train_candidates(points, graph, (2, 3), GridTraining(num_heads=2), task)
    assert two.clusters.shape == (2, 72)
    assert two.clusters.max() == 1
    assert three.halves.shape == (2, 2, 72)
    for clusters in (*three.clusters, *three.halves[0], *three.halves[1]):
        assert adjusted_rand_index(groups, clusters) == 1.0


def test_same_seed_same_heads() -> None:
    points, _ = points_around(3, 20, spread=0.6)
    graph = graph_of(points)
    found = []
    for seed in (0, 0, 1):
        training = GridTraining(num_heads=1, num_half_heads=1, epochs=2, seed=seed)
        with silent_screen().task("groups", 1) as task:
            found.append(train_candidates(points, graph, (4,), training, task)[0])
    np.testing.assert_array_equal(found[0].clusters, found[1].clusters)
    np.testing.assert_array_equal(found[0].halves, found[1].halves)
    assert (found[0].halves != found[2].halves).any()


def test_merged_clusters_replace_heads_that_started_badly() -> None:
    points, groups = points_around(4, 20)
    graph = graph_of(points)
    wrong = np.random.default_rng(0).integers(0, 4, (1, 80))
    halved = groups[np.newaxis] * 2 + np.arange(80) % 2
    none = np.zeros((2, 1, 80), np.int32)
    candidates = [Candidates(wrong, none), Candidates(halved, none)]
    four, eight = best_clusters(candidates, graph, (4, 8))
    assert adjusted_rand_index(groups, four) == 1.0
    np.testing.assert_array_equal(eight, halved[0])


def test_the_head_of_largest_modularity_is_kept() -> None:
    points, groups = points_around(3, 20)
    graph = graph_of(points)
    worse = np.where(np.arange(60) < 8, 1, groups)
    candidates = [Candidates(np.stack([worse, groups]), np.zeros((2, 1, 60), np.int32))]
    np.testing.assert_array_equal(best_clusters(candidates, graph, (3,))[0], groups)
    assert modularity(groups, graph) > modularity(worse, graph)


def test_the_graph_leaves_items_themselves_out() -> None:
    points, _ = points_around(3, 20)
    graph = graph_of(points)
    assert graph.shape == (60, 10)
    assert (graph != np.arange(60)[:, np.newaxis]).all()
    np.testing.assert_array_equal(graph, nearest_neighbors(points, 11)[:, 1:])
    assert graph_of(points[:5]).shape == (5, 4)
