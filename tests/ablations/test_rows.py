"""The rows of the ablation tables, as options."""

from __future__ import annotations

import pytest

from spice_keras.ablations.rows import ablation_rows, chosen_rows
from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError

# spice.md's Table 4 and augmentation table, ACC on STL-10.
_PAPER = {
    "kmeans": 0.797, "ce": 0.875, "tce": 0.895, "non-overlap": 0.885, "conv-sh": 0.622,
    "conv-mh": 0.687, "entropy": 0.907, "self": 0.908, "semi-scratch": 0.937,
    "weak-weak": 0.905, "strong-weak": 0.883, "strong-strong": 0.902,
}  # fmt: skip


def _config(row: str, **options: object) -> RunConfig:
    overrides = {name.replace("__", "."): value for name, value in options.items()}
    base = load_config(overrides=overrides)
    return load_config(base=base.as_dict(), overrides=ablation_rows(base)[row].options)


def test_every_row_of_the_paper_is_there_with_its_figure() -> None:
    rows = ablation_rows(load_config())
    assert {name: row.paper[0] for name, row in rows.items() if row.paper} == _PAPER


@pytest.mark.parametrize("name", sorted(ablation_rows(load_config("digits"))))
@pytest.mark.parametrize("shipped", ["digits", "cifar10"])
def test_every_row_is_a_valid_configuration(shipped: str, name: str) -> None:
    config = load_config(shipped)
    row = ablation_rows(config)[name]
    made = load_config(base=config.as_dict(), overrides=row.options)
    assert made.self_labeling.objective == "prototypes"
    assert made.self_labeling.refine_epochs == 0, "not in the paper"
    assert made.semi.enabled == (row.scored == "semi")


def test_each_row_changes_the_one_thing_it_is_about() -> None:
    assert _config("ce").self_labeling.loss == "softmax"
    assert _config("tce").self_labeling.loss == "temperature"
    assert _config("tce").self_labeling.temperature == 0.2
    assert _config("non-overlap").self_labeling.assignment == "exclusive"
    assert _config("entropy").self_labeling.entropy_weight == 1.0
    assert _config("entropy", self__entropy_weight=3.0).self_labeling.entropy_weight == 3.0
    assert _config("conv-sh").self_labeling.num_heads == 1
    assert _config("conv-mh").self_labeling.num_heads == 10
    for row in ("conv-sh", "conv-mh"):
        assert _config(row).self_labeling.train_encoder
    for row in ("conv-sh", "conv-mh", "adapt"):
        assert _config(row).self_labeling.batch_norm == "adapt"
        cached = _config(row, self__cached_views={"weak": 2, "strong": 2})
        assert cached.self_labeling.cached_views is None
    assert not _config("adapt").self_labeling.train_encoder
    assert _config("semi-scratch", semi__init="pretrained").semi.init == "scratch"
    assert _config("semi-pretrained", semi__backbone={"width": 8}).semi.backbone is None
    assert _config("semi-all").reliable.consistency_threshold == 0.0
    assert _config("semi-labels").semi.labels_from == "source"


@pytest.mark.parametrize(
    ("row", "label", "train"),
    [
        ("self", "weak", "spice"),
        ("weak-weak", "weak", "weak"),
        ("strong-weak", "spice", "weak"),
        ("strong-strong", "spice", "spice"),
    ],
)
def test_views_of_the_label_branch_and_of_the_training_branch(
    row: str, label: str, train: str
) -> None:
    section = _config(row).self_labeling
    assert (section.weak.policy, section.strong.policy) == (label, train)


def test_views_of_one_policy_are_exchanged_with_all_their_options() -> None:
    config = load_config("digits")
    row = ablation_rows(config)["strong-weak"]
    swapped = load_config(base=config.as_dict(), overrides=row.options).self_labeling
    assert swapped.weak == config.self_labeling.strong
    assert swapped.strong == config.self_labeling.weak


def test_rows_are_chosen_by_name_in_the_order_of_the_tables() -> None:
    chosen = chosen_rows(load_config(), "self, ce,kmeans")
    assert [row.name for row in chosen] == ["kmeans", "ce", "self"]
    assert len(chosen_rows(load_config(), None)) == len(ablation_rows(load_config()))


@pytest.mark.parametrize("names", ["", "sefl", "self,"])
def test_what_is_no_row_is_refused(names: str) -> None:
    with pytest.raises(UserError, match="There is no row"):
        chosen_rows(load_config(), names)


@pytest.mark.parametrize(
    "data", [{"data.labels": "none"}, {"data.source": "folder", "data.path": "photos"}]
)
def test_data_without_labels_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(UserError, match="judged by labels"):
        chosen_rows(load_config(overrides=data), None)
