"""`semi.labels_from: edits`: SPICE-Semi trains on the reliable labels that a person corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.pipeline import run_stages
from spice_keras.review.corrections import corrections_of
from spice_keras.review.edits import (
    Change,
    Check,
    Exclude,
    Merge,
    Move,
    NewCluster,
    Rename,
)
from spice_keras.review.log import EditLog
from spice_keras.review.state import ReviewState
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.store import Reliable
from spice_keras.stages import labels as labels_module
from spice_keras.stages import semi as semi_module
from tests.review.reviewed_run import finished
from tests.stages.made_run import COUNT, said, truth, write_classifier


def decide(context: Context, *edits: Change, clusters: np.ndarray | None = None) -> None:
    """Write edits that were made on some clusters, the heads' if none are given."""
    start = ReviewState(context.ids, truth() if clusters is None else clusters, 3)
    log = EditLog(context.run.path / "edits.jsonl", start)
    for edit in edits:
        log.append(edit)


def photos(*rows: int) -> tuple[str, ...]:
    return tuple(f"photos/{row:02d}.png" for row in rows)


class _Seen(Exception):
    pass


def trained_on(context: Context, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[int, int]:
    """The labels that `spice semi` trains on, by row; no label of the data may be read."""
    found: dict[int, int] = {}

    def noting(images: np.ndarray, *, labeled_indices: Any, labels: Any, **rest: Any) -> None:
        found.update(zip(labeled_indices.tolist(), labels.tolist(), strict=True))
        raise _Seen

    def refuse(context: Context) -> None:
        raise AssertionError("labels were read")

    monkeypatch.setattr(semi_module, "semi_batches", noting)
    monkeypatch.setattr(labels_module, "read_labels", refuse)
    overrides = {"semi.enabled": True, **options}
    config = load_config(base=context.config.as_dict(), overrides=overrides)
    with pytest.raises(_Seen):
        run_stages(config, context.run.path, commands=["semi"])
    return found


def test_what_semi_trains_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = finished(tmp_path)
    reliable = np.flatnonzero(truth() < 2)  # none of the third cluster
    thresholds = {"counts": [12, 12, 0]}
    labels = truth()[reliable]
    context.save(Reliable(reliable, labels, np.ones(COUNT, np.float32), thresholds))
    decide(
        context,
        Move(items=photos(0), group="c1"),
        Check(items=photos(2)),
        Exclude(items=photos(3)),
        Rename(group="c1", name="cats"),
    )
    plain = trained_on(context, monkeypatch)
    assert plain == dict(zip(reliable.tolist(), labels.tolist(), strict=True))
    corrected = trained_on(context, monkeypatch, **{"semi.labels_from": "edits"})
    assert corrected == {row: label for row, label in plain.items() if row != 3} | {0: 1, 2: 2}
    decide(context, Merge(groups=("c0", "c2"), into="c2"))
    merged = trained_on(context, monkeypatch, **{"semi.labels_from": "edits"})
    assert merged == {row: (1, 2)[label == 0 or label == 2] for row, label in corrected.items()}


def test_checks_made_on_another_result(tmp_path: Path) -> None:
    context = finished(tmp_path)
    other = (truth() + 1) % 3  # the same groups under other numbers, but for two images
    other[[0, 1]] = other[[1, 0]]
    decide(
        context, Check(items=photos(0, 1, 2, 3)), Move(items=photos(5), group="c2"), clusters=other
    )
    labels = corrections_of(context).labels
    assert {row: int(labels[row]) for row in np.flatnonzero(labels >= 0)} == {2: 2, 3: 0, 5: 1}
    assert "2 of its images are in another cluster now" in said(context)


def test_what_cannot_be_learned(tmp_path: Path) -> None:
    context = finished(tmp_path)
    options = {"semi.enabled": True, "semi.labels_from": "edits"}
    config = load_config(base=context.config.as_dict(), overrides=options)

    write_classifier(context, truth())

    def run() -> RunDirectory:
        return run_stages(config, context.run.path, commands=["semi"], redo=True)

    with pytest.raises(UserError, match=r"edits\.jsonl, and there is none.*spice review"):
        run()
    assert context.run.has("classifier")  # nothing was forgotten before it was refused
    decide(context, NewCluster(items=photos(0, 3), group="n1", name="new"))
    with pytest.raises(UserError, match=r"make 1 clusters .*spice apply"):
        run()
    assert context.run.has("classifier")  # nothing was forgotten before it was refused
    decide(context, Merge(groups=("n1", "c0", "c1", "c2"), into="c0"))
    with pytest.raises(UserError, match="labels of 1 cluster"):
        run()
