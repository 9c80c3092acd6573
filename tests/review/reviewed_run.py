"""A finished run to review, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.run.context import Context
from spice_keras.run.store import Reliable
from tests.stages.made_run import COUNT, make_context, truth, write_heads


def finished(path: Path, confidence: float | np.ndarray = 0.95, **options: Any) -> Context:
    """A run of 36 images in three clusters, all reliable."""
    context = make_context(path, semi__enabled=False, **options)
    write_heads(context, truth(), confidence)
    context.save(Reliable(np.arange(COUNT), truth(), np.ones(COUNT, np.float32)))
    return context
