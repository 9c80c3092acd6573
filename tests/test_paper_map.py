"""Every name in the documents exists: files, functions, tests, options, commands, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from spice_keras.augment.policies import POLICIES
from spice_keras.cli import main
from spice_keras.config import RunConfig

ROOT = Path(__file__).parent.parent
PAPER_MAP = ROOT / "docs" / "paper-map.md"
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "saved_models" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
SECTIONS = "data|backbone|pretrain|self|reliable|semi|evaluate|export"
NAME = re.compile(r"`((?:spice_keras|tests)/[\w/]+\.py)(?:::([\w.]+))?`")
OPTION = re.compile(rf"(?:`|--set )((?:{SECTIONS})\.(?!npz|json)[a-z_]+(?:\.[a-z_]+)?)(?=[`=])")
COMMAND = re.compile(r"(?:`|^|&& )spice ([a-z]+)\b", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


@cache
def defined_names(path: Path) -> frozenset[str]:
    """Names a module defines at its top, and the methods of its classes as Class.method."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)}
    return frozenset(names)


def holds_option(values: Any, keys: list[str]) -> bool:
    """Whether a configuration has an option; a policy's place has those of every policy."""
    key, *rest = keys
    if not isinstance(values, Mapping):
        return False
    if "policy" in values:
        return not rest and any(key in options.model_fields for options in POLICIES)
    return key in values and (not rest or holds_option(values[key], rest))


@every_document
def test_names_exist(document: Path) -> None:
    for file, name in NAME.findall(document.read_text("utf-8")):
        path = ROOT / file
        assert path.is_file(), f"{document.name}: {file}"
        assert not name or name in defined_names(path), f"{document.name}: {file}::{name}"


@every_document
def test_options_exist(document: Path) -> None:
    config = RunConfig().as_dict()
    for option in OPTION.findall(document.read_text("utf-8")):
        assert holds_option(config, option.split(".")), f"{document.name}: {option}"


@every_document
def test_commands_exist(document: Path) -> None:
    for command in COMMAND.findall(document.read_text("utf-8")):
        assert command in main.commands, f"{document.name}: spice {command}"


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(CODE_BLOCK.sub("", document.read_text("utf-8"))):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_equation_of_the_paper_is_mapped_to_code_and_test() -> None:
    text = PAPER_MAP.read_text("utf-8")
    for equation in range(1, 7):
        row = re.search(rf"^\| Eq\. {equation}: .*$", text, re.MULTILINE)
        assert row, f"Eq. {equation}"
        files = {file.split("/")[0] for file, _ in NAME.findall(row.group())}
        assert files == {"spice_keras", "tests"}, row.group()


def test_every_file_of_the_algorithm_is_on_the_map() -> None:
    mapped = {file for file, _ in NAME.findall(PAPER_MAP.read_text("utf-8"))}
    for path in (ROOT / "spice_keras" / "algorithm").glob("[a-z]*.py"):
        assert str(path.relative_to(ROOT)) in mapped
