"""The tool that fits expected accuracy: every command, on drawn sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spice_keras.metrics.expected_accuracy import fit_mapping
from tools.fit_trust import main

_KINDS, _EACH = 4, 40


def _drawn(path: Path, dim: int, seed: int) -> str:
    """Groups of rows that are never negative, as a network's pooled features are."""
    generator = np.random.default_rng(seed)
    centers = generator.uniform(0.0, 1.0, (_KINDS, dim))
    labels = np.repeat(np.arange(_KINDS), _EACH)
    rows = centers[labels] + 0.25 * generator.normal(size=(len(labels), dim))
    np.savez(path, features=np.maximum(rows, 0.0).astype(np.float32), labels=labels)
    return str(path)


def _said(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def clusterings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four of two sets, by heads of `neighbors`."""
    folder = tmp_path_factory.mktemp("clusterings")
    sets = [_drawn(folder / f"{name}.npz", 16, seed) for seed, name in enumerate(("red", "blue"))]
    _said("cluster", folder / "found", *sets, "--count", "4")
    return folder / "found"


def test_clusterings_hold_what_the_figures_are_made_of(clusterings: Path) -> None:
    assert len(list(clusterings.iterdir())) == 4
    with np.load(clusterings / "0.npz") as found:
        heads, items = found["c"].shape
        assert found["y"].shape == (items,)
        assert found["p"].shape == (items, found["K"])
        assert 0 <= found["j"] < heads == 10
        assert len(found["nb"]) == len(found["z"]) == items
        assert str(found["name"]) == "red"
        # The probabilities are those of the chosen head.
        agree = found["p"].argmax(axis=1) == found["c"][found["j"]]
        assert agree.mean() > 0.99  # half precision may make two of a row equal


def test_a_mapping_is_fitted_and_judged(clusterings: Path, tmp_path: Path) -> None:
    said = _said("fit", clusterings, tmp_path / "mapping.json")
    facts = json.loads((tmp_path / "mapping.json").read_text(encoding="utf-8"))
    assert facts["left_out"]["sets"] == ["blue", "red"]
    assert facts["left_out"]["clusterings"] == 4
    assert facts["acc"].keys() == {*fit_mapping(np.eye(3), np.full(3, 0.5)), "residuals"}
    assert "all             4 clusterings, rank correlation" in said
    assert "0.85-0.95: said" in _said("reliability", clusterings)
    assert "all: 4 clusterings" in _said("judge", clusterings)


def test_heads_of_the_papers_objective_are_drawn_too(tmp_path: Path) -> None:
    red = _drawn(tmp_path / "red.npz", 16, 0)
    _said("cluster", tmp_path / "found", red, "--count", "1", "--objective", "prototypes")
    assert "all: 1 clusterings" in _said("judge", tmp_path / "found")


def test_guided_clusterings_are_drawn_and_fitted(tmp_path: Path) -> None:
    sets = [_drawn(tmp_path / f"{name}.npz", 1280, seed) for seed, name in enumerate(("a", "b"))]
    _said("cluster", tmp_path / "found", *sets, "--count", "4", "--guided")
    _said("fit-guided", tmp_path / "found", tmp_path / "mapping.json")
    facts = json.loads((tmp_path / "mapping.json").read_text(encoding="utf-8"))
    assert facts["left_out"]["clusterings"] == 4
