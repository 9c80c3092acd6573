"""What the figures of the choice of a head show, in words."""

from __future__ import annotations

import numpy as np

from spice_keras.report.caption import Caption
from spice_keras.report.content import ReportData
from spice_keras.report.figure_data import HeadCurves
from spice_keras.report.formatting import decimal, quantity

TITLES = {
    "self": "Choice of a head, self-labelling",
    "refine": "Choice of a head, refinement",
}
FLOOR = "The double softmax keeps the loss above the dashed line however good a head is."


def selection_caption(phase: str, data: ReportData) -> Caption:
    """Describes the figure "selection_<phase>".

    Args:
        phase: "self" or "refine".
        data: the run; it has the heads of this phase.

    Returns:
        Title, caption and alternative text.
    """
    title = TITLES.get(phase, phase)
    curves = data.heads.get(phase)
    if curves is None:
        return Caption(title, "", title)
    num_epochs, num_heads = curves.losses.shape
    text = (
        "Grey lines: the heads. Blue squares: the head of lowest loss after each epoch; blue ring: "
        "the one that was chosen by it, without labels."
    )
    if phase == "self" and data.objective == "prototypes":
        text += f" {FLOOR}"
    alternative = (
        f"Loss of {quantity(num_heads, 'head')} over {quantity(num_epochs, 'epoch')}. The lowest "
        f"is {decimal(np.nanmin(curves.losses), 4)}."
    )
    if curves.accuracy is not None:
        text += (
            " Stars and the orange ring: the highest accuracy, which only labels can tell. The "
            "nearer the blue marks are to them, the better the loss chooses."
        )
        alternative += f" {_accuracies(curves)}"
    return Caption(title, text, alternative)


def loss_accuracy_caption(data: ReportData) -> Caption:
    """Describes the figure "loss_accuracy".

    Args:
        data: the run.

    Returns:
        Title, caption and alternative text.
    """
    text = (
        "Each point is a head after an epoch; the choice was made among the blue ones. Choosing by "
        "loss is good where low losses are high accuracies: points that fall from the upper left "
        "to the lower right, and a rank correlation near -1."
    )
    found = [_accuracies(curves) for curves in data.heads.values() if curves.accuracy is not None]
    alternative = " ".join(["Scatter plot of the loss of each head against its accuracy.", *found])
    return Caption("Does a low loss mean a high accuracy?", text, alternative)


def _accuracies(curves: HeadCurves) -> str:
    """States the accuracy of the chosen head and the highest one."""
    if curves.accuracy is None or curves.best_measured is None:
        return ""
    highest = f"The highest accuracy is {decimal(curves.accuracy[curves.best_measured])}."
    row = curves.chosen_row
    if row is None or curves.chosen is None:
        return highest
    chosen = decimal(curves.accuracy[row, curves.chosen[1]])
    return f"The chosen head has an accuracy of {chosen}. {highest}"
