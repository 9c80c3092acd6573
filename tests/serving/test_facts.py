"""spice.json: what an older version wrote is read, anything malformed is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spice_keras.errors import UserError
from spice_keras.serving.facts import newest_version, read_facts

_GOOD: dict[str, Any] = {"num_clusters": 2, "image_size": 4, "fit": "crop", "max_pixels": 10}


def _written(folder: Path, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"")
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "spice.json").write_text(text)
    return folder


def test_what_older_versions_wrote_is_read(tmp_path: Path) -> None:
    facts = read_facts(_written(tmp_path, _GOOD))
    expected = {"image_size": 4, "fit": "crop", "max_pixels": 10, "levels": None}
    assert facts.decoding() == expected
    assert not facts.of_embeddings
    older = {"num_clusters": 2, "names": ["", ""], "num_features": 3}
    assert read_facts(_written(tmp_path, older)).of_embeddings


_WRONG = [
    "", "{", "[]", "null", "3", '"text"', "{}", '{"num_clusters": 1e400}', '{"a":' * 5000,
    _GOOD | {"num_clusters": "2"}, _GOOD | {"num_clusters": 2.5}, _GOOD | {"num_clusters": True},
    _GOOD | {"image_size": 0}, _GOOD | {"image_size": 10**9}, _GOOD | {"fit": "pad"},
    _GOOD | {"max_pixels": None}, _GOOD | {"names": "ab"}, _GOOD | {"names": ["a"]},
    _GOOD | {"names": [1, 2]}, _GOOD | {"num_features": 4}, _GOOD | {"other": 1},
    *(_GOOD | {"levels": {"integers": pair}} for pair in (
        5, [1], [0, 10**400], [0.0, float("inf")], [3, 1], "ab", [0.0, 5e-324], [[], 1])),
    _GOOD | {"unsure_below": 2.0}, _GOOD | {"unsure_below": "nan"}, {"num_clusters": 2},
]  # fmt: skip


@pytest.mark.parametrize("content", _WRONG, ids=range(len(_WRONG)))
def test_malformed_facts_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(UserError, match=r"`spice export` did not write it: its spice\.json"):
        read_facts(_written(tmp_path, content))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([*_GOOD, "names", "unsure_below", "num_features"]), _JSON)
def test_any_value_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = _written(tmp_path_factory.getbasetemp() / "fuzzed-facts", _GOOD | {key: value})
    try:
        assert read_facts(folder).num_clusters >= 1
    except UserError as error:
        if len(str(error)) > 1000:
            raise


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a SavedModel; `spice export` writes"):
        read_facts(tmp_path)


def test_missing_facts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_facts(tmp_path)


def test_the_newest_version_is_the_largest_number(tmp_path: Path) -> None:
    for name in ("1", "9", "10", "draft", "11"):
        _written(tmp_path / name, _GOOD)
    (tmp_path / "11" / "saved_model.pb").unlink()
    assert newest_version(tmp_path) == tmp_path / "10"
    assert newest_version(tmp_path / "gone") is None
