"""What a command of a run was asked for, and the configuration and folder that follow from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spice_keras.config import Plan, RunConfig
from spice_keras.config.loading import resolve_config
from spice_keras.config.settings import Setting, read_setting, typed
from spice_keras.config.shortcuts import embeddings_overrides, folder_config, source_overrides
from spice_keras.errors import UserError
from spice_keras.options import FAST_SIDE, trained_side
from spice_keras.progress import Loudness
from spice_keras.run.cluster import VARIABLE, Cluster
from spice_keras.run.configuration import read_run_config
from spice_keras.run.directory import RunDirectory, latest_run_dir, must_hold_run
from spice_keras.run.lock import claim_run_dir, free_run_dir
from spice_keras.run.preflight import check_words, preflight
from spice_keras.run.storage import check_room
from spice_keras.run.table import refuse_missing_pyarrow


@dataclass(frozen=True)
class SourceRequest:
    """What is to be clustered.

    Attributes:
        config: A YAML file, or the name of a shipped configuration.
        images: A folder, a list, shards, an .npy or .npz file, or tfds:NAME.
        embeddings: An .npy or .npz file of embeddings, or a folder of them in shards.
        sample: Rows of the shards that heads are trained on; None for all.
    """

    config: str | None = None
    images: str | None = None
    embeddings: str | None = None
    sample: int | None = None

    @property
    def named(self) -> bool:
        """Whether any of them is given."""
        return any(value is not None for value in (self.config, self.images, self.embeddings))

    def settings(self) -> list[Setting]:
        """Return what the images or embeddings set in the configuration.

        Raises:
            UserError: If both are given, or what they name does not exist.
        """
        if self.images is not None and self.embeddings is not None:
            raise UserError("--images and --embeddings name two sources; give one.")
        if self.sample is not None and self.embeddings is None:
            raise UserError(
                "--sample says how many rows of embeddings in shards heads are trained on. Add "
                "--embeddings FOLDER, or leave it out."
            )
        if self.embeddings is not None:
            values = embeddings_overrides(self.embeddings)
            if self.sample is not None:
                values["data.sample"] = self.sample
            return typed(f"--embeddings {self.embeddings}", values.items())
        if self.images is not None:
            return typed(f"--images {self.images}", source_overrides(self.images).items())
        return []


@dataclass(frozen=True)
class OptionRequest:
    """Options of the configuration that were typed.

    Attributes:
        backbone: The encoder's name.
        clusters: K, or "auto" to look how many groups there are.
        labels: What evaluation compares with.
        seed: The run's seed.
        strategy: What shares the steps of training.
        settings: The texts after `--set`.
        fast: Whether images are encoded at a smaller side than the weights were trained at.
        sizes: Whether clusters should be about equally large.
        table: How the table of items is written.
        words: The file of words to name clusters with.
        nouns: The list of nouns for the encoder's text encoder.
    """

    backbone: str | None = None
    clusters: int | Literal["auto"] | None = None
    labels: str | None = None
    seed: int | None = None
    strategy: str | None = None
    settings: tuple[str, ...] = ()
    fast: bool = False
    sizes: str | None = None
    table: str | None = None
    words: str | None = None
    nouns: str | None = None

    def as_settings(self) -> list[Setting]:
        """Return them as settings, those after `--set` last."""
        shortcuts = (
            ("--clusters", "num_clusters", 2 if self.clusters == "auto" else self.clusters),
            ("--sizes", "self.sizes", self.sizes),
            ("--words", "words.vocabulary", self.words),
            ("--nouns", "words.nouns", self.nouns),
            ("--labels", "data.labels", self.labels),
            ("--format", "evaluate.table", self.table),
            ("--seed", "seed", self.seed),
            ("--strategy", "strategy", self.strategy),
            ("--backbone", "backbone.name", self.backbone),
        )
        found = [
            Setting(path, value, f"{option} {value}")
            for option, path, value in shortcuts
            if value is not None
        ]
        if self.fast:
            found.append(Setting("data.image_size", FAST_SIDE, "--fast"))
        return found + [read_setting(text, prefix="--set ") for text in self.settings]


@dataclass(frozen=True)
class RunRequest:
    """What a command of a run was asked for.

    Attributes:
        source: What is to be clustered.
        options: Options of the configuration.
        run_dir: The run directory; None for the usual one.
        resume: Whether to skip what is finished and continue what was interrupted.
        dry_run: Whether to print what would be done and do nothing.
        loudness: How much is said.
    """

    source: SourceRequest = SourceRequest()
    options: OptionRequest = OptionRequest()
    run_dir: Path | None = None
    resume: bool = False
    dry_run: bool = False
    loudness: Loudness = Loudness.NORMAL


@dataclass(frozen=True)
class PreparedRun:
    """What a request comes to.

    Attributes:
        config: The configuration.
        run_dir: The run directory.
        plan: Sizes and steps; None if the number of items is not known yet.
        note: Why this configuration was chosen, if the user did not choose it.
    """

    config: RunConfig
    run_dir: Path
    plan: Plan | None
    note: str | None


def request_config(
    request: RunRequest, run_dir: Path | None = None
) -> tuple[RunConfig, str | None]:
    """Build the configuration that is asked for, or read the run directory's.

    Args:
        request: What was asked for.
        run_dir: A run directory whose configuration serves if no other source is named.

    Returns:
        The configuration; and why it was chosen, if the user did not choose it.

    Raises:
        UserError: If anything that was asked for is wrong.
    """
    source, options = request.source, request.options
    name, note = source.config, None
    of_source = source.settings()
    if of_source and name is None and options.clusters is None:
        raise UserError(
            "How many groups? Add --clusters K (for example --clusters 10), or --clusters auto."
        )
    settings = [*of_source, *options.as_settings()]
    if not source.named and run_dir is not None and RunDirectory.holds_run(run_dir):
        base = read_run_config(run_dir).as_dict()
        return resolve_config(None, settings, base=base), None
    if source.embeddings is not None:
        name = name or "embeddings"
    elif of_source and name is None:
        name, note = folder_config(options.backbone)
        settings = [*_side_of(options.backbone), *settings]
    config = resolve_config(name or "digits", settings)
    if options.fast:
        _refuse_slow(config)
    return config, note


def _side_of(backbone: str | None) -> list[Setting]:
    """Images at the side that the weights of the chosen encoder were trained at, if it is known."""
    side = None if backbone is None else trained_side(backbone)
    return [] if side is None else [Setting("data.image_size", side, f"--backbone {backbone}")]


def _refuse_slow(config: RunConfig) -> None:
    """Refuse --fast if nothing is encoded, or by an encoder that is trained here."""
    if config.data.source == "embeddings":
        raise UserError("--fast has no use for embeddings: they are encoded already. Leave it out.")
    if not config.backbone.pretrained:
        raise UserError(
            f"--fast is for encoders that come with weights; {config.backbone.name} is trained "
            "here. Set its side with --set data.image_size=PIXELS."
        )


def _refuse_counting(request: RunRequest) -> None:
    """Refuse to count groups on several hosts."""
    if request.options.clusters == "auto":
        raise UserError(
            "--clusters auto trains an encoder on one host before it counts. Count the groups "
            "first with --strategy none, then say --clusters K."
        )


def prepare_run(request: RunRequest, *, existing: bool) -> PreparedRun:
    """Work out configuration, run directory and plan, and refuse what cannot work.

    Args:
        request: What was asked for.
        existing: Whether the command goes on with a run that was begun before.

    Returns:
        What the request comes to. Nothing has been written; a new folder below runs/ is claimed.

    Raises:
        UserError: If anything that was asked for is wrong, or does not fit the data.
    """
    run_dir = request.run_dir
    existing = existing and request.source.embeddings is None
    goes_on = existing or request.resume
    if goes_on and run_dir is None and not request.source.named:
        run_dir = latest_run_dir(None if existing else "digits")
    if existing and run_dir is not None and not request.dry_run:
        must_hold_run(run_dir)
    config, note = request_config(request, run_dir)
    if config.strategy == "multiworker" and os.environ.get(VARIABLE):
        _refuse_counting(request)
        if not Cluster.from_environment().is_chief and not request.dry_run:
            # The chief looks at the data and names the folder.
            return PreparedRun(config, run_dir or free_run_dir(config.name), None, None)
    begins = run_dir is None and not goes_on
    if run_dir is None:
        run_dir = free_run_dir(config.name) if begins else latest_run_dir(config.name)
    has_images = (run_dir / "artifacts" / "images").is_dir()
    check_words(config)
    if config.evaluate.table == "parquet":
        refuse_missing_pyarrow()
    plan = None if has_images and not request.dry_run else preflight(config)
    if plan is not None and not request.dry_run:
        check_room(config, plan, run_dir)
    if begins and not request.dry_run:
        run_dir = claim_run_dir(config.name)
    return PreparedRun(config, run_dir, plan, note)
