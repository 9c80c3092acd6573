"""What the commands of a run take from the command line, and what they make of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from spice_keras.errors import UserError
from spice_keras.options import Labels, Sizes, Strategy, TableFormat
from spice_keras.progress import Loudness

if TYPE_CHECKING:
    from spice_keras.run.request import PreparedRun, RunRequest

Part = TypeVar("Part")


class _Clusters(click.ParamType):
    """A number of clusters, or `auto`."""

    name = "K|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor auto.", param, ctx)


_RUN_OPTIONS = (
    click.argument("config", required=False),
    click.option(
        "--images",
        metavar="PATH",
        help="A folder, .txt list, tar or TFRecord shards, an .npy/.npz file, or tfds:NAME.",
    ),
    click.option(
        "--embeddings",
        metavar="PATH",
        help="An .npy/.npz file of embeddings, or a folder from spice embed, instead of images.",
    ),
    click.option(
        "--sample",
        type=click.IntRange(min=2),
        metavar="N",
        help="Train heads on N rows of embeddings in shards; the chosen head sorts the others.",
    ),
    click.option(
        "--backbone",
        metavar="NAME",
        help="The encoder: small_resnet, efficientnet_lite0, keras:NAME, hub:PRESET, ...",
    ),
    click.option(
        "--fast",
        is_flag=True,
        help="Encode at 128 pixels, not 224: about three times as fast, and less exact.",
    ),
    click.option(
        "--clusters", type=_Clusters(), help="Number of clusters; auto looks how many there are."
    ),
    click.option(
        "--sizes",
        type=click.Choice(get_args(Sizes)),
        help="Whether groups are about equally large; auto looks at both.",
    ),
    click.option(
        "--labels",
        type=click.Choice(get_args(Labels)),
        help="What evaluation compares with; no other stage reads labels.",
    ),
    click.option(
        "--format",
        "table",
        type=click.Choice(get_args(TableFormat)),
        help="Of the table of items; parquet writes assignments.parquet beside assignments.csv.",
    ),
    click.option(
        "--words", metavar="FILE", help="Words to name clusters with: .npz of names and vectors."
    ),
    click.option(
        "--nouns", metavar="FILE", help="Nouns, one a line, for the text encoder of hub:clip_..."
    ),
    click.option("--seed", type=int, help="Same seed, same result."),
    click.option(
        "--strategy",
        type=click.Choice(get_args(Strategy)),
        help="Share training: mirrored, all GPUs here; multiworker, the hosts of TF_CONFIG.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="a.b=VALUE",
        help="Set one option of the configuration; repeatable.",
    ),
    click.option("--run-dir", type=click.Path(path_type=Path), help="Default: runs/NAME."),
    click.option("--resume", is_flag=True, help="Continue; skip finished stages."),
    click.option(
        "--dry-run", is_flag=True, help="Say what would be done, and how long; do nothing."
    ),
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command of a run takes; the command gets it as one `RunRequest`.

    An option of the command's own takes the place of one with the same name.
    """
    params: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    own = {name for param in params for name in param.opts}
    replaced: list[str | None] = []

    @functools.wraps(command)
    def with_request(*, quiet: bool, verbose: bool, **given: Any) -> None:
        from spice_keras.run.request import OptionRequest, RunRequest, SourceRequest

        given |= dict.fromkeys(filter(None, replaced))
        request = RunRequest(
            taken(SourceRequest, given),
            taken(OptionRequest, given),
            given.pop("run_dir"),
            resume=given.pop("resume"),
            dry_run=given.pop("dry_run"),
            loudness=chosen_loudness(quiet, verbose),
        )
        command(request, **given)

    for option in reversed(_RUN_OPTIONS):
        option(with_request)
        if own.intersection(params[-1].opts):
            replaced.append(params.pop().name)
    return loudness_options(with_request)


def taken(kind: type[Part], given: dict[str, Any]) -> Part:
    """Make a part of a request of the options of the same names, which leave `given`.

    Args:
        kind: A dataclass.
        given: Options by name.

    Returns:
        The part.
    """
    return kind(**{field.name: given.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


def loudness_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --quiet and --verbose."""
    click.option("--verbose", is_flag=True, help="Say more; show tracebacks.")(command)
    click.option("--quiet", is_flag=True, help="Say only what went wrong.")(command)
    return command


def chosen_loudness(quiet: bool, verbose: bool) -> Loudness:
    """Return how much is said; the two options exclude each other."""
    if quiet and verbose:
        raise UserError("--quiet and --verbose contradict each other; give one.")
    return Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.NORMAL


def image_source(path: str) -> str:
    """Tell what kind of source of images a file or folder is, or refuse it."""
    from spice_keras.config.shortcuts import source_kind

    kind = source_kind(Path(path)) if Path(path).exists() else None
    if kind is None:
        what = "is of another kind" if Path(path).exists() else "there is no such file or folder"
        raise UserError(
            f"{path}: {what}. Give a folder of images, a .txt list of paths, or tar or TFRecord "
            "shards."
        )
    return kind


def prepare(request: RunRequest, *, existing: bool) -> PreparedRun | None:
    """Resolve configuration and folder; print them and return None for a dry run."""
    from spice_keras.run.request import prepare_run

    prepared = prepare_run(request, existing=existing)
    if prepared.note is not None and request.loudness > Loudness.QUIET:
        click.echo(prepared.note, err=True)
    if not request.dry_run:
        return prepared
    _print_plan(prepared, every_option=request.loudness >= Loudness.VERBOSE)
    return None


_NOT_COUNTED = "the number of images is known once TensorFlow Datasets is asked"


def _print_plan(prepared: PreparedRun, *, every_option: bool) -> None:
    """Say what would be done: ten lines, or the whole configuration and its arithmetic."""
    from spice_keras.run.history import STAGES
    from spice_keras.run.preflight import describe_plan, describe_run

    config, plan = prepared.config, prepared.plan
    if every_option:
        import yaml

        click.echo(yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True))
        for line in [_NOT_COUNTED] if plan is None else describe_plan(plan):
            click.echo(f"# {line}")
        click.echo(f"# run directory {prepared.run_dir}")
        return
    command = click.get_current_context().info_name
    stages = {stage.name for stage in STAGES if command in ("run", stage.command)}
    if command == "self" and config.data.source == "embeddings":
        stages = {stage.name for stage in STAGES}  # no other stage comes between
    items = "items" if plan is None else f"{plan.num_images:,} items"
    click.echo(f"{config.name}: {items}, {config.num_clusters} clusters, in {prepared.run_dir}")
    if plan is None:
        click.echo(f"  note      {_NOT_COUNTED}")
    else:
        for line in describe_run(config, plan, stages):
            click.echo(line)
    click.echo("  --verbose shows every option and the arithmetic.")


def print_results(metrics: Mapping[str, Any]) -> None:
    """Show the table of results, from what metrics.json holds."""
    from spice_keras.report.table import SHORT_COLUMNS, SHORT_HEADER, result_rows
    from spice_keras.report.terminal import show_table

    rows = result_rows(metrics, SHORT_COLUMNS)
    # Without labels most figures have no value at all.
    places = [0, *(place for place in range(1, len(SHORT_HEADER)) if _has_value(rows, place))]
    show_table(
        [SHORT_HEADER[place] for place in places],
        [[row[place] for place in places] for row in rows],
    )


def _has_value(rows: Sequence[Sequence[str]], place: int) -> bool:
    from spice_keras.report.formatting import MISSING

    return any(row[place] != MISSING for row in rows)
