"""The notebook in examples/ runs from the first cell to the last, and is kept without outputs."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.tiny import ROOT

NOTEBOOK = ROOT / "examples" / "from_folder_to_use.ipynb"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def pictures(notebook: nbformat.NotebookNode) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_is_kept_without_outputs() -> None:
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.fixture
def kernel_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the kernel inherits: this checkout, and none of the user's Jupyter settings."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.mark.usefixtures("kernel_environment")
def test_leads_from_a_folder_to_a_sorted_image(tmp_path: Path) -> None:
    notebook, folder = read(), tmp_path / "work"
    folder.mkdir()
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()

    with (folder / "runs" / "shapes" / "assignments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The kind is in the name, which nothing of the package reads: 000-disc.png
    kinds = Counter((row["image"][4:-4], row["cluster"]) for row in rows)
    kind_of = {cluster: kind for (kind, cluster), _ in kinds.most_common(3)}
    right = sum(count for (kind, cluster), count in kinds.items() if kind_of.get(cluster) == kind)
    assert len(rows) == 120
    assert len(set(kind_of.values())) == 3
    assert right > 110
    found = re.search(r"^cluster (\d), confidence ([\d.]+)$", printed(notebook), re.MULTILINE)
    assert found, printed(notebook)
    assert kind_of[found[1]] == "cross"
    assert pictures(notebook) == 4
    assert (folder / "runs" / "shapes" / "report.html").is_file()
