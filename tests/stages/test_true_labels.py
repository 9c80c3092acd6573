"""True labels for SPICE-Semi: equally many of each class, by the seed, and only on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.data.labels import Labels
from spice_keras.errors import UserError
from spice_keras.stages import true_labels
from spice_keras.stages.semi import labeled_rows
from spice_keras.stages.true_labels import labels_on_request, refuse_missing_labels
from tests.stages.made_run import PER_CLUSTER, make_context, said, truth

_ASKED = {"data__labels": "from-folders", "semi__labels_from": "source"}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The truth of the made run, of which two images have no known class."""
    values = truth()
    values[:2] = -1
    labels = Labels(values, ("disc", "square", "cross"))
    monkeypatch.setattr(true_labels, "read_labels", lambda context: labels)


@pytest.mark.usefixtures("known")
def test_equally_many_of_each_class_and_all_of_them_true(tmp_path: Path) -> None:
    context = make_context(tmp_path, semi__labels_per_class=4, **_ASKED)
    rows, labels = labels_on_request(context)
    assert rows.tolist() == sorted(set(rows.tolist()))
    np.testing.assert_array_equal(np.bincount(labels), [4, 4, 4])
    np.testing.assert_array_equal(labels, truth()[rows])
    assert labels.dtype == np.int32
    assert rows.min() >= 2, "an image of unknown class is none of any"


@pytest.mark.usefixtures("known")
def test_the_seed_draws_them(tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> list[int]:
        options: dict[str, Any] = {"seed": seed, "semi__labels_per_class": 4, **_ASKED}
        rows: list[int] = labels_on_request(make_context(tmp_path / name, **options))[0].tolist()
        return rows

    assert drawn("a", 1) == drawn("b", 1) != drawn("c", 2)


@pytest.mark.usefixtures("known")
def test_semi_says_what_it_trains_on(tmp_path: Path) -> None:
    context = make_context(tmp_path, semi__labels_per_class=2, **_ASKED)
    rows, labels = labeled_rows(context)
    assert len(rows) == len(labels) == 6
    assert "Note: SPICE-Semi trains on 6 true labels, as semi.labels_from asks" in said(context)


def test_without_a_request_they_are_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_labels(context: object) -> None:
        raise AssertionError("labels were read")

    monkeypatch.setattr(true_labels, "read_labels", read_labels)
    context = make_context(tmp_path)
    with pytest.raises(ValueError, match=r"Received: semi\.labels_from='reliable'"):
        labels_on_request(context)
    refuse_missing_labels(context, ("pretrain", "self", "semi"))
    with pytest.raises(AssertionError, match="labels were read"):
        refuse_missing_labels(context, ("eval",))


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"semi__labels_per_class": PER_CLUSTER + 1}, "disc has 11 images with a label"),
        ({"num_clusters": 2}, "a cluster for each of the 3 classes; num_clusters is 2"),
    ],
)
def test_too_few_images_or_clusters_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    context = make_context(tmp_path, **_ASKED, **options)
    with pytest.raises(UserError, match=message):
        refuse_missing_labels(context, ("semi",))


def test_data_without_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(true_labels, "read_labels", lambda context: None)
    with pytest.raises(UserError, match="the data has none"):
        refuse_missing_labels(make_context(tmp_path, **_ASKED), ("semi",))


@pytest.mark.usefixtures("known")
def test_how_many_are_unknown_is_said_at_the_beginning(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    refuse_missing_labels(context, ("eval",))
    expected = f"Note: 2 of {len(truth())} labels are unknown (-1 or empty). Figures against labels"
    assert expected in said(context)
