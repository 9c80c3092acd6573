"""Writes the golden losses: ``python -m tests.models.make_golden``, after a meant change only."""

from __future__ import annotations

import json
from pathlib import Path

from tests.models.synthetic import TRAINED, fit

GOLDEN = Path(__file__).parent / "golden.json"
STEPS = 5


def losses(name: str) -> list[float]:
    """Loss of each of the first steps of one model."""
    make, batch = TRAINED[name]
    return fit(make(), batch, range(STEPS))["loss"]


def main() -> None:
    """Rewrites the file."""
    golden = {name: [round(loss, 6) for loss in losses(name)] for name in TRAINED}
    GOLDEN.write_text(json.dumps(golden, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
