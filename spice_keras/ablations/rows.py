"""The rows of the paper's ablation tables, as options laid over a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spice_keras.config import RunConfig
from spice_keras.errors import UserError

Figures = tuple[float, float, float]
_ENTROPY_WEIGHT = 1.0

# Every row ablates the paper's method: its objective, and neither refinement nor Semi after it.
_METHOD: Mapping[str, Any] = {
    "self.objective": "prototypes",
    "self.refine_epochs": 0,
    "semi.enabled": False,
}
_TRAINED_CNN: Mapping[str, Any] = {
    "self.train_encoder": True,
    "self.batch_norm": "adapt",
    "self.cached_views": None,
}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: What `--rows` calls it.
        table: The table it belongs to.
        title: What the tables call it.
        overrides: Options that differ from the configuration's, by dotted path.
        scored: Which of the run's clusterings its figures are of.
        after_self: Whether it goes on from the heads of the row `self`.
        paper: ACC, NMI and ARI of the paper on STL-10, five trials; None if it has none.
    """

    name: str
    table: str
    title: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    scored: Literal["self", "semi", "kmeans"] = "self"
    after_self: bool = False
    paper: Figures | None = None

    @property
    def options(self) -> dict[str, Any]:
        """All options laid over the configuration, those that every row shares included."""
        semi = {"semi.enabled": True} if self.scored == "semi" else {}
        return {**_METHOD, **semi, **self.overrides}


def _table_4(config: RunConfig) -> Iterator[Row]:
    table = "Table 4"
    weight = config.self_labeling.entropy_weight or _ENTROPY_WEIGHT
    yield Row("kmeans", table, "k-means on embeddings", {}, "kmeans", True, (0.797, 0.768, 0.624))
    for name, title, overrides, paper in (
        ("ce", "CE", {"self.loss": "softmax"}, (0.875, 0.784, 0.764)),
        ("tce", "TCE", {"self.loss": "temperature"}, (0.895, 0.794, 0.787)),
        ("non-overlap", "Non-overlap", {"self.assignment": "exclusive"}, (0.885, 0.788, 0.771)),
        ("conv-sh", "Conv-SH", {**_TRAINED_CNN, "self.num_heads": 1}, (0.622, 0.513, 0.437)),
        ("conv-mh", "Conv-MH", _TRAINED_CNN, (0.687, 0.577, 0.512)),
        ("entropy", "+ Entropy", {"self.entropy_weight": weight}, (0.907, 0.817, 0.810)),
        ("self", "SPICE-Self", {}, (0.908, 0.817, 0.812)),
    ):
        yield Row(name, table, title, overrides, paper=paper)


def _augmentations(config: RunConfig) -> Iterator[Row]:
    """The views of the label branch, then those of the training branch."""
    section = config.self_labeling
    views = {"weak": section.weak.model_dump(), "strong": section.strong.model_dump()}
    for label, train, paper in (
        ("weak", "weak", (0.905, 0.815, 0.808)),
        ("strong", "weak", (0.883, 0.799, 0.781)),
        ("strong", "strong", (0.902, 0.812, 0.803)),
    ):
        changed = {"self.weak": views[label], "self.strong": views[train]}
        title = f"{label} labels, {train} training"
        yield Row(f"{label}-{train}", "Augmentations", title, changed, paper=paper)


def _semi(config: RunConfig) -> Iterator[Row]:
    """SPICE-Semi after the heads of the row `self`."""
    pretrained = {"semi.init": "pretrained", "semi.backbone": None}
    unselected = {"reliable.consistency_threshold": 0.0, "reliable.confidence_threshold": 0.0}
    labels = {"semi.labels_from": "source"}
    count = config.semi.labels_per_class
    for name, table, title, overrides, paper in (
        ("semi-scratch", "Table 4", "SPICE", {"semi.init": "scratch"}, (0.937, 0.871, 0.870)),
        ("semi-pretrained", "SPICE-Semi", "SPICE, pretrained CNN", pretrained, None),
        ("semi-all", "SPICE-Semi", "SPICE, all labels of Self", unselected, None),
        ("semi-labels", "Table 3", f"FixMatch, {count} true labels a class", labels, None),
    ):
        yield Row(name, table, title, overrides, "semi", True, paper)


def ablation_rows(config: RunConfig) -> dict[str, Row]:
    """Return the rows a configuration can have, by name.

    Args:
        config: The configuration. Its own options hold wherever a row does not ablate them.

    Returns:
        The rows in the order of the tables; without those that need images on embeddings.

    SPICE (arXiv 2103.09382) Tables 3 and 4, and the table of augmentations.
    """
    on_embeddings = [row for row in _table_4(config) if not row.name.startswith("conv")]
    rows = on_embeddings
    if config.data.source != "embeddings":
        adapt = {"self.batch_norm": "adapt", "self.cached_views": None}
        moving = Row("adapt", "Released code", "SPICE-Self, moving BatchNorm", adapt)
        rows = [*_table_4(config), *_augmentations(config), moving, *_semi(config)]
    return {row.name: row for row in rows}


def chosen_rows(config: RunConfig, names: str | None) -> list[Row]:
    """Return the rows that were asked for.

    Args:
        config: The configuration.
        names: Names with commas between them; None for all.

    Returns:
        The rows, in the order of the tables.

    Raises:
        UserError: For a name that is no row, or if the data has no labels to judge by.
    """
    rows = ablation_rows(config)
    asked = list(rows) if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in asked if name not in rows]
    if unknown or not asked:
        raise UserError(
            f"There is no row {', '.join(map(repr, unknown))} for this data. "
            f"Rows: {', '.join(rows)}."
        )
    if config.data.gives_no_labels:
        raise UserError(
            "Ablations are judged by labels, and this data is read without any. Add --labels "
            "from-folders for a folder of classes, or --labels source."
        )
    return [row for name, row in rows.items() if name in asked]
