"""`spice organize`: the images of a run, with its edits, in a folder for each cluster."""

from __future__ import annotations

import re
from pathlib import Path

from spice_keras.config import RunConfig
from spice_keras.config.protocol import part_prefix
from spice_keras.errors import UserError
from spice_keras.organize import Layout, OrganizePlan, make_folders, plan_folders, refuse_target
from spice_keras.review.effective import effective
from spice_keras.review.log import EDITS, EditLog
from spice_keras.review.session import start_state
from spice_keras.run.context import Context
from spice_keras.run.sources import source_options

_ESCAPE = re.compile(r"\\(?:\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def organize_run(context: Context, target: Path, layout: Layout, *, dry_run: bool) -> OrganizePlan:
    """Make a folder for each cluster, with links to the images or copies of them.

    Args:
        context: A finished run over a folder of images.
        target: The folder to make.
        layout: How the folders are laid out.
        dry_run: Plan and check alone; make nothing.

    Returns:
        What was made, or would be.

    Raises:
        UserError: If the run is of something else than files, a file is gone, or the folder does
            not allow it.
    """
    images = image_files(context)
    state = EditLog(context.run.path / EDITS, start_state(context)).state
    found = effective(state)
    plan = plan_folders(images, found.clusters, found.names, layout)
    missing = [path for path in plan.files.values() if not path.is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(images)} images are not where the run found them, "
            f"{missing[0]} for one. Run the command where `spice run` ran, or put them back."
        )
    if dry_run:
        refuse_target(plan, target)
    else:
        make_folders(plan, target, layout.placement)
    return plan


def image_files(context: Context) -> list[Path]:
    """Return the file of each image of a run.

    Raises:
        UserError: If the run is not of files in folders.
    """
    config: RunConfig = context.config
    if config.data.source != "folder":
        raise UserError(
            f"{context.run.path} was made of {config.data.source}, which is not a folder of "
            "image files. assignments.csv in the run says which cluster each item is in."
        )
    found = []
    for role, rows in context.parts.items():
        folder = Path(str(source_options(config.data, role).path))
        prefix = part_prefix(config.data, role)
        found += [folder / file_name(name.removeprefix(prefix)) for name in context.ids[rows]]
    return found


def file_name(item: str) -> str:
    r"""Return the name of the file behind an id, its escapes undone.

    Example:
        >>> file_name(r"two\nlines.png")
        'two\nlines.png'
    """
    plain = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\\": "\\"}
    return _ESCAPE.sub(lambda at: plain.get(at[0]) or chr(int(at[0][2:], 16)), item)
