"""What of a run is finished, and what a command therefore skips, does again or forgets.

A stage is finished when its artifact is there, and begun when it has a checkpoint. Whatever a
stage makes is forgotten together with everything that was made of it, so that a run directory
never holds results of two different runs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spice_keras.config import RunConfig
from spice_keras.errors import UserError
from spice_keras.files import write_json
from spice_keras.progress import Screen, clock, silent_screen
from spice_keras.run.configuration import (
    differences,
    environment,
    keep_configuration,
    keep_environment,
    read_run_config,
)
from spice_keras.run.damage import ASSIGNMENTS, PUBLISHED, Damage, dependents, find_damage
from spice_keras.run.directory import RunDirectory
from spice_keras.run.exporting import remove_unnoted_export
from spice_keras.run.update import finish_commit
from spice_keras.training.checkpoint_files import discard_damaged


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: As in messages and timings.
        artifact: What it leaves in the run directory.
        command: The command it belongs to.
        trains: Whether it takes so long that it is never done again unasked.
        later_phases: Names of further fits of it, in checkpoints and logs.
    """

    name: str
    artifact: str
    command: str
    trains: bool = True
    later_phases: tuple[str, ...] = ()

    def is_begun(self, run: RunDirectory) -> bool:
        """Tell whether the stage is finished, or was interrupted."""
        return run.has(self.artifact) or (run.checkpoints / self.name).is_dir()


STAGES = (
    Stage("images", "images", "pretrain", trains=False),
    Stage("pretrain", "encoder", "pretrain"),
    Stage("embed", "embeddings", "self"),
    Stage("self", "heads", "self", later_phases=("refine",)),
    Stage("reliable", "reliable", "self"),
    Stage("semi", "classifier", "semi"),
    Stage("test", "test", "eval", trains=False),
    Stage("sort", "sorted", "eval", trains=False),
    Stage("name", "names", "eval", trains=False),
    Stage("eval", "evaluation", "eval", trains=False),
    Stage("export", "export", "export", trains=False),
)
"""The stages, in the order of what they read."""

_ORDER = [stage.name for stage in STAGES]
_JUDGES = ("name", "eval", "export")

# The first stage that reads a section of the configuration.
_READERS = {
    "backbone": "pretrain",
    "pretrain": "pretrain",
    "num_clusters": "embed",  # pretraining only logs a figure that depends on it
    "embed": "embed",
    "self": "self",
    "reliable": "reliable",
    "semi": "semi",
    "words": "name",
}
_NEIGHBOR_COUNTS = ("self.neighbors.num_neighbors", "reliable.num_neighbors")
_ALWAYS_EMBED = (*_NEIGHBOR_COUNTS, "self.input_scale")
_VIEWS = ("self.weak", "self.strong", "self.cached_views")


def _reader(option: str, *, views_cached: bool, words_guide: bool) -> str:
    """Name the first stage that reads an option."""
    if words_guide and option.startswith("words."):
        return "self"
    if option.startswith("self.sic.unit_features"):
        return "embed"
    if option.startswith(_ALWAYS_EMBED) or (views_cached and option.startswith(_VIEWS)):
        return "embed"
    return _READERS.get(option.partition(".")[0], "images")


def _changes(there: RunConfig, asked: RunConfig) -> dict[str, tuple[int, str]]:
    """Say which options differ: the place of the first stage that reads each, and how."""
    both = [config.self_labeling for config in (there, asked)]
    caches = any(section.cached_views is not None for section in both)
    guided = any(section.objective == "sic" for section in both)
    found = {
        option: (_ORDER.index(_reader(option, views_cached=caches, words_guide=guided)), text)
        for option, text in differences(there.as_dict(), asked.as_dict()).items()
    }
    if "num_clusters" in found and asked.num_clusters > there.num_clusters:
        # More clusters ask for no more neighbours than were found, nearest first.
        found["num_clusters"] = (_ORDER.index("self"), found["num_clusters"][1])
    return found


def heads_are_begun(run: RunDirectory) -> bool:
    """Tell whether clustering heads were trained in a run directory, or begun."""
    return next(stage for stage in STAGES if stage.name == "self").is_begun(run)


def _is_fixed(run: RunDirectory, reader: int, redone_from: str | None) -> bool:
    """Tell whether a stage from this one on is finished or begun, and stays so."""
    last = len(_ORDER) if redone_from is None else _ORDER.index(redone_from)
    return any(
        stage.is_begun(run)
        for stage in STAGES[reader:last]
        if stage.name == "images" or stage.trains
    )


def open_run(path: Path, config: RunConfig, *, redone_from: str | None = None) -> RunDirectory:
    """Open the run directory of a configuration, or make it.

    Options that no finished stage has read may differ from those the folder was made with: one
    pretraining serves for heads of several kinds, one after the other.

    Args:
        path: The folder.
        config: The configuration.
        redone_from: The first stage that will be done again, with all that follow; None for none.

    Returns:
        The run directory, as it was.

    Raises:
        UserError: If a finished stage was made with other options; it lists them.
    """
    if not RunDirectory.holds_run(path):
        run = RunDirectory.create(path, config.as_dict())
        write_json(path / "environment.json", environment(config))
        return run
    run = RunDirectory(path)
    found = {
        option: (reader, text)
        for option, (reader, text) in _changes(read_run_config(path), config).items()
        if _is_fixed(run, reader, redone_from)
    }
    if found:
        lines = "\n".join(f"  {text}" for _, text in found.values())
        first = STAGES[min(reader for reader, _ in found.values())]
        again = f", or do it again from there: spice {first.command} --redo"
        again = "" if first.name == "images" else again
        raise UserError(
            f"{path} was made with another configuration:\n{lines}\n"
            f"Name another folder with --run-dir, or ask for the same{again}."
        )
    return run


def chosen_stages(config: RunConfig, commands: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages of some commands that this configuration has.

    Args:
        config: The configuration.
        commands: The commands: pretrain, self, semi, eval, export.

    Returns:
        The stages, in order.
    """
    asked = set(commands)
    left_out = set()
    if config.data.source == "embeddings":
        left_out.add("pretrain")
        if "self" in asked:
            asked.add("pretrain")  # whose other stage, the reading of the source, comes first here
    if config.data.protocol != "split":
        left_out.add("test")
    if config.data.sample is None:
        left_out.add("sort")
    if not config.semi.enabled:
        left_out.add("semi")
    return tuple(s for s in STAGES if s.command in asked and s.name not in left_out)


def _first_redone(path: Path, config: RunConfig, stages: Sequence[Stage]) -> Stage | None:
    """Return the stage that --redo begins with; embeddings that are still right are kept."""
    trained = [stage for stage in stages if stage.trains]
    if not trained:
        return None
    if trained[0].name == "embed" and _embeddings_hold(path, config):
        return trained[1]
    return trained[0]


def _embeddings_hold(path: Path, config: RunConfig) -> bool:
    """Tell whether embeddings are there, undamaged, and made with the options asked for."""
    if not RunDirectory.holds_run(path):
        return False
    readers = [reader for reader, _ in _changes(read_run_config(path), config).values()]
    if any(reader <= _ORDER.index("embed") for reader in readers):
        return False
    try:
        RunDirectory(path).read("embeddings", written_by="self")
    except UserError:
        return False
    return True


def _refuse_finished(run: RunDirectory, stages: Sequence[Stage]) -> None:
    """Without leave to continue or redo, touch nothing that took long to make."""
    there = [stage.name for stage in stages if stage.trains and stage.is_begun(run)]
    if there:
        raise UserError(
            f"{run.path} already holds {', '.join(there)} (finished or begun). Continue with "
            "--resume (in Python, resume=True), which skips what is finished, or name another "
            "folder with --run-dir."
        )


def _refuse_before_semi(run: RunDirectory, config: RunConfig, stages: Sequence[Stage]) -> None:
    """Name both ways on if heads are to be judged and SPICE-Semi has not run."""
    names = {stage.name for stage in stages}
    if not names & set(_JUDGES) or "semi" in names or not config.semi.enabled:
        return
    if run.has("heads") and not run.has("classifier"):
        raise UserError(
            f"{run.path} holds no classifier yet: run `spice semi --run-dir {run.path} --resume` "
            "first, or take the heads as they are with --set semi.enabled=false."
        )


def _forget_from(run: RunDirectory, first: Stage) -> None:
    """Remove a stage's artifact, all later ones, and what was published of them."""
    _forget(run, STAGES[STAGES.index(first) :])


def _forget(run: RunDirectory, stages: Sequence[Stage]) -> None:
    """Remove what some stages left, and what was published of a run with another beginning."""
    run.must_be_there()
    for stage in stages:
        run.discard(stage.artifact)
        for phase in (stage.name, *stage.later_phases):
            shutil.rmtree(run.checkpoints / phase, ignore_errors=True)
            run.forget_metrics(phase, from_epoch=0)
    for name in (*PUBLISHED, ASSIGNMENTS["parquet"]):
        (run.path / name).unlink(missing_ok=True)
    shutil.rmtree(run.path / "figures", ignore_errors=True)


def _sweep(run: RunDirectory, screen: Screen) -> None:
    """Remove what killed commands left, and checkpoints that cannot be gone on with."""
    run.sweep()
    remove_unnoted_export(run)
    if finish_commit(run):
        screen.say("The update that was interrupted is in place now.")
    for stage in STAGES:
        for phase in (stage.name, *stage.later_phases):
            folder = run.checkpoints / phase
            if run.has(stage.artifact):  # it was killed between its artifact and this
                shutil.rmtree(folder, ignore_errors=True)
            for name in discard_damaged(folder):
                screen.warn(
                    f"the checkpoint {name} of {phase} was damaged, or copied there from another "
                    "place. It is removed; the stage goes on without it."
                )
    run.sweep()


def _refuse_damaged(run: RunDirectory, stages: Sequence[Stage]) -> None:
    """Before anything is removed, check what these stages will be made from.

    Raises:
        UserError: If an artifact of an earlier stage is damaged; it says how to repair it.
    """
    first = min((STAGES.index(stage) for stage in stages), default=0)
    for stage in STAGES[:first]:
        if run.has(stage.artifact):
            run.read(stage.artifact, written_by=stage.command)


class History:
    """A run directory as one command finds it: what it skips, and what it does.

    Args:
        run: The run directory.
        stages: The stages of the command.
        judge_again: Whether evaluation and export are done though they are there.
        screen: Where things are said.
        damage: What is damaged and will be made again.
    """

    def __init__(
        self,
        run: RunDirectory,
        stages: Sequence[Stage],
        *,
        judge_again: bool = True,
        screen: Screen | None = None,
        damage: Sequence[Damage] = (),
    ) -> None:
        self.run = run
        self._stages = {stage.name: stage for stage in stages}
        self._judge_again, self._screen = judge_again, screen or silent_screen()
        self._damage = {found.artifact: found for found in damage}

    @classmethod
    def begin(
        cls,
        path: Path,
        config: RunConfig,
        *,
        commands: Sequence[str],
        resume: bool = False,
        redo: bool = False,
        screen: Screen | None = None,
    ) -> History:
        """Open a run directory for some commands, and forget what they do again.

        Args:
            path: The run directory, made if it does not exist.
            config: The configuration.
            commands: The commands whose stages run.
            resume: Skip what is finished, continue what was interrupted, make what is damaged
                again.
            redo: Do these stages again and forget what later ones made of them.
            screen: Where things are said; None for warnings alone.

        Raises:
            UserError: If the folder holds something else, a finished stage was made with other
                options, a stage is finished and neither `resume` nor `redo` is given, or what the
                stages are made from is damaged.
        """
        screen = screen or silent_screen()
        stages = chosen_stages(config, commands)
        first = _first_redone(path, config, stages) if redo else None
        run = open_run(path, config, redone_from=None if first is None else first.name)
        _sweep(run, screen)
        if not resume and not redo:
            _refuse_finished(run, stages)
        _refuse_before_semi(run, config, stages)
        _refuse_damaged(run, stages if first is None else [first])
        if first is not None:
            _forget_from(run, first)
        keep_configuration(run, config)
        keep_environment(run, config)
        damage = _damage_of(run, stages, screen) if resume else ()
        return cls(run, stages, judge_again=not resume, screen=screen, damage=damage)

    @classmethod
    def mend(cls, path: Path, config: RunConfig, *, screen: Screen | None = None) -> History:
        """Open a run directory to make again what of it is damaged, and nothing else.

        Args:
            path: The run directory.
            config: Its configuration.
            screen: Where things are said; None for warnings alone.
        """
        screen, run = screen or silent_screen(), RunDirectory(path)
        there = {stage.name for stage in STAGES if run.has(stage.artifact)}
        _sweep(run, screen)
        keep_environment(run, config)
        damage = _damage_of(run, STAGES, screen)
        there |= {stage.name for stage in STAGES if stage.artifact in {d.artifact for d in damage}}
        stages = [stage for stage in STAGES if stage.name in there]
        return cls(run, stages, judge_again=False, screen=screen, damage=damage)

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands whose stages run."""
        return tuple(dict.fromkeys(stage.command for stage in self._stages.values()))

    @property
    def is_damaged(self) -> bool:
        """Whether something has to be made again."""
        return bool(self._damage)

    def has_chosen(self, name: str) -> bool:
        """Tell whether a stage belongs to the command."""
        return name in self._stages

    def will_run(self, name: str) -> bool:
        """Tell whether a stage belongs to the command and has something to do."""
        stage = self._stages.get(name)
        return stage is not None and (
            not self.run.has(stage.artifact) or stage.artifact in self._damage
        )

    def run_stage(self, name: str, work: Callable[[], object]) -> bool:
        """Do a stage, unless it is finished or does not belong to the command.

        Args:
            name: The stage.
            work: Does it and writes its artifact.

        Returns:
            Whether it was done.
        """
        stage = self._stages.get(name)
        if stage is None:
            return False
        damage = self._damage.pop(stage.artifact, None)
        repeated = self._judge_again and name in _JUDGES
        if self.run.has(stage.artifact) and not repeated and damage is None:
            self._screen.detail(f"{name}: already there.")
            return False
        if stage.trains and damage is None:
            # A report made before, of the heads alone, would pass for one of what comes now.
            _forget_from(self.run, STAGES[STAGES.index(stage) + 1])
        began = time.monotonic()
        work()
        self.run.add_time(name, time.monotonic() - began)
        if damage is not None:
            self._settle(stage, damage)
        return True

    def _settle(self, stage: Stage, damage: Damage) -> None:
        """Compare what was made again with what was there; forget what it no longer belongs to."""
        if self.run.digest(stage.artifact) in damage.known:
            self._screen.say(f"{stage.name}: made again, the same to the byte.")
            return
        names = dependents(stage.artifact)
        later = [other for other in STAGES if other.artifact in names and other.is_begun(self.run)]
        if not later:
            self._screen.say(f"{stage.name}: made again.")
            return
        self._screen.say(f"{stage.name}: made again, and not the same to the byte.")
        _forget(self.run, later)
        for other in later:
            self._damage.pop(other.artifact, None)
        listed = ", ".join(other.name for other in later)
        not_here = [other.name for other in later if other.name not in self._stages]
        advice = f" Go on with `spice run --resume --run-dir {self.run.path}`." if not_here else ""
        self._screen.warn(f"what was made of it is made again as well: {listed}.{advice}")


def _damage_of(run: RunDirectory, stages: Sequence[Stage], screen: Screen) -> list[Damage]:
    """Look for damage, write damaged manifests of whole files again, and say what is left."""
    found = []
    for damage in find_damage(run, [stage.artifact for stage in stages]):
        if damage.reason.startswith("The manifest") and run.mend_manifest(
            damage.artifact, damage.known
        ):
            screen.say(f"{damage.artifact}: its files are whole; its manifest is written again.")
        else:
            found.append(damage)
    by_artifact = {stage.artifact: stage for stage in STAGES}
    times = run.timings()
    for damage in found:
        stage = by_artifact[damage.artifact]
        took = f", about {clock(times[stage.name])}" if stage.name in times else ""
        later = [
            other.name
            for other in STAGES
            if other.artifact in dependents(stage.artifact) and run.has(other.artifact)
        ]
        stays = f" {', '.join(later)} stay if it comes out the same." if later else ""
        screen.say(f"{damage.reason}. {stage.name} is done again{took}.{stays}")
    return found
