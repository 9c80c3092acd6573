"""What an objective trains heads with, where nobody says otherwise."""

from __future__ import annotations

from typing import Literal, NamedTuple

Objective = Literal["neighbors", "prototypes"]

# Heads need a number of steps rather than of passes: large sets take fewer epochs.
_FULL_EPOCHS_ROWS, _FEWEST_EPOCHS = 15_000, 10
_PAIRS, _PAIRS_PER_CLUSTER = 256, 10


class Recipe(NamedTuple):
    """The numbers of a fit.

    Attributes:
        epochs: Passes over the rows.
        batch_size: Rows of a step.
        learning_rate: Of Adam.
    """

    epochs: int
    batch_size: int
    learning_rate: float


_RECIPES: dict[Objective, Recipe] = {
    "neighbors": Recipe(epochs=60, batch_size=_PAIRS, learning_rate=1e-3),
    "prototypes": Recipe(epochs=6, batch_size=128, learning_rate=5e-4),
}


def pairs_per_step(num_clusters: int) -> int:
    """Choose the pairs of a step of neighbour consistency.

    The entropy of a batch's mean prediction says little of clusters that the batch holds a pair or
    two of, and one of them swallows others.

    Args:
        num_clusters: K.

    Returns:
        256, or ten for each cluster where that is more.
    """
    return max(_PAIRS, _PAIRS_PER_CLUSTER * num_clusters)


def recipe(objective: Objective, num_rows: int, num_clusters: int) -> Recipe:
    """Choose the numbers for heads on unit features.

    Args:
        objective: "neighbors" or "prototypes".
        num_rows: N.
        num_clusters: K.

    Returns:
        The objective's numbers; for "neighbors" the epochs come down with N, to 10, where N is
        above 15,000, and the batch is that of ``pairs_per_step``.
    """
    chosen = _RECIPES[objective]
    if objective == "prototypes":
        return chosen
    fewer = max(_FEWEST_EPOCHS, round(chosen.epochs * _FULL_EPOCHS_ROWS / num_rows))
    return chosen._replace(
        epochs=min(chosen.epochs, fewer), batch_size=pairs_per_step(num_clusters)
    )
