"""What is released: no file is left behind, and every licence fits."""

from __future__ import annotations

import io
import tarfile
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import click
import click.testing
import pytest
from packaging.requirements import Requirement

from tests.integration.tiny import ROOT
from tools import licences, newest
from tools.dist import missing_files, shipped_files
from tools.licences import asked_for, fits, licence, needed


def test_the_package_has_more_than_its_code() -> None:
    files = shipped_files(ROOT)
    for name in ("cli.py", "py.typed", "report/template.html", "words/wordnet.tsv"):
        assert f"spice_keras/{name}" in files
    assert "spice_keras/configs/digits.yaml" in files
    assert not [name for name in files if name.endswith(".pyc")]


def test_a_file_that_was_left_behind_is_named(tmp_path: Path) -> None:
    wheel, sdist = tmp_path / "a.whl", tmp_path / "a.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("spice_keras/cli.py", "")
        archive.writestr("spice_keras/configs/digits.yaml", "")
    with tarfile.open(sdist, "w:gz") as archive:
        for name in ("a-1/spice_keras/cli.py", "a-1/spice_keras/py.typed", "a-1/configs/x.yaml"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    expected = {"spice_keras/cli.py", "spice_keras/configs/digits.yaml", "spice_keras/py.typed"}
    assert missing_files(wheel, sdist, expected) == [
        "a.whl lacks spice_keras/py.typed",
        "a.tar.gz lacks configs/digits.yaml",
    ]


@pytest.mark.parametrize(
    ("text", "good"),
    [("MIT", True), ("Apache Software License", True), ("BSD-3-Clause AND Zlib", True),
     ("GPL-3.0-only OR MIT", True), ("PSF-2.0", True), ("Mozilla Public License 2.0", True),
     ("GPL-3.0-only", False), ("MIT AND GPL-2.0", False), ("LGPL-2.1", False), ("", False),
     ("GNU Affero General Public License v3", False), ("Proprietary", False)],
)  # fmt: skip
def test_which_licences_fit(text: str, good: bool) -> None:
    assert fits(text) == good


def _installed(folder: Path, metadata: str, text: str = "") -> Distribution:
    place = folder / "a-1.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: a\nVersion: 1\n{metadata}")
    (place / "LICENSE").write_text(text)
    (place / "RECORD").write_text("a-1.dist-info/LICENSE,,\n")
    return Distribution.at(place)


@pytest.mark.parametrize(
    ("metadata", "text", "expected"),
    [
        ("License-Expression: MIT\n", "", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License\n", "", "BSD License"),
        ("Classifier: License :: OSI Approved\nLicense: ISC\n", "", "ISC"),
        ("License: UNKNOWN\n", "the Apache License, Version 2.0", "Apache-2.0, says its LICENSE"),
        ("", "All rights reserved", ""),
    ],
)
def test_what_a_package_says_of_its_licence(
    tmp_path: Path, metadata: str, text: str, expected: str
) -> None:
    assert licence(_installed(tmp_path, metadata, text)) == expected


def test_what_is_needed_directly_or_not() -> None:
    found = needed(asked_for(["serve"]))
    assert {"numpy", "tensorflow", "grpcio", "uvicorn"} <= found.keys()
    assert "faiss-cpu" not in found
    assert needed(["no-such-package-of-ours>=1"]) == {"no-such-package-of-ours": None}
    assert needed(["numpy; python_version < '3'"]) == {}
    with pytest.raises(click.ClickException, match="No extra is called nothing"):
        asked_for(["nothing"])


def test_what_does_not_fit_is_named_and_every_version_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = _installed(tmp_path / "good", "License-Expression: MIT\n")
    bad = _installed(tmp_path / "bad", "License-Expression: GPL-3.0-only\n")
    found = {"good": good, "bad": bad, "gone": None}
    monkeypatch.setattr(licences, "needed", lambda requirements: found)
    pins = tmp_path / "build" / "pins.txt"
    ended = click.testing.CliRunner().invoke(licences.main, ["--pins", str(pins)])
    assert ended.exit_code == 1
    assert "good 1: MIT\nbad 1: GPL-3.0-only\n" in ended.output
    assert "These do not fit: bad: GPL-3.0-only; gone: not installed" in ended.output
    assert pins.read_text() == "good==1\nbad==1\n"
    found.clear()
    found["good"] = good
    assert click.testing.CliRunner().invoke(licences.main, []).exit_code == 0


@pytest.mark.parametrize(
    ("asked", "taken"),
    [("click>=8.2,<9", "click>=8.2"), ("keras-cv==0.9.0", "keras-cv>=0.9.0"), ("a~=1.4", "a>=1.4"),
     ("a>1,<=2,!=1.5", "a!=1.5,>1"), ("a[b]>=1,<2", "a[b]>=1"), ("fsspec", "fsspec"),
     ('a<2; python_version < "3.12"', 'a; python_version < "3.12"')],
)  # fmt: skip
def test_an_upper_bound_is_left_out(asked: str, taken: str) -> None:
    assert newest.without_upper_bounds(Requirement(asked)) == taken


def test_every_bound_is_tried_those_of_extras_too() -> None:
    lines = asked_for(["dev"])
    assert len(lines) == len(set(lines))
    asked = [Requirement(line) for line in lines]
    names = {line.name for line in asked}
    assert {"tensorflow", "starlette", "mkdocs", "pytest", "mypy"} <= names
    assert "spice-keras" not in names
    newer = {"tensorflow": "99.1", "numpy": "2.0", "mypy": "99.0rc1"}
    assert [line.split()[:2] for line in newest.beyond_bounds(asked, newer)] == [
        ["mypy", "99.0rc1"],
        ["tensorflow", "99.1"],
    ]


def test_releases_are_read_from_what_pip_lists() -> None:
    listed = '[{"name": "PyYAML", "version": "6.0.2"}, {"name": "tf_keras", "version": "2.19.0"}]'
    assert newest.installed_releases(listed) == {"pyyaml": "6.0.2", "tf-keras": "2.19.0"}
