"""Every name in the documents exists: files, functions, options, commands, links, Python names."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from spice_keras.augment.policies import POLICIES
from spice_keras.cli import main
from spice_keras.config import RunConfig

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
        ROOT / "benchmarks" / "README.md",
        ROOT / "saved_models" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
SECTIONS = "data|backbone|pretrain|self|reliable|semi|evaluate|export"
NAME = re.compile(r"`((?:spice_keras|tests)/[\w/]+\.py)(?:::([\w.]+))?`")
FILE = re.compile(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|md|yaml|ipynb|svg|png))`")
TARGET = re.compile(r"`make ([a-z-]+)|^make ([a-z-]+) +#", re.MULTILINE)
OPTION = re.compile(rf"(?:`|--set )((?:{SECTIONS})\.(?!npz|json)[a-z_]+(?:\.[a-z_]+)?)(?=[`=])")
COMMAND = re.compile(r"(?:`|^|&& )spice ([a-z]+)\b", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

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
        if "NAME" in file:  # to be chosen by who adds one
            continue
        assert path.is_file(), f"{document.name}: {file}"
        assert not name or name in defined_names(path), f"{document.name}: {file}::{name}"


@every_document
def test_files_exist(document: Path) -> None:
    for file in FILE.findall(document.read_text("utf-8")):
        # What a run leaves is named as it lies there, a file of the package also without its name.
        if not file.startswith(("runs/", "figures/")) and "NAME" not in file:
            places = (ROOT, ROOT / "spice_keras")
            assert any((place / file).is_file() for place in places), f"{document.name}: {file}"


@every_document
def test_targets_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for quoted, typed in TARGET.findall(document.read_text("utf-8")):
        assert (quoted or typed) in targets, f"{document.name}: make {quoted or typed}"


@every_document
def test_python_imports_what_exists_and_calls_it_with_what_it_takes(document: Path) -> None:
    for block in PYTHON.findall(document.read_text("utf-8")):
        tree, imported = ast.parse(block, document.name), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spice_keras"):
                module = import_module(str(node.module))
                for name in node.names:
                    assert hasattr(module, name.name), f"{document.name}: {name.name}"
                    imported[name.name] = getattr(module, name.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in imported:
                name = node.func.id
                taken = inspect.signature(imported[name]).parameters
                for keyword in node.keywords:
                    assert keyword.arg in taken, f"{document.name}: {name}({keyword.arg}=)"


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


def test_every_page_is_on_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").split("\nnav:\n")[1]
    decisions = (ROOT / "docs" / "decisions" / "index.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        listed = decisions if page.parent.name == "decisions" else navigation
        name = page.name if page.parent.name == "decisions" else page.relative_to(ROOT / "docs")
        assert str(name) in listed or str(name) == "index.md", page


@pytest.mark.parametrize("module", ["spice_keras/config/schema.py", "spice_keras/options.py"])
def test_every_option_says_what_it_does(module: str) -> None:
    """The page of the configuration is made of these texts; a section needs none."""
    for kind in ast.parse((ROOT / module).read_text("utf-8")).body:
        if not isinstance(kind, ast.ClassDef) or kind.name.endswith("Spec"):
            continue
        if not {ast.unparse(base) for base in kind.bases} & {"Options", "SelfVariant"}:
            continue
        for option, text in zip(kind.body, [*kind.body[1:], None], strict=True):
            if isinstance(option, ast.AnnAssign):
                section = re.search(r"Config|Options", ast.unparse(option.annotation))
                said = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
                name = ast.unparse(option.target)
                assert said or section or name == "policy", f"{kind.name}.{name}"
