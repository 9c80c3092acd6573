"""The `spice` command: options in, stages called, errors explained."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from spice_keras.errors import UserError
from spice_keras.options import Labels, Sizes
from spice_keras.progress import Loudness, Screen

if TYPE_CHECKING:
    from spice_keras.config import RunConfig
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
        "--images", metavar="PATH", help="A folder of images, an .npy/.npz file, or tfds:NAME."
    ),
    click.option(
        "--embeddings", metavar="FILE", help="An .npy/.npz file of embeddings instead of images."
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
        "--words", metavar="FILE", help="Words to name clusters with: .npz of names and vectors."
    ),
    click.option("--seed", type=int, help="Same seed, same result."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="a.b=VALUE",
        help="Set one option of the configuration; repeatable.",
    ),
    click.option("--run-dir", type=click.Path(path_type=Path), help="Default: runs/NAME."),
    click.option("--resume", is_flag=True, help="Continue; skip finished stages."),
    click.option("--dry-run", is_flag=True, help="Print configuration and sizes; do nothing."),
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command of a run takes; the command gets it as one `RunRequest`."""

    @functools.wraps(command)
    def with_request(*, quiet: bool, verbose: bool, **given: Any) -> None:
        from spice_keras.run.request import OptionRequest, RunRequest, SourceRequest

        request = RunRequest(
            _taken(SourceRequest, given),
            _taken(OptionRequest, given),
            given.pop("run_dir"),
            resume=given.pop("resume"),
            dry_run=given.pop("dry_run"),
            loudness=_loudness(quiet, verbose),
        )
        command(request, **given)

    for option in reversed(_RUN_OPTIONS):
        option(with_request)
    return loudness_options(with_request)


def _taken(kind: type[Part], given: dict[str, Any]) -> Part:
    """Make a part of a request of the options of the same names, which leave `given`."""
    return kind(**{field.name: given.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


def loudness_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --quiet and --verbose."""
    click.option("--verbose", is_flag=True, help="Say more; show tracebacks.")(command)
    click.option("--quiet", is_flag=True, help="Say only what went wrong.")(command)
    return command


def _loudness(quiet: bool, verbose: bool) -> Loudness:
    if quiet and verbose:
        raise UserError("--quiet and --verbose contradict each other; give one.")
    return Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.NORMAL


class _Group(click.Group):
    """Lists the commands in the order of a run and turns user errors into exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # `spice predict ... | head`: Click ends it quietly
            raise
        except OSError as error:  # a full disk, a folder without permission
            if "--verbose" in sys.argv:
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("Interrupted. The same command with --resume continues.", err=True)
            ctx.exit(130)


# Click keeps the lines of a paragraph that begins with \b as they are.
_EXAMPLES = """\b
spice run                                   cluster scikit-learn's digits
spice run --images photos/ --clusters 12    cluster your own
spice predict saved_models/photos/1 new/    sort new images
"""


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spice-keras")
def main() -> None:
    """Deep image clustering: from unlabelled images to clusters, a report and a SavedModel."""


@main.command()
@run_options
def run(request: RunRequest) -> None:
    """Do everything: images to clusters, a report and a SavedModel.

    CONFIG is a YAML file or the name of a shipped one (see `spice configs`). Without CONFIG and
    without --images, scikit-learn's digits are clustered.
    """
    prepared = _prepare(request, existing=False)
    if prepared is None:
        return
    screen, config = Screen(request.loudness), prepared.config
    automatic = request.options.clusters == "auto"
    clusters = "clusters to be counted" if automatic else f"{config.num_clusters} clusters"
    screen.say(f"spice run: {config.name}, {clusters}, in {prepared.run_dir}")
    from spice_keras.pipeline import choose_clusters, run_all

    resume = request.resume
    if automatic:
        config = choose_clusters(config, prepared.run_dir, resume=resume, screen=screen)
        resume = True  # the embeddings are there
    result = run_all(config, prepared.run_dir, resume=resume, screen=screen)
    _print_results(result.metrics)
    click.echo(f"Report       {result.path / 'report.html'}")
    click.echo(f"Assignments  {result.path / 'assignments.csv'}")
    click.echo(f"SavedModel   {result.saved_model}")


def _prepare(request: RunRequest, *, existing: bool) -> PreparedRun | None:
    """Resolve configuration and folder; print them and return None for a dry run."""
    from spice_keras.run.request import prepare_run

    prepared = prepare_run(request, existing=existing)
    if prepared.note is not None and request.loudness > Loudness.QUIET:
        click.echo(prepared.note, err=True)
    if not request.dry_run:
        return prepared
    _print_plan(prepared)
    return None


def _print_plan(prepared: PreparedRun) -> None:
    import yaml

    from spice_keras.run.preflight import describe_plan

    values = prepared.config.as_dict()
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    lines = ["the number of images is known once TensorFlow Datasets is asked"]
    for line in lines if prepared.plan is None else describe_plan(prepared.plan):
        click.echo(f"# {line}")
    click.echo(f"# run directory {prepared.run_dir}")


def _print_results(metrics: Mapping[str, Any]) -> None:
    from spice_keras.report.table import SHORT_COLUMNS, SHORT_HEADER, result_rows
    from spice_keras.report.terminal import show_table

    show_table(SHORT_HEADER, result_rows(metrics, SHORT_COLUMNS))


def _stage_command(name: str, summary: str) -> None:
    """Add the command of one stage."""

    @main.command(name, help=summary)
    @run_options
    @click.option("--redo", is_flag=True, help="Do it again; forget what came of it.")
    def command(request: RunRequest, redo: bool) -> None:
        prepared = _prepare(request, existing=name != "pretrain")
        if prepared is None:
            return
        from spice_keras.pipeline import choose_clusters, run_stages

        screen, run_dir = Screen(request.loudness), prepared.run_dir
        commands = [name]
        if name == "self" and request.source.embeddings is not None:
            commands += ["eval", "export"]  # no other stage comes between
        config, resume = prepared.config, request.resume
        if request.options.clusters == "auto":
            if name != "self":
                raise UserError(
                    f"spice {name} does not choose a number of clusters: say --clusters K, or use "
                    "spice run --clusters auto."
                )
            config, resume = choose_clusters(config, run_dir, resume=resume, screen=screen), True
        run_stages(
            config,
            run_dir,
            commands=commands,
            resume=resume,
            redo=redo,
            screen=screen,
        )
        if "eval" in commands:
            _show_evaluation(config, run_dir)
        screen.say(f"spice {name}: done, in {run_dir}")


def _show_evaluation(config: RunConfig, run_dir: Path) -> None:
    from spice_keras.run.context import Context
    from spice_keras.run.directory import RunDirectory
    from spice_keras.run.store import Evaluation

    _print_results(Context(config, RunDirectory(run_dir)).load(Evaluation).metrics)
    click.echo(f"Report  {run_dir / 'report.html'}")


for _name, _summary in {
    "pretrain": "Stage 1: MoCo v2, an encoder from the images alone.",
    "self": "Stage 2: SPICE-Self, clustering heads and reliable labels.",
    "semi": "Stage 3: SPICE-Semi, FixMatch from the reliable labels.",
    "eval": "Figures of merit, assignments.csv and the report.",
    "export": "The SavedModel, checked in a separate process.",
}.items():
    _stage_command(_name, _summary)


@main.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--words", metavar="FILE", help="Words: .npz of names and vectors; none: no names.")
@loudness_options
def name(run_dir: Path, words: str | None, quiet: bool, verbose: bool) -> None:
    """Name the clusters of a RUN again, and write its tables and its report again."""
    from spice_keras.run.request import OptionRequest, RunRequest

    loudness = _loudness(quiet, verbose)
    request = RunRequest(options=OptionRequest(words=words), run_dir=run_dir, loudness=loudness)
    prepared = _prepare(request, existing=True)
    if prepared is None:
        return
    from spice_keras.pipeline import run_stages

    screen = Screen(loudness)
    run_stages(prepared.config, run_dir, commands=["eval"], screen=screen)
    screen.say(f"spice name: done, in {run_dir}. spice export writes a SavedModel with the names.")


@main.command()
@run_options
@click.option("--trials", type=click.IntRange(min=1), default=5, help="Seeds, from --seed on.")
@click.option("--rows", metavar="NAME,...", help="Only these; --dry-run lists them.")
@click.option("--pretrain-once", is_flag=True, help="One encoder for all trials.")
def ablate(request: RunRequest, trials: int, rows: str | None, pretrain_once: bool) -> None:
    """The paper's ablation tables: mean and deviation over trials.

    Every trial pretrains one encoder, which its rows share. The data needs labels to compare with.
    """
    from spice_keras.ablations.rows import chosen_rows
    from spice_keras.run.preflight import preflight
    from spice_keras.run.request import request_config

    config, _ = request_config(request)
    chosen = chosen_rows(config, rows)
    folder = request.run_dir or Path("runs") / f"{config.name}-ablations"
    preflight(config)
    if request.dry_run:
        for row in chosen:
            click.echo(f"{row.name:<16} {row.table}: {row.title}")
        return
    from spice_keras.ablations import ablate as stage
    from spice_keras.ablations.table import ABLATION_HEADER, ablation_rows
    from spice_keras.report.terminal import show_table

    ablation = stage.Ablation(config, folder, pretrain_once, Screen(request.loudness))
    results = stage.ablate(ablation, chosen, trials=trials, resume=request.resume)
    show_table(ABLATION_HEADER, ablation_rows(results["rows"]))
    click.echo(f"Tables  {folder / 'ablations.md'}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="CSV file; default: the screen.")
@loudness_options
def predict(
    model: Path, images: tuple[Path, ...], output: Path | None, quiet: bool, verbose: bool
) -> None:
    """Sort new images with an exported MODEL: files, folders, .npy or .npz arrays."""
    import csv

    from spice_keras.runtime import start_tensorflow

    screen = Screen(_loudness(quiet, verbose))
    start_tensorflow(precision="float32", deterministic=False)
    from spice_keras.serving.predict import HEADER, predict

    found = predict(model, images)
    for skipped in found.skipped:
        screen.warn(f"skipped {skipped.path}: {skipped.reason}")
    if output is None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(found.rows())
    else:
        found.write(output)
        screen.say(f"{len(found.images)} images sorted into {output}")


@main.command()
@click.argument("source", metavar="RUN_OR_FEATURES", type=click.Path(path_type=Path))
@click.option("--from", "smallest", type=int, default=2, help="Smallest number to try.")
@click.option("--to", "largest", type=int, help="Largest number to try; default: 30 or less.")
@click.option("--cut", type=int, metavar="K", help="Merge a run's clusters into K groups.")
@click.option("--seed", type=int, default=0, help="Same seed, same answer.")
@loudness_options
def groups(quiet: bool, verbose: bool, **asked: Any) -> None:
    """How many groups there are, in a run directory or a file of embeddings.

    With --cut, write a run's assignment in fewer groups; nothing is trained.
    """
    from spice_keras.runtime import start_tensorflow

    screen = Screen(_loudness(quiet, verbose))
    start_tensorflow(precision="float32")
    from spice_keras.stages.groups import GroupsRequest, report_groups

    for line in report_groups(GroupsRequest(**asked), screen):
        click.echo(line)


@main.command()
@click.argument("name", required=False)
def configs(name: str | None) -> None:
    """List the shipped configurations, or show one."""
    from spice_keras.config.loading import find_config, shipped_configs

    if name is not None:
        click.echo(find_config(name).read_text("utf-8"), nl=False)
        return
    for shipped, path in shipped_configs().items():
        first = path.read_text("utf-8").splitlines()[0].lstrip("# ")
        click.echo(f"{shipped:<22} {first}")


if __name__ == "__main__":
    main()
