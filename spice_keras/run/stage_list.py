"""The stages in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

UNTRAINED = {"images", "test", "eval", "export"}
"""Stages that take nobody long to do again."""


@dataclass(frozen=True)
class Stage:
    """One stage: what runs it, and the artifact that shows it is finished.

    Attributes:
        name: As in messages and timings.
        artifact: What it leaves in the run directory.
        module: Where in `spice_keras.stages` its function lives, imported when needed.
        function: The function, which takes the context.
        command: The command it belongs to.
        later_phases: Names of further fits of it, in checkpoints and logs.
    """

    name: str
    artifact: str
    module: str
    function: str
    command: str
    later_phases: tuple[str, ...] = ()

    def load(self) -> Callable[[Any], Any]:
        """Import the stage's function."""
        module = import_module(f"spice_keras.stages.{self.module}")
        function: Callable[[Any], Any] = getattr(module, self.function)
        return function


STAGES = (
    Stage("images", "images", "ingest", "ingest", "pretrain"),
    Stage("pretrain", "encoder", "pretrain", "pretrain", "pretrain"),
    Stage("embed", "embeddings", "embed", "embed", "self"),
    Stage("self", "heads", "self_label", "self_label", "self", ("refine",)),
    Stage("reliable", "reliable", "reliable", "select_reliable", "self"),
    Stage("semi", "classifier", "semi", "semi", "semi"),
    Stage("test", "test", "held_out", "classify_test", "eval"),
    Stage("eval", "evaluation", "evaluate", "evaluate", "eval"),
    Stage("export", "export", "export", "export", "export"),
)
