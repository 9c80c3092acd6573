"""The disk a run is written to: is there room, may it be written, and what went wrong with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spice_keras.config import Plan, RunConfig
from spice_keras.errors import UserError
from spice_keras.files import storage_problem
from spice_keras.run.directory import RunDirectory

_MIB = 2**20
_WIDEST = 1280  # features of the shipped encoders, at most
_SMALL_FILES = 16 * _MIB  # report, figures, tables


@contextmanager
def explained_storage(run: Path) -> Iterator[None]:
    """Turn what the disk refuses within a block into one sentence.

    Args:
        run: The run directory the block writes in.

    Raises:
        UserError: If the disk is full, read-only or otherwise not to be written, or the folder was
            taken away; it says what to do.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        problem = storage_problem(error)
        if isinstance(error, FileNotFoundError) and not run.is_dir():
            RunDirectory(run).must_be_there()
        if problem is None:
            raise
        raise UserError(storage_sentence(problem, _place(error, run))) from error


def storage_sentence(problem: str, place: Path) -> str:
    """Say in one sentence what the disk refused, where, and how to go on.

    Args:
        problem: From `files.storage_problem`.
        place: What was written.
    """
    free = ""
    existing = _existing(place)
    if "full" in problem and existing is not None:
        free = f" ({shutil.disk_usage(existing).free / _MIB:,.0f} MiB are free)"
    return (
        f"{place} cannot be written: {problem}{free}. Nothing half-written is left. Mend that, and "
        "go on with --resume."
    )


def _place(error: Exception, run: Path) -> Path:
    """What was written when the error came up, as far as it says so."""
    name = getattr(error, "filename", None)
    return Path(name) if isinstance(name, str) else run


def _existing(path: Path) -> Path | None:
    """The nearest folder that is there."""
    return next((place for place in (path, *path.absolute().parents) if place.is_dir()), None)


def expected_bytes(config: RunConfig, plan: Plan) -> int:
    """Estimate what a run writes: images, features and views, neighbours.

    Args:
        config: The configuration.
        plan: Its sizes.

    Returns:
        Bytes. Networks are left out; room for each is asked for when it is written.
    """
    section = config.self_labeling
    views = section.cached_views
    copies = 2 + (0 if views is None else (views.weak + views.strong) // 2)
    neighbors = plan.reliable.num_neighbors + plan.self_labeling.num_neighbors
    per_item = 4 * (neighbors + config.num_clusters + copies * _WIDEST)
    return plan.image_bytes + per_item * plan.num_images + _SMALL_FILES


def check_room(config: RunConfig, plan: Plan, run: Path) -> None:
    """Refuse a run for which the disk has too little room, before anything is decoded.

    Args:
        config: The configuration.
        plan: Its sizes.
        run: The run directory.

    Raises:
        UserError: With what is needed and what is free.
    """
    place = _existing(run)
    needed = expected_bytes(config, plan)
    free = needed if place is None else shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"This run writes about {needed / _MIB:,.0f} MiB to {run}, and {free / _MIB:,.0f} MiB "
            "are free there. Make room, or name a folder on another disk with --run-dir."
        )


def check_export_folder(config: RunConfig) -> None:
    """Refuse a place for the SavedModel that cannot be written, before anything is trained.

    Args:
        config: The configuration.

    Raises:
        UserError: With the reason.
    """
    folder = config.model_folder
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    with explained_export(config), tempfile.TemporaryFile(dir=place):
        return


@contextmanager
def explained_export(config: RunConfig) -> Iterator[None]:
    """Say of an error of the disk in the block that the SavedModel cannot be written, and where.

    Args:
        config: The configuration.

    Yields:
        Nothing.

    Raises:
        UserError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The SavedModel cannot be written to {config.model_folder}: "
            f"{error.strerror or error}. Name another place with --set export.directory=FOLDER."
        ) from error
