"""docs/run-directory.md describes every file that a run leaves."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from spice_keras.run import networks, store
from tests.integration.conftest import Finished
from tests.integration.tiny import ROOT

PAGE = (ROOT / "docs" / "run-directory.md").read_text("utf-8")
_NAME = re.compile(r"`([\w.-]+)`")
_FILE = re.compile(r"[\w-]+\.(?:npy|npz|json|h5)")


def described_artifacts() -> dict[str, set[str]]:
    """The files of each artifact, from the page's table; an empty first cell repeats the last."""
    section = PAGE.split("\n## Artifacts\n")[1].split("\n## ")[0]
    found: dict[str, set[str]] = defaultdict(set)
    artifact = ""
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and "`" in cells[3]:
            artifact = cells[1].strip("`") or artifact
            found[artifact] |= set(_NAME.findall(cells[3]))
    return found


def test_every_file_of_a_finished_run_is_described(finished: Finished) -> None:
    artifacts, names = described_artifacts(), set(_NAME.findall(PAGE))
    listed = set(re.findall(r"^  ([\w.]+)", PAGE, re.MULTILINE))
    files = [path.relative_to(finished.run) for path in finished.run.rglob("*") if path.is_file()]
    assert len(files) > 40
    for file in files:
        match file.parts:
            case (name,):
                assert name in listed, file
            case ("artifacts", artifact, name):
                assert name in artifacts[artifact] | {"manifest.json"}, file
            case ("figures", _):
                stem = re.sub("^training_(pretrain|self|refine|semi)$", "training_STAGE", file.stem)
                assert stem in names, file
            case _:
                raise AssertionError(f"{file}: the page knows no such folder")


def test_files_that_only_some_runs_leave_are_described() -> None:
    artifacts = set.union(*described_artifacts().values())
    for module in (store, networks):
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        names = {text for text in texts if isinstance(text, str) and _FILE.fullmatch(text)}
        assert names
        assert names <= artifacts, names - artifacts


def test_every_described_artifact_is_one() -> None:
    kinds = (
        store.Items, networks.Encoder, store.Embeddings, store.Heads, store.Reliable,
        store.Classifier, store.Names, store.Decisions, store.Evaluation, store.Export,
    )  # fmt: skip
    assert described_artifacts().keys() - {"test", "sorted"} == {kind.name for kind in kinds}
