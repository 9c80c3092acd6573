"""True labels, a few per class, for SPICE-Semi: only if the configuration asks for them.

`semi.labels_from: source` is the semi-supervised comparison of the paper's Table 3. Its result is
not a clustering; metrics, report and screen say so. Whether labels can be had is found out at the
beginning of a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spice_keras.errors import UserError
from spice_keras.run.context import Context
from spice_keras.stages.labels import read_labels


def labels_on_request(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Draw the true labels SPICE-Semi trains on.

    Args:
        context: The run; its configuration asks for them.

    Returns:
        Rows of the images int64 [R], sorted, and their classes int32 [R]: equally many of each
        class, drawn by the run's seed. Images of unknown class are not drawn.

    Raises:
        ValueError: If the configuration does not ask for them.
        UserError: If there are none, or too few of a class.

    SPICE (arXiv 2103.09382) Table 3.
    """
    section = context.config.semi
    if section.labels_from != "source":
        raise ValueError(
            "True labels are for training only if they are asked for. "
            f"Received: semi.labels_from={section.labels_from!r}"
        )
    labels = read_labels(context)
    if labels is None:
        raise UserError(
            "semi.labels_from: source asks for true labels, and the data has none. Leave it at "
            "`reliable`, or give labels: sub-folders named after the classes (--labels "
            "from-folders), or an array `labels` beside the images of an .npz file."
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
                f"semi.labels_per_class is {count}, and the class {name} has {len(members)} images "
                "with a label. Ask for fewer."
            )
        rows.append(generator.choice(members, count, replace=False))
    drawn = np.sort(np.concatenate(rows))
    return drawn, labels.values[drawn]


def refuse_missing_labels(context: Context, commands: Sequence[str]) -> None:
    """Read the labels that will be needed and forget them: what cannot be had fails now.

    Says how many are unknown.

    Args:
        context: The run; its images are there.
        commands: The commands whose stages run.

    Raises:
        UserError: If they cannot be had.
    """
    section = context.config.semi
    if "eval" in commands:
        for part in context.reported_parts:
            labels = read_labels(part)
            if labels is not None and labels.num_unknown:
                context.screen.warn(
                    f"{labels.num_unknown} of {len(labels.values)} labels are unknown (-1 or "
                    "empty). Figures against labels leave these items out."
                )
    if "semi" in commands and section.enabled and section.labels_from == "source":
        labels_on_request(context)
