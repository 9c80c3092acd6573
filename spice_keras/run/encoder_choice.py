"""The encoder that images are embedded with: one that a run trained, or a pretrained one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from spice_keras.backbones.folding import fold_batch_normalization
from spice_keras.config import load_config
from spice_keras.errors import UserError
from spice_keras.options import LITE0, trained_side
from spice_keras.run.configuration import read_run_config
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory, must_hold_run
from spice_keras.run.networks import build_initial_encoder, pretrained_encoder


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder: one that a run trained, or a pretrained one by name.

    Attributes:
        run_dir: The run; None for a pretrained encoder.
        backbone: Name of that; None for the default.
        size: Side of its images; None for that of the configuration.
    """

    run_dir: Path | None = None
    backbone: str | None = None
    size: int | None = None

    def build(self) -> tuple[keras.Model, dict[str, Any]]:
        """Build the encoder.

        Returns:
            The encoder, its batch normalisation folded, and what tells it from others: backbone,
            image size, fit, checksum of the weights.

        Raises:
            UserError: If there is no such encoder, or it has no weights.
        """
        if self.run_dir is not None:
            must_hold_run(self.run_dir)
            config = read_run_config(self.run_dir)
            encoder = pretrained_encoder(Context(config, RunDirectory(self.run_dir)))
        else:
            overrides: dict[str, Any] = {"data.source": "folder", "data.path": "."}
            if self.backbone is not None:
                overrides["backbone.name"] = self.backbone
            side = self.size or trained_side(self.backbone or LITE0)
            if side is not None:
                overrides["data.image_size"] = side
            config = load_config("pretrained", overrides=overrides)
            if config.trains_encoder:
                raise UserError(
                    f"--backbone {config.backbone.name} comes without weights. Train it with "
                    "`spice pretrain`, then give --run-dir."
                )
            encoder = build_initial_encoder(
                config.backbone, image_size=config.data.image_size, seed=config.seed
            )
        digest = hashlib.sha256()
        for weight in encoder.get_weights():
            digest.update(weight.tobytes())
        return fold_batch_normalization(encoder), {
            "backbone": config.backbone.name,
            "image_size": config.data.image_size,
            "fit": config.data.fit,
            "weights": digest.hexdigest(),
        }
