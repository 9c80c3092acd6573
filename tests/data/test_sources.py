from __future__ import annotations

import subprocess
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import given

from spice_keras.config import load_config
from spice_keras.data.sources import DataSource, one_line_id, source_class
from spice_keras.errors import UserError
from spice_keras.options import SOURCES, SourceKind

NAMES = st.text(
    st.characters(exclude_characters="/\0") | st.sampled_from("\n\udcff\udc80\\nu\u2028")
)


@pytest.mark.parametrize("name", SOURCES)
def test_every_name_opens_a_source_of_its_own(name: str) -> None:
    found = source_class(name)
    assert issubclass(found, DataSource)
    assert sum(source_class(other) is found for other in SOURCES) == 1
    assert "read_labels" in vars(found), "a source says itself what labels it has"


def test_what_is_registered_can_be_configured_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"data.source": "mine", "data.path": "x"}
    with pytest.raises(UserError, match="no source of this name.* " + ", ".join(SOURCES)):
        load_config(overrides=asked)
    monkeypatch.setitem(SOURCES, "mine", SourceKind("mine:Mine"))
    assert load_config(overrides=asked | {"data.test_path": "y"}).data.source == "mine"
    monkeypatch.setitem(SOURCES, "mine", SourceKind("mine:Mine", takes_path=False, parts_by=None))
    with pytest.raises(UserError, match="the source mine takes no path"):
        load_config(overrides=asked)
    with pytest.raises(UserError, match=r"belongs to the source .*folder"):
        load_config(overrides={"data.source": "mine", "data.test_path": "y"})


def test_a_class_that_is_not_a_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "mine", SourceKind("pathlib:Path"))
    with pytest.raises(TypeError, match=r"'mine' must be a subclass of .*DataSource"):
        source_class("mine")


def test_no_source_starts_tensorflow_or_scikit_learn_by_being_counted() -> None:
    code = (
        "import sys; from spice_keras.config import load_config;"
        "from spice_keras.run.sources import count_sources;"
        "tfds = {'data.source': 'tfds', 'data.path': 'cifar10'};"
        "assert count_sources(load_config(overrides=tfds).data) is None;"
        "assert count_sources(load_config('digits').data).total == 1797;"
        "print([name for name in ('tensorflow', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@given(name=NAMES)
def test_ids_are_one_line_of_utf8(name: str) -> None:
    escaped = one_line_id(name)
    assert escaped.encode("utf-8").decode("utf-8") == escaped
    assert len(f"x{escaped}x".splitlines()) == 1


@given(names=st.sets(NAMES))
def test_different_names_have_different_ids(names: set[str]) -> None:
    assert len({one_line_id(name) for name in names}) == len(names)


def test_ordinary_names_stay_as_they_are() -> None:
    for name in (
        "cat/x 1.jpg",
        "\u00e9t\u00e9.png",
        "\u5199\u771f\u3000.png",
        "\U0001f468\u200d\U0001f469.gif",
    ):
        assert one_line_id(name) == name
