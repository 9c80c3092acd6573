"""`spice export`: a finished run's clusterer as a SavedModel, or as files of other runtimes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from spice_keras.commands.request import prepare, run_options
from spice_keras.options import ExportFormat, ExportPrecision
from spice_keras.progress import Screen

if TYPE_CHECKING:
    from spice_keras.run.request import PreparedRun, RunRequest


class _Formats(click.ParamType):
    """Names of formats with commas between them."""

    name = "FORMAT,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        asked = [part.strip() for part in value.split(",")]
        for name in asked:
            if name not in get_args(ExportFormat):
                known = ", ".join(get_args(ExportFormat))
                self.fail(f"{name!r} is not a format; the formats are {known}.", param, ctx)
        return tuple(dict.fromkeys(asked))


@click.command()
@run_options
@click.option("--redo", is_flag=True, help="Do it again; forget what came of it.")
@click.option(
    "--format",
    "formats",
    type=_Formats(),
    default="savedmodel",
    help="savedmodel, keras, litert, onnx, openvino; several with commas between them.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(ExportPrecision)),
    default="float32",
    help="What weights are stored in: float16 for litert, onnx, openvino; int8 for litert.",
)
@click.option(
    "--unsure-below",
    type=click.FloatRange(0.0, 1.0),
    help="Answers with less confidence are told as unsure; default: calibrated on the run.",
)
def export(
    request: RunRequest,
    redo: bool,
    formats: tuple[ExportFormat, ...],
    precision: ExportPrecision,
    unsure_below: float | None,
) -> None:
    """Write a finished run's model, asked in a process of its own first.

    CONFIG may be the run directory: spice export runs/photos --format onnx,litert.
    """
    prepared = prepare(_of_run(request, unsure_below), existing=True)
    if prepared is None:
        return
    screen = Screen(request.loudness)
    from spice_keras.serving.asked_formats import Wanted, refuse_impossible

    wanted = [Wanted(name, precision) for name in formats]
    for one in wanted:
        refuse_impossible(one)
    from spice_keras.pipeline import run_stages

    if "savedmodel" in formats:
        run_stages(
            prepared.config,
            prepared.run_dir,
            commands=["export"],
            resume=request.resume,
            redo=redo,
            screen=screen,
        )
    _convert(prepared, [one for one in wanted if one.format != "savedmodel"], screen)
    screen.say(f"spice export: done, in {prepared.run_dir}")


def _of_run(request: RunRequest, unsure_below: float | None) -> RunRequest:
    """Read a run directory in the place of a configuration, and the threshold as a setting."""
    from spice_keras.run.directory import RunDirectory

    named = request.source.config
    if named is not None and request.run_dir is None and RunDirectory.holds_run(Path(named)):
        source = replace(request.source, config=None)
        request = replace(request, source=source, run_dir=Path(named))
    if unsure_below is not None:
        settings = (*request.options.settings, f"export.unsure_below={unsure_below!r}")
        request = replace(request, options=replace(request.options, settings=settings))
    return request


def _convert(prepared: PreparedRun, wanted: list[Any], screen: Screen) -> None:
    if not wanted:
        return
    from spice_keras.run.lock import run_lock
    from spice_keras.run.storage import explained_storage
    from spice_keras.runtime import tensorflow_session

    path = prepared.run_dir
    with (
        run_lock(path, screen),
        explained_storage(path),
        tensorflow_session(precision="float32"),
    ):
        from spice_keras.run.context import Context
        from spice_keras.run.directory import RunDirectory
        from spice_keras.stages.convert import convert_run

        convert_run(Context(prepared.config, RunDirectory(path), screen), wanted)
