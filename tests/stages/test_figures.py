"""What the figures are drawn from: prototypes and their heat maps, the map, the heads' history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from spice_keras.algorithm.embeddings import l2_normalized
from spice_keras.backbones.factory import build_backbone
from spice_keras.metrics.clustering import clustering_accuracy
from spice_keras.run.context import Context
from spice_keras.run.networks import save_network
from spice_keras.run.results import FinalResult
from spice_keras.run.store import Heads
from spice_keras.stages import figures
from spice_keras.stages.figures import (
    accuracies,
    cluster_centers,
    embedding_map,
    head_curves,
    least_certain_images,
    prototype_images,
    prototype_maps,
)
from tests.reference.heat_maps import cosine_heat_maps
from tests.stages.made_run import COUNT, make_context, probabilities, truth, write_heads


def _result() -> FinalResult:
    """Two clusters of three; the third member of each lies apart from the sure ones."""
    embeddings = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0], [-0.6, -0.8], [0, -1]], np.float32)
    first = np.array([0.99, 0.9, 0.8, 0.01, 0.2, 0.3], np.float32)
    probabilities = np.stack([first, 1 - first, np.zeros(6, np.float32)], axis=1)
    flags = np.ones(6, bool)
    return FinalResult(probabilities, embeddings, flags, flags)


def test_prototypes_are_the_members_nearest_to_the_sure_ones(tmp_path: Path) -> None:
    """Three clusters of six images: one confident image makes each prototype."""
    context = make_context(tmp_path)
    ranked = prototype_images(context, _result())
    assert {cluster: rows.tolist() for cluster, rows in ranked.items()} == {
        0: [0, 1, 2],
        1: [3, 4, 5],
    }
    centers = cluster_centers(context, _result())
    assert {cluster: center.tolist() for cluster, center in centers.items()} == {
        0: [1, 0],
        1: [-1, 0],
    }


def test_the_least_certain_come_first() -> None:
    found = least_certain_images(_result(), 2)
    assert {cluster: rows.tolist() for cluster, rows in found.items()} == {0: [2, 1], 1: [5, 4]}


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_map_is_a_seeded_sample(tmp_path: Path, method: str) -> None:
    options = {"evaluate__map_method": method, "evaluate__map_samples": 20}
    context = make_context(tmp_path, **options)
    embeddings = np.random.default_rng(0).normal(size=(COUNT, 5)).astype(np.float32)
    placed = embedding_map(context, embeddings)
    assert placed.method == {"pca": "PCA", "tsne": "t-SNE"}[method]
    assert placed.points.shape == (20, 2)
    assert len(set(placed.indices.tolist())) == 20
    assert (np.diff(placed.indices) > 0).all()
    np.testing.assert_array_equal(embedding_map(context, embeddings).points, placed.points)


def _encoded(path: Path, **options: Any) -> tuple[Context, keras.Model, FinalResult]:
    """A run without SPICE-Semi, its encoder, and a clustering of the encoder's embeddings."""
    small = {"backbone__name": "small_resnet", "backbone__width": 2, "semi__enabled": False}
    context = make_context(path, **small, **options)
    size = context.config.data.image_size
    encoder = build_backbone(context.config.backbone, image_size=size, seed=3)
    with context.run.write("encoder", stage="pretrain") as folder:
        save_network(folder, encoder, context.config.backbone, image_size=size)
    embeddings = l2_normalized(encoder.predict(context.images, verbose=0))
    flags = np.ones(COUNT, bool)
    return context, encoder, FinalResult(probabilities(truth(), 0.9), embeddings, flags, flags)


def test_heat_maps_equal_a_loop_over_the_last_map(tmp_path: Path) -> None:
    context, encoder, result = _encoded(tmp_path)
    ranked = prototype_images(context, result)
    maps = prototype_maps(context, result, ranked)
    assert maps is not None
    assert maps.clusters.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert maps.indices.tolist() == [row for rows in ranked.values() for row in rows[:3]]
    last = keras.Model(encoder.input, encoder.get_layer("feature_map").output)
    features = last.predict(context.images[maps.indices], verbose=0)
    centers = cluster_centers(context, result)
    expected = cosine_heat_maps(features, np.stack([centers[c] for c in maps.clusters]))
    assert maps.heat_maps.shape == (9, 2, 2)
    np.testing.assert_allclose(maps.heat_maps, expected, atol=1e-4)


def test_batches_do_not_change_the_heat_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _, result = _encoded(tmp_path)
    ranked = prototype_images(context, result)
    whole = prototype_maps(context, result, ranked)
    monkeypatch.setattr(figures, "_MAP_BATCH", 4)
    parts = prototype_maps(context, result, ranked)
    assert whole is not None
    assert parts is not None
    np.testing.assert_allclose(parts.heat_maps, whole.heat_maps, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((6, 4, 5), (2, 2)),
        ((6, 5, 5), (2, 2)),
        ((6, 2, 3, 5), (2, 3)),
        ((6, 1, 1, 5), None),
        ((6, 5), None),
    ],
)
def test_maps_patches_and_vectors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    grid: tuple[int, int] | None,
) -> None:
    """A transformer's patches form a square, behind a class token; a vector is no map."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    monkeypatch.setattr(figures, "_feature_map_model", lambda context: lambda *_, **__: values)
    flags = np.ones(6, bool)
    result = FinalResult(_result().probabilities, np.ones((6, 5), np.float32), flags, flags)
    context = make_context(tmp_path)
    maps = prototype_maps(context, result, {0: np.arange(3), 1: np.arange(3, 6)})
    assert (None if maps is None else maps.heat_maps.shape[1:]) == grid
    if maps is not None:
        first = values[:, 1:] if shape == (6, 5, 5) else values
        first = first.reshape(6, -1, 5)[0, 0]
        cosine = first.sum() / (np.linalg.norm(first) * 5**0.5)
        assert maps.heat_maps[0, 0, 0] == pytest.approx(cosine, abs=1e-5)


def test_features_of_another_depth_than_the_map_have_no_heat_map(tmp_path: Path) -> None:
    context, _, result = _encoded(tmp_path)
    flags = np.ones(COUNT, bool)
    other = FinalResult(result.probabilities, np.ones((COUNT, 3), np.float32), flags, flags)
    assert prototype_maps(context, other, prototype_images(context, result)) is None


def test_the_history_becomes_accuracies_only_here(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_heads(context, truth())
    assert head_curves(context, truth()) == {}
    rng = np.random.default_rng(0)
    said = rng.integers(0, 3, (2, 4, COUNT)).astype(np.uint8)
    said[1, 2] = truth()
    losses = rng.normal(size=(3, 4))
    past = {
        "epochs": np.arange(3), "losses": losses, "kept": np.array([0, 2]), "assignments": said,
        "chosen": np.array([2, 1]), "first_judged": np.array(1),
    }  # fmt: skip
    context.save(replace(context.load(Heads), histories={"self": past}))
    curves = head_curves(context, truth())["self"]
    np.testing.assert_array_equal(curves.losses, losses)
    assert (curves.chosen, curves.first_judged) == ((2, 1), 1)
    assert curves.accuracy is not None
    assert curves.accuracy[1, 2] == 1.0
    assert curves.best_measured == (1, 2)
    assert head_curves(context, None)["self"].accuracy is None
    assert head_curves(context, np.full(COUNT, -1))["self"].accuracy is None


def test_accuracies_leave_out_what_has_no_label() -> None:
    labels = np.array([0, 0, 1, 1, -1])
    said = np.array([[[1, 1, 0, 0, 0], [0, 1, 1, 1, 0]]], np.uint8)
    assert accuracies(said, labels).tolist() == [[1.0, 0.75]]
    rng = np.random.default_rng(1)
    many, labels = rng.integers(0, 3, (2, 2, 20)), rng.integers(0, 3, 20)
    expected = [[clustering_accuracy(labels, head) for head in heads] for heads in many]
    assert accuracies(many, labels).tolist() == expected
