"""True labels, a few per class, for SPICE-Semi: only where the configuration asks for them.

The one place outside evaluation that reads labels. `semi.labels_from: source` is the
semi-supervised comparison of the paper's Table 3, and its result is no clustering; metrics, report
and screen say so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.stages.evaluate import read_labels


def labels_on_request(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Draw the true labels SPICE-Semi trains on.

    Args:
        context: The run; its configuration asks for them.

    Returns:
        Rows of the images int64 [R], sorted, and their classes int32 [R]: equally many of each
        class, drawn by the run's seed.

    Raises:
        ValueError: Where the configuration does not ask for them.
        UserError: Where there are none, or too few of a class.

    SPICE (arXiv 2103.09382) Table 3.
    """
    section = context.config.semi
    if section.labels_from != "source":
        raise ValueError(
            "True labels are for training only where they are asked for. "
            f"Received: semi.labels_from={section.labels_from!r}"
        )
    labels = read_labels(context)
    if labels is None:
        raise UserError(
            "semi.labels_from: source asks for true labels, and the data has none. Leave it at "
            "`reliable`, or give labels (--labels; for arrays, `labels` beside the images)."
        )
    num_classes, count = len(labels.class_names), section.labels_per_class
    if num_classes > context.config.num_clusters:
        raise UserError(
            f"semi.labels_from: source needs a cluster for each of the {num_classes} classes; "
            f"num_clusters is {context.config.num_clusters}."
        )
    generator = np.random.default_rng(context.seed("labels per class"))
    rows = []
    for number, name in enumerate(labels.class_names):
        members = np.flatnonzero(labels.values == number)
        if len(members) < count:
            raise UserError(
                f"semi.labels_per_class is {count}, and the class {name} has {len(members)} images."
            )
        rows.append(generator.choice(members, count, replace=False))
    drawn = np.sort(np.concatenate(rows))
    return drawn, labels.values[drawn]


def refuse_missing_labels(context: Context, commands: Sequence[str]) -> None:
    """Read the labels that will be needed and forget them: what cannot be had fails now.

    Args:
        context: The run; its images are there.
        commands: The commands whose stages run.

    Raises:
        UserError: Where they cannot be had.
    """
    section = context.config.semi
    if "eval" in commands:
        for part in context.reported_parts:
            read_labels(part)
    if "semi" in commands and section.enabled and section.labels_from == "source":
        labels_on_request(context)
