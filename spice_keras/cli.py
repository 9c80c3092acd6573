"""The `spice` command: options in, stages called, errors explained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spice_keras.errors import UserError

if TYPE_CHECKING:
    from spice_keras.config import RunConfig
    from spice_keras.progress import Screen

Command = TypeVar("Command", bound=Callable[..., Any])


def loudness_options(command: Command) -> Command:
    """Add --quiet and --verbose."""
    command = click.option("--verbose", is_flag=True, help="Say more; show tracebacks.")(command)
    return click.option("--quiet", is_flag=True, help="Say only what went wrong.")(command)


def run_options(command: Command) -> Command:
    """Add what every command of a run takes: source, configuration, run directory."""
    options = [
        click.argument("config", required=False),
        click.option(
            "--images",
            metavar="PATH",
            help="A folder of images, an .npy/.npz file, or tfds:NAME.",
        ),
        click.option(
            "--embeddings",
            metavar="FILE",
            help="An .npy/.npz file of embeddings instead of images.",
        ),
        click.option(
            "--backbone",
            metavar="NAME",
            help="small_resnet, efficientnet_lite0, keras:NAME, hub:PRESET, ...",
        ),
        click.option("--clusters", type=int, metavar="K", help="Number of clusters."),
        click.option(
            "--labels",
            type=click.Choice(["none", "source", "from-folders"]),
            help="What evaluation compares with; nothing else reads labels.",
        ),
        click.option("--seed", type=int, help="Same seed, same result."),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="a.b=VALUE",
            help="Override one option; repeatable.",
        ),
        click.option("--run-dir", type=click.Path(path_type=Path), help="Default: runs/NAME."),
        click.option("--resume", is_flag=True, help="Continue; skip finished stages."),
        click.option("--dry-run", is_flag=True, help="Print configuration and arithmetic."),
    ]
    for option in reversed(options):
        command = option(command)
    return loudness_options(command)


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


def _load(options: dict[str, Any], run_dir: Path | None) -> RunConfig:
    """Build the configuration from what was typed, or read the run directory's."""
    from spice_keras.config import load_config
    from spice_keras.config.shortcuts import folder_config
    from spice_keras.run.configuration import read_run_config
    from spice_keras.run.directory import RunDirectory

    overrides = _source(options)
    name, own = options["config"], bool(overrides)
    if own and name is None and options["clusters"] is None:
        raise UserError("How many groups? Add --clusters K (for example --clusters 10).")
    shortcuts = {
        "clusters": "num_clusters",
        "labels": "data.labels",
        "seed": "seed",
        "backbone": "backbone.name",
    }
    for option, path in shortcuts.items():
        if options[option] is not None:
            overrides[path] = options[option]
    if name is None and not own and run_dir is not None and RunDirectory.holds_run(run_dir):
        base = read_run_config(run_dir).as_dict()
        return load_config(base=base, overrides=overrides, assignments=options["assignments"])
    if options["embeddings"] is not None:
        name = name or "embeddings"
    elif own and name is None:
        name, reason = folder_config(options["backbone"])
        if reason is not None and not options["quiet"]:
            click.echo(reason, err=True)
    return load_config(name or "digits", overrides=overrides, assignments=options["assignments"])


def _source(options: dict[str, Any]) -> dict[str, Any]:
    """Read --images or --embeddings; nothing where neither is given."""
    from spice_keras.config.shortcuts import embeddings_overrides, source_overrides

    images, embeddings = options["images"], options["embeddings"]
    if images is not None and embeddings is not None:
        raise UserError("--images and --embeddings name two sources; give one.")
    if embeddings is not None:
        return embeddings_overrides(embeddings)
    return {} if images is None else source_overrides(images)


def _screen(quiet: bool, verbose: bool) -> Screen:
    from spice_keras.progress import Loudness, Screen

    if quiet and verbose:
        raise UserError("--quiet and --verbose contradict each other; give one.")
    return Screen(Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.NORMAL)


def _prepare(options: dict[str, Any], *, existing: bool) -> tuple[RunConfig, Path] | None:
    """Resolve configuration and folder; print them and return None for a dry run."""
    import yaml

    from spice_keras.run.directory import free_run_dir, latest_run_dir, must_hold_run
    from spice_keras.run.preflight import describe_plan, preflight

    run_dir = options["run_dir"]
    named = any(options[key] is not None for key in ("config", "images", "embeddings"))
    existing = existing and options["embeddings"] is None
    goes_on = existing or options["resume"]
    if goes_on and run_dir is None and not named:
        run_dir = latest_run_dir(None if existing else "digits")
    if existing and run_dir is not None and not options["dry_run"]:
        must_hold_run(run_dir)
    config = _load(options, run_dir)
    if run_dir is None:
        run_dir = latest_run_dir(config.name) if goes_on else free_run_dir(config.name)
    prepared = (run_dir / "artifacts" / "images").is_dir()
    plan = None if prepared and not options["dry_run"] else preflight(config)
    if not options["dry_run"]:
        return config, run_dir
    text = yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True)
    click.echo(text)
    lines = ["the number of images is known once TensorFlow Datasets is asked"]
    for line in lines if plan is None else describe_plan(plan):
        click.echo(f"# {line}")
    click.echo(f"# run directory {run_dir}")
    return None


@main.command()
@run_options
def run(**options: Any) -> None:
    """Do everything: images to clusters, a report and a SavedModel.

    CONFIG is a YAML file or the name of a shipped one (see `spice configs`); without it and
    without --images, scikit-learn's digits are clustered.
    """
    prepared = _prepare(options, existing=False)
    if prepared is None:
        return
    screen = _screen(options["quiet"], options["verbose"])
    config, run_dir = prepared
    screen.say(f"spice run: {config.name}, {config.num_clusters} clusters, in {run_dir}")
    from spice_keras.pipeline import run_all

    result = run_all(config, run_dir, resume=options["resume"], screen=screen)
    _print_results(result.metrics)
    click.echo(f"Report       {result.path / 'report.html'}")
    click.echo(f"Assignments  {result.path / 'assignments.csv'}")
    click.echo(f"SavedModel   {result.saved_model}")


def _print_results(metrics: Any) -> None:
    from spice_keras.report.table import SHORT_HEADER, result_rows
    from spice_keras.report.terminal import show_table

    show_table(SHORT_HEADER, result_rows(metrics))


def _stage_command(name: str, summary: str) -> None:
    """Add the command of one stage."""

    @main.command(name, help=summary)
    @run_options
    @click.option("--redo", is_flag=True, help="Do it again; forget what came of it.")
    def command(redo: bool, **options: Any) -> None:
        prepared = _prepare(options, existing=name != "pretrain")
        if prepared is None:
            return
        from spice_keras.pipeline import run_stages

        config, run_dir = prepared
        screen = _screen(options["quiet"], options["verbose"])
        commands = [name]
        if name == "self" and options["embeddings"] is not None:
            commands += ["eval", "export"]  # nothing else would come between
        run_stages(
            config, run_dir, commands=commands, resume=options["resume"], redo=redo, screen=screen
        )
        if "eval" in commands:
            _show_evaluation(config, run_dir)
        screen.say(f"spice {name}: done, in {run_dir}")


def _show_evaluation(config: RunConfig, run_dir: Path) -> None:
    from spice_keras.run.context import Context
    from spice_keras.run.directory import RunDirectory
    from spice_keras.stages.evaluate import read_metrics

    _print_results(read_metrics(Context(config, RunDirectory(run_dir))))
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
@run_options
@click.option("--trials", type=click.IntRange(min=1), default=5, help="Seeds, from --seed on.")
@click.option("--rows", metavar="NAME,...", help="Only these; --dry-run lists them.")
@click.option("--pretrain-once", is_flag=True, help="One encoder for all trials.")
def ablate(trials: int, rows: str | None, pretrain_once: bool, **options: Any) -> None:
    """The paper's ablation tables: mean and deviation over trials.

    Every trial pretrains an encoder, which its rows share. Needs labels, to judge by.
    """
    from spice_keras.ablations.rows import chosen_rows
    from spice_keras.run.preflight import preflight

    config = _load(options, None)
    chosen, folder = chosen_rows(config, rows), options["run_dir"]
    folder = folder or Path("runs") / f"{config.name}-ablations"
    preflight(config)
    if options["dry_run"]:
        for row in chosen:
            click.echo(f"{row.name:<16} {row.table}: {row.title}")
        return
    screen = _screen(options["quiet"], options["verbose"])
    from spice_keras.ablations import ablate as stage
    from spice_keras.ablations.table import ABLATION_HEADER, ablation_rows
    from spice_keras.report.terminal import show_table

    ablation = stage.Ablation(config, folder, pretrain_once, screen)
    results = stage.ablate(ablation, chosen, trials=trials, resume=options["resume"])
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

    screen = _screen(quiet, verbose)
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
