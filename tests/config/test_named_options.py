"""Every option that a text of the package names exists: in the configuration, or in the command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel

from spice_keras.cli import main
from spice_keras.config.schema import RunConfig

_PACKAGE = Path(__file__).resolve().parents[2] / "spice_keras"
_HOLE = "\0"  # what an f-string fills in
_SECTIONS = [
    field.alias or name
    for name, field in RunConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
]
_OPTION = re.compile(rf"(?<![\w./])(?:{'|'.join(_SECTIONS)})\.[a-z_{_HOLE}]+(?:\.[a-z_{_HOLE}]+)*")
_SET = re.compile(rf"--set ([\w.{_HOLE}]+)")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Other programs' options, files, and the variables of a style sheet.
_FOREIGN = re.compile(
    r"pip install [^`]*|ray start [^`]*"
    r"|--porcelain|--untracked-files|\b\w+\.(?:json|npz|pkl|noun)\b|\ba\.b\b"
    r"|^--(?:paper|ink|muted|grid|pale|faint|light|curve-\d)$"
)


def _texts(path: Path) -> Iterator[str]:
    """Every string of a file, an f-string as one with holes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node)}
            yield "".join(
                part.value if isinstance(part, ast.Constant) else _HOLE  # type: ignore[misc]
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            yield str(node.value)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models(part)]


def _is_option(path: str) -> bool:
    """Whether the configuration has an option, in any of the policies a place may hold."""
    models: list[type[BaseModel]] = [RunConfig]
    for key in path.split("."):
        fields = [
            field
            for model in models
            for name, field in model.model_fields.items()
            if key == (field.alias or name)
        ]
        if not fields:
            return False
        models = [model for field in fields for model in _models(field.annotation)]
    return True


def _flags() -> set[str]:
    commands = [main, *main.commands.values()]
    options = (p for command in commands for p in command.params if isinstance(p, click.Option))
    return {"--help", "--version"} | {name for option in options for name in option.opts}


def _wrong(text: str) -> list[str]:
    """What a text names that does not exist, or that it puts together from pieces."""
    text = _FOREIGN.sub("", text)
    named = [*_OPTION.findall(text), *_SET.findall(text)]
    wrong = [name for name in named if name != _HOLE and not _is_option(name.strip("."))]
    return wrong + [flag for flag in _FLAG.findall(text) if flag not in _flags()]


@pytest.mark.parametrize(
    "path", sorted(_PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(_PACKAGE))
)
def test_every_option_that_is_named_exists(path: Path) -> None:
    assert [(text, wrong) for text in _texts(path) if (wrong := _wrong(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "Lower it with --set refine.learning_rate=0.1.",
        "see self.neighbours.epochs",
        "set semi.weak.zooom to 1",
        "Add --cluster 3.",
        f"--set {_HOLE}.learning_rate=...",
    ],
)
def test_what_does_not_exist_would_be_seen(text: str) -> None:
    assert len(_wrong(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "--set self.neighbors.epochs=3 --run-dir runs/x, or semi.weak.zoom",
        f"--set {_HOLE}: an option",
        "pip install --force-reinstall 'spice-keras[hub]'",
        "data/labels.py, models.semi.x, reliable.npz",
        "--set a.b=VALUE",
    ],
)
def test_what_exists_passes(text: str) -> None:
    assert _wrong(text) == []
