"""docs/paper-map.md leads from every step of the paper to code, test and option that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from spice_keras.ablations.rows import ablation_rows
from spice_keras.config import RunConfig
from tests.test_documents import NAME, ROOT

TEXT = (ROOT / "docs" / "paper-map.md").read_text("utf-8")


def rows(section: str) -> list[list[str]]:
    """The cells of a section's tables, heads left out."""
    text = TEXT.split(f"\n## {section}")[1].split("\n## ")[0]
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and set("".join(cells)) != {"-"}:
            found.append(cells)
    return found[1:]


def definitions(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("equation", range(1, 7))
def test_an_equation_is_one_tested_function_that_names_it(equation: int) -> None:
    (row,) = [cells for cells in rows("Equations") if cells[0].startswith(f"Eq. {equation}:")]
    code = [(file, name) for file, name in NAME.findall(row[1]) if "/algorithm/" in file]
    assert code
    docstrings = [
        ast.get_docstring(definitions(ROOT / file)[name]) or "" for file, name in code if name
    ]
    assert any(equation in equations(text) for text in docstrings), row[1]
    tests = [(file, name) for file, name in NAME.findall(row[2]) if name]
    functions = {name for _, name in code}
    assert any(functions & called(ROOT / file, name) for file, name in tests), row[2]


def equations(docstring: str) -> set[int]:
    """The equations of SPICE that a docstring gives as its source: "Eq. 1-2", "Eq. 1 and 3"."""
    source = re.search(r"SPICE \(arXiv 2103\.09382\) Eq\. ([\d, and-]+)", docstring)
    return {int(number) for number in re.findall(r"\d", source[1])} if source else set()


def called(path: Path, test: str) -> set[str]:
    """The names a test calls, and those that functions of its own file call for it."""
    functions, found, open_ones = definitions(path), set(), [test]
    while open_ones:
        for node in ast.walk(functions[open_ones.pop()]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                open_ones += [name] if name in functions and name not in found else []
                found.add(name)
    return found


def test_every_file_of_the_algorithm_is_on_the_map() -> None:
    mapped = {file for file, _ in NAME.findall(TEXT)}
    for path in (ROOT / "spice_keras" / "algorithm").glob("[a-z]*.py"):
        assert str(path.relative_to(ROOT)) in mapped


def test_every_slow_twin_of_an_equation_is_on_the_map() -> None:
    mapped = {file for file, _ in NAME.findall(TEXT)}
    algorithm = {path.name for path in (ROOT / "spice_keras" / "algorithm").glob("[a-z]*.py")}
    twins = {path.name for path in (ROOT / "tests" / "reference").glob("[a-z]*.py")}
    for name in algorithm & twins:
        assert f"tests/reference/{name}" in mapped, name


def test_every_row_of_the_ablations_is_on_the_map() -> None:
    mapped = {name for cells in rows("Ablations") for name in re.findall(r"`([\w-]+)`", cells[0])}
    assert set(ablation_rows(RunConfig())) == mapped
