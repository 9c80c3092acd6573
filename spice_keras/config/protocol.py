"""The protocol: which of a run's images each stage sees, and which are reported.

The one place that knows. A run's images lie as test, train and extra ones, in this order, so
that whatever a stage sees is one stretch of rows, and clustering, pretraining and SPICE-Semi's
unlabelled images begin at the same row.
"""

from __future__ import annotations

from dataclasses import dataclass

from spice_keras.config.schema import DataConfig
from spice_keras.options import SOURCES, Protocol, Role

ROLES: tuple[Role, ...] = ("test", "train", "extra")
"""The parts of a data set, in the order of the rows."""


@dataclass(frozen=True)
class PartCounts:
    """How many images each part has."""

    train: int
    test: int = 0
    extra: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.test + self.train + self.extra


@dataclass(frozen=True)
class StageRows:
    """The rows each stage sees.

    Attributes:
        pretrained: What MoCo trains on.
        clustered: What is embedded, clustered and searched for reliable labels.
        unlabeled: The unlabelled images of SPICE-Semi, the clustered ones first.
        reported: What the figures, the report and the assignments speak of first.
    """

    pretrained: slice
    clustered: slice
    unlabeled: slice
    reported: slice


def stage_rows(counts: PartCounts, protocol: Protocol, *, extra_in_semi: bool) -> StageRows:
    """Apply the protocol.

    Args:
        counts: Images of each part.
        protocol: `whole`: train and test images are one set. `split`: no stage that trains or
            chooses sees a test image, and the test images are reported.
        extra_in_semi: Whether SPICE-Semi's unlabelled images include the extra ones.

    Returns:
        The rows of each stage.

    SPICE (arXiv 2103.09382) Sec. 4, the rows with and without an asterisk of Table 2.
    """
    first = counts.test if protocol == "split" else 0
    clustered = slice(first, counts.test + counts.train)
    everything = slice(first, counts.total)
    return StageRows(
        pretrained=everything,
        clustered=clustered,
        unlabeled=everything if extra_in_semi else clustered,
        reported=slice(0, counts.test) if protocol == "split" else clustered,
    )


def roles_of(data: DataConfig) -> tuple[Role, ...]:
    """Return the parts a configuration names, in the order of the rows."""
    there = {"train": True, "test": data.has_test, "extra": data.has_extra}
    return tuple(role for role in ROLES if there[role])


def part_config(data: DataConfig, role: Role) -> DataConfig:
    """Return the configuration of one part as a source of its own."""
    one_path = SOURCES[data.source].parts_by == "split"
    if role == "test":
        path = data.path if one_path else data.test_path
        own = {"path": path, "split": data.test_split or data.split}
    elif role == "extra":
        path = data.path if one_path else data.extra_path
        # Unlabelled images belong to no class, so to no class's folder either.
        own = {"path": path, "split": data.extra_split or data.split, "classes": None}
    else:
        own = {}
    return data.model_copy(update=own)


def part_prefix(data: DataConfig, role: Role) -> str:
    """Return what the names of a part's images begin with, so that no two parts share one.

    Names that hold their split already stay as they are, and so do those of a run of one part.
    """
    several = len(roles_of(data)) > 1 and SOURCES[data.source].parts_by != "split"
    return f"{role}/" if several else ""
