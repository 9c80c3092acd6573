"""The paper's ablations: every row from the same pretraining, over several trials.

A trial is a seed. Its encoder is pretrained once, and each row is a run directory of its own
into which what it shares is hard-linked: images, encoder and embeddings, and for rows that go on
from SPICE-Self its heads too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spice_keras.ablations.rows import Row, ablation_rows
from spice_keras.ablations.table import (
    FIGURES,
    TRIAL_HEADER,
    ablation_markdown,
    summary,
    trial_rows,
)
from spice_keras.config import RunConfig, load_config
from spice_keras.config.loading import check
from spice_keras.config.yaml_reader import read_yaml
from spice_keras.errors import UserError
from spice_keras.files import write_atomically, write_csv, write_json
from spice_keras.pipeline import run_stages
from spice_keras.progress import Screen, silent_screen
from spice_keras.run.configuration import differences, environment
from spice_keras.run.directory import RunDirectory
from spice_keras.run.history import open_run
from spice_keras.run.lock import is_unused, run_lock
from spice_keras.run.storage import explained_storage
from spice_keras.runtime import release_memory, tensorflow_session

_BEGUN = "ablation.yaml"


@dataclass(frozen=True)
class Ablation:
    """Ablations of one configuration.

    Attributes:
        config: The configuration; its seed is the first trial's.
        folder: Where everything lies.
        pretrain_once: Whether all trials share one encoder.
        screen: Where things are said.
        errors: What kept rows from finishing, in order.
    """

    config: RunConfig
    folder: Path
    pretrain_once: bool = False
    screen: Screen = field(default_factory=silent_screen)
    errors: list[str] = field(default_factory=list)

    def begin(self, *, resume: bool) -> None:
        """Make the folder, or check that it holds these ablations.

        Raises:
            UserError: If it holds something else, or is to be continued and holds nothing.
        """
        asked = {**self.config.as_dict(), "pretrain_once": self.pretrain_once}
        path = self.folder / _BEGUN
        if not resume:
            if self.folder.exists() and (not self.folder.is_dir() or not is_unused(self.folder)):
                raise UserError(
                    f"{self.folder} is not empty. Continue ablations with --resume, which skips "
                    "finished rows, or name another folder with --run-dir."
                )
            write_atomically(path, yaml.safe_dump(asked, sort_keys=False).encode())
            write_json(self.folder / "environment.json", environment(self.config))
        elif not path.is_file():
            raise UserError(f"{self.folder} holds no ablations to go on with.")
        else:
            begun = dict(read_yaml(path.read_text("utf-8"), origin=str(path)))
            once = {"pretrain_once": begun.pop("pretrain_once")}
            # Read as a configuration: they may be older than an option.
            there = check(begun, origin=str(path)).as_dict()
            found = differences(there | once, asked)
            if found:
                lines = "\n".join(f"  {line}" for line in found.values())
                raise UserError(
                    f"{self.folder} holds ablations of another configuration:\n{lines}\n"
                    "Name another folder with --run-dir, or ask for the same."
                )

    def finish_row(self, row: Row, trial: int) -> None:
        """Train and score a row, unless that was done before.

        Raises:
            UserError: If it cannot be trained.
        """
        target = self._result(row, trial)
        if target.is_file():
            return
        began = time.monotonic()
        run_row = ablation_rows(self.config)["self"] if row.scored == "kmeans" else row
        figures = self._score(self._trained(run_row, trial), row)
        release_memory()
        facts = {"trial": trial, "seed": self.config.seed + trial, **figures}
        write_json(target, {**facts, "seconds": round(time.monotonic() - began, 2)})

    def _result(self, row: Row, trial: int) -> Path:
        return self._trial(trial) / "results" / f"{row.name}.json"

    def _trial(self, trial: int) -> Path:
        return self.folder / f"trial-{trial + 1}"

    def pretrained(self, trial: int) -> RunDirectory:
        """Make images, encoder and embeddings of a trial.

        Raises:
            UserError: If the data has no labels to judge rows by.
        """
        path = self.folder if self.pretrain_once else self._trial(trial)
        seed = self.config.seed + (0 if self.pretrain_once else trial)
        config = load_config(base=self.config.as_dict(), overrides={"seed": seed})
        run = open_run(path / "pretraining", config)
        if run.has("embeddings"):
            return run
        from spice_keras.run.context import Context
        from spice_keras.stages.embed import embed
        from spice_keras.stages.ingest import ingest
        from spice_keras.stages.labels import read_labels

        context = Context(config, run, self.screen)
        if not run.has("images"):
            ingest(context)
        if read_labels(context) is None:
            raise UserError(
                "Ablations are judged by labels, and this data has none. Give them, for arrays as "
                "`labels` beside the images."
            )
        if config.data.source != "embeddings":
            run_stages(config, run.path, commands=("pretrain",), resume=True, screen=self.screen)
        embed(context)
        return run

    def _trained(self, row: Row, trial: int) -> RunDirectory:
        """Run a row's training stages, from what it shares with others on."""
        overrides = {**row.options, "seed": self.config.seed + trial}
        config = load_config(base=self.config.as_dict(), overrides=overrides)
        run = open_run(self._trial(trial) / row.name, config)
        pretrained = self.pretrained(trial)
        for name in ("images", "encoder", "embeddings"):
            if name != "embeddings" or not _other_views(self.config, config):
                run.adopt(name, pretrained)
        if row.after_self:
            run.adopt("heads", self._trained(ablation_rows(self.config)["self"], trial))
        if row.scored == "semi":
            run_stages(config, run.path, commands=("self", "semi"), resume=True, screen=self.screen)
        elif not run.has("heads"):
            self._train_heads(config, run)
        return run

    def _train_heads(self, config: RunConfig, run: RunDirectory) -> None:
        """Run SPICE-Self alone: heads that collapse have no reliable labels, but figures."""
        from spice_keras.run.context import Context
        from spice_keras.stages.embed import embed
        from spice_keras.stages.self_label import self_label

        context = Context(config, run, self.screen)
        if not run.has("embeddings"):
            embed(context)
        self_label(context)

    def _score(self, run: RunDirectory, row: Row) -> dict[str, float | None]:
        from spice_keras.run.configuration import read_run_config
        from spice_keras.run.context import Context
        from spice_keras.run.store import Classifier, Heads
        from spice_keras.stages.held_out import classify_test
        from spice_keras.stages.labels import read_labels
        from spice_keras.stages.scores import against_labels, embedding_kmeans

        context = Context(read_run_config(run.path), run, self.screen)
        if context.config.data.protocol == "split" and not run.has("test"):
            classify_test(context)
        shown = context.reported_parts[0]
        if row.scored == "kmeans":
            clusters = embedding_kmeans(shown)
        else:
            kind: type[Classifier] | type[Heads] = Classifier if row.scored == "semi" else Heads
            clusters = shown.load(kind).clusters
        labels = read_labels(shown)
        if labels is None:
            raise UserError("The labels that were there when the ablations began are gone.")
        figures = against_labels(clusters, labels.values)
        return {name: figures[name] for name in FIGURES}

    def results(self, rows: Sequence[Row], trials: int) -> dict[str, Any]:
        """Collect what is finished, by earlier calls too: the content of ablations.json."""
        found: dict[str, Any] = {}
        asked = {row.name for row in rows}
        for row in ablation_rows(self.config).values():
            paths = [self._result(row, trial) for trial in range(trials)]
            done = [json.loads(path.read_text("utf-8")) for path in paths if path.is_file()]
            if row.name not in asked and not done:
                continue
            facts = {"table": row.table, "title": row.title, "overrides": dict(row.overrides)}
            found[row.name] = {**facts, "paper": row.paper, "trials": done, **summary(done)}
        return {
            "name": self.config.name,
            "seeds": [self.config.seed + trial for trial in range(trials)],
            "pretrain_once": self.pretrain_once,
            "rows": found,
            "errors": self.errors,
        }

    def write(self, results: dict[str, Any]) -> None:
        """Write ablations.json, ablations.md and ablations.csv."""
        write_json(self.folder / "ablations.json", results)
        write_atomically(self.folder / "ablations.md", ablation_markdown(results).encode())
        write_csv(self.folder / "ablations.csv", TRIAL_HEADER, trial_rows(results))


def _other_views(config: RunConfig, row: RunConfig) -> bool:
    """Whether a row needs cached views that the pretraining did not write."""
    ours, theirs = config.self_labeling, row.self_labeling
    same = (ours.cached_views, ours.weak, ours.strong) == (
        theirs.cached_views, theirs.weak, theirs.strong
    )  # fmt: skip
    return theirs.cached_views is not None and not same


def ablate(
    ablation: Ablation, rows: Sequence[Row], *, trials: int, resume: bool = False
) -> dict[str, Any]:
    """Run rows of the paper's ablation tables and tabulate them.

    Args:
        ablation: What is ablated, and where.
        rows: The rows.
        trials: Seeds, from the configuration's on.
        resume: Skip the rows of an interrupted ablation that are finished.

    Returns:
        The content of ablations.json.

    Raises:
        UserError: If the configuration, the data or the folder do not allow it, or no row
            could be finished.

    SPICE (arXiv 2103.09382) Sec. 4, Tables 3 and 4.
    """
    with run_lock(ablation.folder, ablation.screen), explained_storage(ablation.folder):
        ablation.begin(resume=resume)
        with tensorflow_session(precision=ablation.config.precision):
            _finish_rows(ablation, rows, trials)
    results = ablation.results(rows, trials)
    if not any(results["rows"][row.name]["trials"] for row in rows):
        raise UserError(f"No row could be finished. The first: {ablation.errors[0]}")
    return results


def _finish_rows(ablation: Ablation, rows: Sequence[Row], trials: int) -> None:
    """Train and score every row that is not finished; what cannot be trained is noted."""
    for trial in range(trials):
        ablation.pretrained(trial)
        for number, row in enumerate(rows):
            ablation.screen.say(
                f"ablate: trial {trial + 1} of {trials}, {row.title} ({number + 1} of {len(rows)})"
            )
            try:
                ablation.finish_row(row, trial)
            except UserError as error:
                ablation.errors.append(f"{row.name}, trial {trial + 1}: {error}")
                ablation.screen.warn(f"not finished: {ablation.errors[-1]}")
            ablation.write(ablation.results(rows, trials))
