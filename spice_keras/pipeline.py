"""A run, from images to a SavedModel, in reading order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.files import sweep_folder
from spice_keras.options import BackboneOptions
from spice_keras.progress import Screen, silent_screen
from spice_keras.run.cluster import Company, joined
from spice_keras.run.configuration import read_run_config
from spice_keras.run.directory import RunDirectory, must_hold_run
from spice_keras.run.history import History, chosen_stages, heads_are_begun
from spice_keras.run.lock import run_lock
from spice_keras.run.reproduction import Reproduction, compare_runs
from spice_keras.run.storage import check_export_folder, explained_storage
from spice_keras.run.table import refuse_missing_pyarrow
from spice_keras.run.update import drop_staging, past_updates
from spice_keras.runtime import (
    peak_memory_bytes,
    refuse_other_backend,
    release_memory,
    tensorflow_session,
)

if TYPE_CHECKING:
    import keras

    from spice_keras.groups.suggest import GroupSuggestion
    from spice_keras.run.context import Context
    from spice_keras.run.replicas import Replicas


_EVERY = ("pretrain", "self", "semi", "eval", "export")


@dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Attributes:
        path: The run directory, with report.html, assignments.csv and metrics.json.
        metrics: The content of metrics.json.
        saved_model: The exported SavedModel's folder.
    """

    path: Path
    metrics: Mapping[str, Any]
    saved_model: Path


def run_stages(
    config: RunConfig,
    run_dir: str | Path,
    *,
    commands: Sequence[str],
    resume: bool = False,
    redo: bool = False,
    screen: Screen | None = None,
) -> RunDirectory:
    """Run some stages of a run directory, in order.

    Args:
        config: The configuration.
        run_dir: The run directory, made if it does not exist.
        commands: The commands whose stages run: pretrain, self, semi, eval, export.
        resume: Skip what is finished, continue what was interrupted.
        redo: Do these stages again and forget what later ones made of them. Embeddings are kept
            if neither the encoder nor an option they depend on has changed.
        screen: Where things are said; None for warnings alone.

    Returns:
        The run directory.

    Raises:
        UserError: If the configuration, the data or the folder do not allow it.
    """
    refuse_other_backend()
    screen, path = screen or silent_screen(), Path(run_dir)
    with joined(config, commands, path) as company:
        if company is not None and not company.cluster.is_chief:
            return _take_part(config, company, commands, screen)
        with run_lock(path, screen), explained_storage(path):
            if "semi" in commands and config.semi.enabled and config.semi.labels_from == "edits":
                _check_edits(path, config, taught="self" not in commands, redo=redo)
            history = History.begin(
                path, config, commands=commands, resume=resume, redo=redo, screen=screen
            )
            _do(history, config, commands, screen, company)
    return history.run


def _take_part(
    config: RunConfig, company: Company, commands: Sequence[str], screen: Screen
) -> RunDirectory:
    """Take a worker's share of the steps of a run that the chief does and writes."""
    cluster, run = company.cluster, RunDirectory(Path(company.given["run_dir"]))
    with _session(config, company) as replicas:
        from spice_keras.run.context import Context
        from spice_keras.stages.pretrain import train_moco
        from spice_keras.stages.self_label import help_to_encode
        from spice_keras.stages.semi import train_semi

        phases: dict[str, Callable[[Context], object]] = {
            "pretrain": train_moco, "self": help_to_encode, "semi": train_semi,
        }  # fmt: skip
        context = Context(config, run, silent_screen(), replicas=replicas)
        while (phase := replicas.next_phase(run)) is not None:
            screen.say(f"{cluster.name(cluster.index)}: takes part in {phase}.")
            phases[phase](context)
            release_memory()
        replicas.wait_for(run, [stage.artifact for stage in chosen_stages(config, commands)])
    return run


@contextmanager
def _session(config: RunConfig, company: Company | None = None) -> Iterator[Replicas]:
    """Start TensorFlow with the replicas that the configuration asks for."""

    def begin() -> object:
        from spice_keras.run.replicas import training_strategy

        return training_strategy(config, company)

    with tensorflow_session(precision=config.precision, first=begin):
        from spice_keras.run.replicas import Replicas, training_strategy

        yield Replicas(training_strategy(config, company), company)


def _do(
    history: History,
    config: RunConfig,
    commands: Sequence[str],
    screen: Screen,
    company: Company | None = None,
) -> None:
    """Do what a history has to do."""
    if history.has_chosen("eval") and config.evaluate.table == "parquet":
        refuse_missing_pyarrow()
    if history.will_run("export"):
        check_export_folder(config)
        sweep_folder(config.model_folder)
    if company is None and not any(history.will_run(name) for name in ("pretrain", "self", "semi")):
        config = config.model_copy(update={"strategy": "none"})  # nothing is left to share
    with _session(config, company) as replicas:
        from spice_keras.run.context import Context

        context = Context(config, history.run, screen, replicas=replicas)
        _look_at_replicas(context, company)
        _run_in_order(context, history, commands)
    screen.detail(f"Peak memory {peak_memory_bytes() / 2**20:,.0f} MiB.")


def _look_at_replicas(context: Context, company: Company | None) -> None:
    """Say what shares the steps, and refuse batches that cannot be shared evenly."""
    from spice_keras.run.preflight import preflight
    from spice_keras.run.replicas import refuse_uneven_batches, training_devices

    count = context.replicas.count
    if count == 1:
        return
    plan = context.plan if context.run.has("images") else preflight(context.config)
    if plan is not None:
        refuse_uneven_batches(context.config, plan, count)
    who = training_devices() if company is None else company.cluster.workers
    context.screen.say(f"{count} devices share the steps of training: {', '.join(who)}.")


def _check_edits(path: Path, config: RunConfig, *, taught: bool, redo: bool) -> None:
    """Refuse edits that SPICE-Semi cannot learn from, before anything is forgotten."""
    from spice_keras.review.corrections import corrections_of, refuse_missing_edits

    run = RunDirectory(path)
    if run.has("classifier") and not redo:
        return
    refuse_missing_edits(path)
    if taught and run.has("heads"):
        with tensorflow_session(precision=config.precision):
            from spice_keras.run.context import Context

            corrections_of(Context(config, run))


def repair_run(run_dir: str | Path, *, screen: Screen | None = None) -> bool:
    """Make again what of a run is damaged, and nothing else.

    What is made again is compared with what was there. If it is the same, all that was made of it
    stays; otherwise that is made again too.

    Args:
        run_dir: The run directory.
        screen: Where things are said; None for warnings alone.

    Returns:
        Whether anything was damaged.

    Raises:
        UserError: If the folder holds no run, or something cannot be made again.
    """
    refuse_other_backend()
    screen, path = screen or silent_screen(), Path(run_dir)
    must_hold_run(path)
    config = read_run_config(path)
    with run_lock(path, screen), explained_storage(path):
        history = History.mend(path, config, screen=screen)
        if not history.is_damaged:
            return False
        _do(history, config, history.commands, screen)
    return True


def update_run(
    config: RunConfig, run_dir: str | Path, *, screen: Screen | None = None
) -> Mapping[str, int]:
    """Bring a finished run up to a source that changed; the trained networks stay as they are.

    What is new or changed is embedded and assigned, what is gone is dropped. Evaluation, report and
    export are removed, if anything changed: `run_all(..., resume=True)` makes them again.

    Args:
        config: The configuration of the run.
        run_dir: The run directory.
        screen: Where things are said; None for warnings alone.

    Returns:
        How many items were added, changed and removed.

    Raises:
        UserError: If the folder holds no run whose training has come to its end, the run cannot be
            updated, or the source does not allow it.
    """
    refuse_other_backend()
    screen, path = screen or silent_screen(), Path(run_dir)
    must_hold_run(path)
    with run_lock(path, screen), explained_storage(path):
        run = History.begin(path, config, commands=_EVERY, resume=True, screen=screen).run
        with tensorflow_session(precision=config.precision):
            from spice_keras.run.context import Context
            from spice_keras.stages.update import update

            found = update(Context(config, run, screen))
            release_memory()
    return {"added": found.added, "changed": found.changed, "removed": found.removed}


def reproduce_run(
    run_dir: str | Path,
    new_dir: str | Path,
    *,
    resume: bool = False,
    screen: Screen | None = None,
) -> Reproduction:
    """Make a run once more in another folder, and compare the two.

    Args:
        run_dir: A finished run.
        new_dir: The folder for the repetition, made if it does not exist.
        resume: Continue a repetition that was interrupted.
        screen: Where things are said; None for warnings alone.

    Returns:
        What is equal and what is not. No SavedModel is written.

    Raises:
        UserError: If the folder holds no finished run, or the new one cannot be made.
    """
    before = RunDirectory(Path(run_dir))
    must_hold_run(before.path)
    before.read("evaluation", written_by="eval")
    if Path(new_dir).resolve() == before.path.resolve():
        raise UserError(f"{new_dir} is the run itself. Name another folder with --run-dir.")
    if past_updates(before):
        raise UserError(
            f"{before.path} was updated (updates.json says when): its heads were trained before, "
            "and a repetition would train them on what the source holds now. Begin a new run with "
            "`spice run`, and reproduce that."
        )
    config = read_run_config(before.path)
    commands = ("pretrain", "self", "semi", "eval")
    now = run_stages(config, new_dir, commands=commands, resume=resume, screen=screen)
    return compare_runs(before, now)


def _run_in_order(context: Context, history: History, commands: Sequence[str]) -> None:
    """Tell the run: one call a stage. The history passes over what is not to be done."""
    from spice_keras.stages.held_out import classify_test
    from spice_keras.stages.name import name
    from spice_keras.stages.reliable import select_reliable
    from spice_keras.stages.self_label import self_label
    from spice_keras.stages.sort_shards import sort_shards

    _run_encoding(context, history, commands)
    _run_stage(context, history, "self", self_label)
    _run_stage(context, history, "reliable", select_reliable)
    _run_stage(context, history, "semi", _semi)
    _run_stage(context, history, "test", classify_test)
    _run_stage(context, history, "sort", sort_shards)
    _run_stage(context, history, "name", name)
    _judge_and_export(context, history)


def _judge_and_export(context: Context, history: History) -> None:
    """Evaluate while a process of its own checks the SavedModel, which is written first.

    Nothing waits for that process before the report is there.
    """
    from spice_keras.stages.evaluate import evaluate
    from spice_keras.stages.export import export, written_model

    model, seconds = None, 0.0
    with ExitStack() as held:
        if history.will_run("eval") and history.will_run("export"):
            began = time.monotonic()
            # Whatever keeps the model from being written must not keep the report from it: then
            # it is written, and the error raised, once the report is there.
            with suppress(Exception):
                model = held.enter_context(written_model(context))
            seconds = time.monotonic() - began
        _run_stage(context, history, "eval", evaluate)
        if _run_stage(context, history, "export", partial(export, model=model)):
            context.run.add_time("export", seconds)


def _semi(context: Context) -> None:
    """SPICE-Semi, with a person's corrections if the configuration asks for them."""
    from spice_keras.stages.semi import semi

    if context.config.semi.labels_from != "edits":
        semi(context)
        return
    from spice_keras.review.corrections import corrections_of

    semi(context, corrections_of(context))


def _run_encoding(context: Context, history: History, commands: Sequence[str]) -> None:
    """The stages that do not depend on the number of clusters: images to embeddings."""
    from spice_keras.run.replicas import refuse_uneven_batches
    from spice_keras.stages.embed import embed
    from spice_keras.stages.ingest import ingest, keep_plan, keep_skipped
    from spice_keras.stages.pretrain import prepare_encoder, pretrain
    from spice_keras.stages.source_check import note_source, refuse_changed_source
    from spice_keras.stages.true_labels import refuse_missing_labels

    if history.will_run("pretrain") and history.will_run("images"):
        prepare_encoder(context)  # weights that cannot be had are told before images are decoded
    fresh = not history.run.has("images")
    if not fresh and not history.will_run("images"):
        refuse_changed_source(context, commands)
        drop_staging(history.run)
    if _run_stage(context, history, "images", ingest) and fresh:
        note_source(context)
    if history.run.has("images"):
        keep_plan(context)
        refuse_uneven_batches(context.config, context.plan, context.replicas.count)
        keep_skipped(context)
    if history.has_chosen("images"):
        refuse_missing_labels(context, commands)
    _run_stage(context, history, "pretrain", pretrain)
    _run_stage(context, history, "embed", embed)


def _run_stage(
    context: Context, history: History, name: str, stage: Callable[[Context], object]
) -> bool:
    done = history.run_stage(name, partial(stage, context))
    if done:
        context.forget_bank()
        release_memory()
    return done


def choose_clusters(
    config: RunConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    screen: Screen | None = None,
) -> RunConfig:
    """Encode the items, look how many groups they form, and ask for as many clusters.

    Args:
        config: The configuration; its number of clusters is not read.
        run_dir: The run directory, made if it does not exist. The embeddings stay in it.
        resume: Skip what is finished, continue what was interrupted. Heads that were begun keep
            their number of clusters.
        screen: Where things are said; None for warnings alone.

    Returns:
        The configuration with the number of clusters.

    Raises:
        UserError: If the configuration, the data or the folder do not allow it.
    """
    refuse_other_backend()
    screen, path = screen or silent_screen(), Path(run_dir)
    if resume and RunDirectory.holds_run(path) and heads_are_begun(RunDirectory(path)):
        number = read_run_config(path).num_clusters
        screen.say(f"groups: {number} clusters, as this run began.")
        return config.model_copy(update={"num_clusters": number})
    # Two clusters have the largest half, so the neighbours that are found serve for any number.
    config = config.model_copy(update={"num_clusters": 2})
    commands = ("pretrain", "self")
    with run_lock(path, screen), explained_storage(path):
        history = History.begin(path, config, commands=commands, resume=resume, screen=screen)
        found = _suggested(history, config, commands, screen)
    noun = "item" if config.data.source == "embeddings" else "image"
    from spice_keras.report.groups import suggestion_sentences

    for sentence in suggestion_sentences(found, noun):
        screen.say(f"groups: {sentence}")
    return config.model_copy(update={"num_clusters": found.num_clusters})


def _suggested(
    history: History, config: RunConfig, commands: Sequence[str], screen: Screen
) -> GroupSuggestion:
    """Encode the items and look how many groups they form."""
    with _session(config) as replicas:
        from spice_keras.groups.candidates import GridTraining
        from spice_keras.groups.suggest import suggest_clusters
        from spice_keras.run.context import Context
        from spice_keras.stages.groups import keep_suggestion

        context = Context(config, history.run, screen, replicas=replicas)
        _run_encoding(context, history, commands)
        training = GridTraining(seed=context.seed("groups"))
        found = suggest_clusters(context.bank.features, training=training, screen=screen)
        keep_suggestion(context, found)
        return found


def run_all(
    config: RunConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    screen: Screen | None = None,
    encoder: keras.Model | None = None,
) -> RunResult:
    """Run everything: images to clusters, report and SavedModel.

    Args:
        config: The configuration, from `load_config`.
        run_dir: The run directory, made if it does not exist.
        resume: Skip what is finished, continue what was interrupted.
        screen: Where things are said; None for warnings alone.
        encoder: A trained model of your own, images [B, S, S, 3] with values in 0..255 to features
            [B, D], in place of the configuration's backbone. It stays as it is unless
            `pretrain.enabled` is true. A later process that goes on with the run passes it again.

    Returns:
        Where everything lies, and the metrics.

    Raises:
        UserError: If the configuration, the data or the folder do not allow it.
        ValueError: If the encoder has another input or output.
    """
    if encoder is not None:
        config = with_encoder(config, encoder)
    run = run_stages(config, run_dir, commands=_EVERY, resume=resume, screen=screen)
    from spice_keras.run.context import Context
    from spice_keras.run.store import Evaluation, Export

    context = Context(config, run)
    metrics, exported = context.load(Evaluation).metrics, context.load(Export).path
    return RunResult(run.path, metrics, exported)


def with_encoder(config: RunConfig, encoder: keras.Model) -> RunConfig:
    """Put somebody's own encoder in place of a configuration's backbone.

    Args:
        config: The configuration.
        encoder: See `run_all`.

    Returns:
        The configuration with the backbone ``own-encoder`` and the side of image it takes.

    Raises:
        UserError: If the configuration does not go with an encoder that is given.
        ValueError: If the encoder has another input or output.
    """
    from spice_keras.backbones.own_encoder import NAME, register_encoder

    if config.semi.enabled and config.semi.init == "scratch" and config.semi.backbone is None:
        raise UserError(
            "SPICE-Semi would have to train an encoder that was given from scratch. Set "
            "semi.init=pretrained, give it a network of its own (semi.backbone), or set "
            "semi.enabled=false."
        )
    side = register_encoder(encoder, image_size=config.data.image_size)
    own = BackboneOptions(name=NAME).model_dump()
    overrides = {"backbone": own, "data.image_size": side}
    return load_config(base=config.as_dict(), overrides=overrides)
