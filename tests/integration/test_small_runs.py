"""Few items, equal items, and drawn configurations by the command: a result, or one sentence.

`tests/test_small_numbers.py` asks the same of `SpiceClusterer`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from click.testing import Result
from hypothesis import assume, given, seed, settings

from tests.integration.conftest import unverified
from tests.integration.tiny import invoke, metrics

pytestmark = [
    pytest.mark.integration,
    # scikit-learn says so of rows that are equal.
    pytest.mark.filterwarnings("ignore:Number of distinct clusters"),
]
_QUICK = {"evaluate.map_method": "pca", "evaluate.kmeans_restarts": 1, "self.num_heads": 2}


def _self(folder: Path, rows: np.ndarray, clusters: int, *options: str, **more: Any) -> Result:
    np.save(folder / "rows.npy", rows)
    chosen = {**_QUICK, "self.neighbors.epochs": 1, "export.directory": str(folder / "m"), **more}
    return invoke(
        "self", "--embeddings", folder / "rows.npy", "--clusters", str(clusters),
        "--run-dir", folder / "run", *options,
        *(f"--set={name}={value}" for name, value in chosen.items()),
    )  # fmt: skip


_CONFIGURATIONS = st.fixed_dictionaries(
    {
        "self.objective": st.sampled_from(["neighbors", "prototypes"]),
        "self.sizes": st.sampled_from(["even", "uneven", "auto"]),
        "self.num_heads": st.integers(1, 3),
        "self.neighbors.num_neighbors": st.integers(1, 40),
        "self.neighbors.hidden_dim": st.sampled_from(["null", 4]),
        "reliable.num_neighbors": st.integers(2, 60),
        "reliable.min_per_cluster": st.integers(0, 9),
        "reliable.balance": st.sampled_from(["none", "min"]),
        "reliable.confidence_threshold": st.sampled_from([0.0, 0.99]),
        "evaluate.prototypes_per_cluster": st.integers(1, 9),
        "seed": st.integers(0, 99),
    }
)


@pytest.mark.timeout(300)
def test_drawn_configurations_that_validate_run_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    unverified(monkeypatch)
    ended = []

    @seed(14)
    @settings(max_examples=4, deadline=None, database=None)
    @given(
        count=st.integers(3, 40), dim=st.integers(1, 5), k=st.integers(2, 9), chosen=_CONFIGURATIONS
    )
    def run(count: int, dim: int, k: int, chosen: dict[str, Any]) -> None:
        rows = np.random.default_rng(count).normal(size=(count, dim)).astype(np.float32)
        with tempfile.TemporaryDirectory() as name:
            dry = _self(Path(name), rows, min(k, count), "--dry-run", **chosen)
            assert dry.exit_code in (0, 2), dry.output
            assume(dry.exit_code == 0)
            done = _self(Path(name), rows, min(k, count), **chosen)
            assert done.exit_code == 0, (done.output, chosen, count, dim, k)
            assert metrics(Path(name, "run"))["num_images"] == count
            ended.append(count)

    run()
    assert len(ended) >= 2, "too many of the drawn configurations were refused"


def test_as_many_clusters_as_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unverified(monkeypatch)
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    done = _self(tmp_path, rows, 6)
    assert done.exit_code == 0, done.output
    assert metrics(tmp_path / "run")["reliable"]["count"] == 0
    assert "too few to tell" in done.stderr or "collapsed" in done.stderr


def test_equal_rows_are_refused(tmp_path: Path) -> None:
    told = _self(tmp_path, np.ones((12, 4), np.float32), 3)
    assert told.exit_code == 2
    assert "All 12 items have the same features, so there is nothing to group" in told.stderr


@pytest.mark.parametrize("rows", [np.ones((1, 4)), np.zeros((12, 4)), np.full((12, 4), np.nan)])
def test_rows_without_company_or_direction_are_refused(tmp_path: Path, rows: np.ndarray) -> None:
    told = _self(tmp_path, rows.astype(np.float32), 2)
    assert told.exit_code == 2
    assert "Error: " in told.stderr
    assert not list((tmp_path / "run" / "artifacts").glob("*"))


def test_one_image_is_refused(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", images=image)
    told = invoke(
        "run", "--images", tmp_path / "x.npz", "--clusters", "3", "--backbone", "small_resnet",
        "--run-dir", tmp_path / "run",
    )  # fmt: skip
    assert told.exit_code == 2, told.output
    assert "Error: " in told.stderr
    assert not (tmp_path / "run").exists()
