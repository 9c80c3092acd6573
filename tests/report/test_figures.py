from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.report.data import ReportData
from spice_keras.report.figures import save_figures
from tests.report.run_data import embedding_run, label_free, report_data


def test_every_figure_of_a_full_run_is_saved_as_an_image(tmp_path: Path) -> None:
    saved = save_figures(report_data(), tmp_path / "new" / "figures")
    assert {figure.name for figure in saved} == {
        "cluster_sizes",
        "reliable_share",
        "prototypes",
        "embedding_map",
        "reliable_map",
        "trust_map",
        "confusion",
        "training_pretrain",
        "training_self",
        "training_semi",
        "selection_self",
        "loss_accuracy",
    }
    for figure in saved:
        with Image.open(figure.path) as picture:
            assert picture.format == "PNG"
            assert (picture.mode == "P") == figure.name.endswith("_map")  # a third of the bytes
            assert min(picture.size) > 200
    raster = {"prototypes", "embedding_map", "reliable_map", "trust_map"}
    drawings = [figure.path for figure in saved if figure.name not in raster]
    assert {path.name for path in (tmp_path / "new" / "figures").iterdir()} == {
        *(figure.path.name for figure in saved),
        *(path.with_suffix(".svg").name for path in drawings),
    }
    for path in drawings:
        assert "<svg" in path.with_suffix(".svg").read_text("utf-8")[:2000]


def names_of(data: ReportData, folder: Path) -> set[str]:
    return {figure.name for figure in save_figures(data, folder)}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    data = report_data()
    for folder in ("a", "b"):
        save_figures(data, tmp_path / folder)
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_only_figures_with_numbers_are_drawn(tmp_path: Path) -> None:
    data = report_data(
        labels=None,
        points=np.zeros((0, 2), np.float32),
        indices=np.zeros(0, np.int64),
        heads={},
        prototype_maps=None,
        history={"semi": [], "pretrain": [{"loss": float("nan")}], "self": [{"loss": 1.0}]},
    )
    assert names_of(data, tmp_path) == {"cluster_sizes", "reliable_share", "training_self"}


def test_without_labels_the_choice_is_drawn_and_no_accuracy(tmp_path: Path) -> None:
    names = names_of(label_free(), tmp_path)
    assert "selection_self" in names
    assert not {"loss_accuracy", "confusion"} & names


def test_without_images_there_are_no_heat_maps(tmp_path: Path) -> None:
    assert "prototypes" not in names_of(embedding_run(), tmp_path)


def test_class_names_are_names_not_formulas(tmp_path: Path) -> None:
    names = ["$\\frac{", "\u732b", "caf\udce9"]
    assert "confusion" in names_of(report_data(names=names, history={}), tmp_path)


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="figures cannot be written"):
        save_figures(report_data(), tmp_path / "file")
