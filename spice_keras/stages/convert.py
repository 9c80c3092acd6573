"""A finished run's clusterer in other formats, each asked by a client before it is put in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spice_keras.errors import UserError
from spice_keras.files import atomic_folder, sha256, write_json
from spice_keras.run.context import Context
from spice_keras.run.results import network_clustering
from spice_keras.serving.asked_formats import Wanted, refuse_impossible
from spice_keras.serving.card import write_card
from spice_keras.serving.conversion import ask_client, convert, loads_alone
from spice_keras.serving.facts import ModelFacts
from spice_keras.serving.plain_model import plain_clusterer
from spice_keras.stages.export import build_final_clusterer, model_facts, run_items
from spice_keras.stages.model_card import model_card

FOLDER = "exports"
"""The folder of these files, in the run directory."""
FACTS_FILE = "export.json"
_COMPARED, _JUDGED, _CALIBRATED = 64, 500, 200
_ROUNDING = 1e-3
_MOST_MOVED = 0.01
_MOST_UNLIKE_RUN = 0.05


def convert_run(context: Context, wanted: Sequence[Wanted]) -> list[Path]:
    """Write files of other formats into the run directory, below exports/.

    Each is written aside, loaded by a client that is not its converter, compared with the model,
    and only then put in place.

    Args:
        context: The run, finished; Keras computes in float32.
        wanted: What is to be written.

    Returns:
        The folder of each file, in the order given.

    Raises:
        UserError: If a package is missing, a converter fails, or a file answers otherwise.
    """
    for one in wanted:
        refuse_impossible(one)
    facts = model_facts(context)
    model = plain_clusterer(build_final_clusterer(context), unsure_below=facts.unsure_below or 0.0)
    _compare_with_run(context, model)
    return [_write(context, model, facts, one) for one in wanted]


def _compare_with_run(context: Context, model: keras.Model) -> None:
    """Refuse a model that is not the run's: the run may have computed in bfloat16."""
    rows, items = run_items(context, _COMPARED)
    clusters = model.predict(items, verbose=0)["cluster"]
    moved = float(np.mean(clusters != network_clustering(context).clusters[rows]))
    if moved > _MOST_UNLIKE_RUN:
        raise RuntimeError(
            f"The rebuilt model puts {moved:.0%} of {len(rows)} items into another cluster than "
            "the run did."
        )


def _write(context: Context, model: keras.Model, facts: ModelFacts, wanted: Wanted) -> Path:
    target = context.run.path / FOLDER / wanted.folder
    try:
        with atomic_folder(target) as folder:
            convert(model, wanted, folder, run_items(context, _CALIBRATED)[1])
            told = _compared(context, model, wanted, folder / wanted.file)
            described = _described(model, wanted, folder, facts) | told
            write_json(folder / FACTS_FILE, described)
            write_card(folder, model_card(context, facts, _spoken(described)))
    except OSError as error:
        raise UserError(
            f"{target} cannot be written: {error.strerror or error}. Make room or permission in "
            "the run directory, then export again."
        ) from error
    context.screen.say(
        f"export: {target / wanted.file} (asked by a client about {told['compared']} items; "
        f"{told['same_cluster']:.1%} in the same cluster)."
    )
    return target


def _compared(context: Context, model: keras.Model, wanted: Wanted, file: Path) -> dict[str, Any]:
    """Compare what a client hears with what the model says.

    Raises:
        UserError: If a quantised file moves too many items.
        RuntimeError: If a float32 file answers otherwise.
    """
    whole = wanted.precision == "float32"
    _, items = run_items(context, _COMPARED if whole else _JUDGED)
    expected = model.predict(items, batch_size=32, verbose=0)
    alone = wanted.format != "keras" or loads_alone(model)
    said = ask_client(wanted, file, items, alone=alone)
    worst = float(np.abs(said["probabilities"] - expected["probabilities"]).max())
    # Not one less the share that stays: 1 - .99 is more than .01.
    moved = float(np.mean(said["cluster"] != expected["cluster"]))
    if whole and not worst <= _ROUNDING:
        raise RuntimeError(
            f"The {wanted.format} file differs from the model by {worst:.4f} in a probability (at "
            f"most {_ROUNDING} is rounding)."
        )
    if not whole and moved > _MOST_MOVED:
        raise UserError(
            f"In {wanted.precision} the {wanted.format} file puts {moved:.1%} of "
            f"{len(items)} items into another cluster; at most {_MOST_MOVED:.0%} may move. It was "
            "not kept: export it with --precision float16 or float32."
        )
    return {
        "compared": len(items),
        "same_cluster": 1.0 - moved,
        "largest_difference_of_a_probability": worst,
        "loads_without_spice_keras": alone,
    }


def _described(
    model: keras.Model, wanted: Wanted, folder: Path, facts: ModelFacts
) -> dict[str, Any]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    outputs = {name: [str(x.dtype), *x.shape[1:]] for name, x in sorted(model.output.items())}
    (given,) = model.inputs
    return {
        "format": wanted.format,
        "precision": wanted.precision,
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files
        },
        "input": {given.name: [str(given.dtype), *given.shape[1:]]},
        "outputs": outputs,
        "facts": facts.model_dump(exclude_none=True),
    }


def _spoken(described: dict[str, Any]) -> dict[str, Any]:
    """What the card says of a file."""
    size = sum(file["bytes"] for file in described["files"].values())
    return {
        "format": described["format"],
        "precision": described["precision"],
        "bytes": size,
        "input": " ".join(f"{name} {shape}" for name, shape in described["input"].items()),
        "items compared": described["compared"],
        "share in the same cluster as before": described["same_cluster"],
        "largest difference of a probability": described["largest_difference_of_a_probability"],
    }
