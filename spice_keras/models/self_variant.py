"""What SPICE-Self can be made to do differently; left alone, it does what the paper proposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from spice_keras.algorithm.claims import Assignment
from spice_keras.algorithm.self_losses import SelfLoss

BatchNorm = Literal["frozen", "adapt"]


@dataclass(frozen=True)
class SelfVariant:
    """A variant of SPICE-Self; the defaults are the paper's method.

    Attributes:
        loss: Of the heads: ``"double-softmax"``, or the paper's comparisons ``"softmax"`` (CE) and
            ``"temperature"`` (TCE).
        temperature: What the heads' scores are divided by, for the loss ``"temperature"``.
        assignment: Whether a sample may get the labels of several clusters.
        entropy_weight: Weight of the entropy of a batch's mean prediction, >= 0.
        train_encoder: Train the CNN along with the heads, on strong views.
        batch_norm: ``"frozen"``: the encoder keeps the statistics of its pretraining;
            ``"adapt"``: it normalises strong views by their own statistics, and the moving ones,
            which weak views and everything after are normalised by, follow.

    Raises:
        ValueError: If a value is not one of those.

    SPICE (arXiv 2103.09382) Table 4.
    """

    loss: SelfLoss = "double-softmax"
    temperature: float = 0.2
    assignment: Assignment = "overlap"
    entropy_weight: float = 0.0
    train_encoder: bool = False
    batch_norm: BatchNorm = "frozen"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        for name, known in (
            ("loss", SelfLoss),
            ("assignment", Assignment),
            ("batch_norm", BatchNorm),
        ):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"`{name}` must be one of {get_args(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if not (self.temperature > 0.0 and self.entropy_weight >= 0.0):
            raise ValueError(
                "The temperature must be positive and the weight of the entropy at least 0. "
                f"Received: temperature={self.temperature}, entropy_weight={self.entropy_weight}"
            )

    @property
    def moves_encoder(self) -> bool:
        """Whether the encoder is another one after each step: its weights or its statistics."""
        return self.train_encoder or self.batch_norm == "adapt"
