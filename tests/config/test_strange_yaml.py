"""YAML from strangers: a list of problems each time, and soon."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from spice_keras.config import load_config
from spice_keras.config.yaml_reader import read_yaml
from spice_keras.errors import UserError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
)
REFUSED = {
    "deep flow": "a: " + "[" * 500 + "]" * 500,
    "deeper flow": "a: " + "{a: " * 12_000,
    "deep block": "\n".join(" " * level + "a:" for level in range(200)),
    "dashes": "- " * 30_000,
    "questions": "? " * 30_000,
    "laughs": LAUGHS,
    "laughs in a value": "data: {path: *x}\n",
    "merges": "a: &a {k: 1}\n" + "\n".join(
        f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]}}" for n in range(9)
    ),
    "circle": "&a [*a]",
    "circle of a key": "&a {b: {*a : 1}}",
    "boolean": "a: !!bool maybe",
    "empty number": "a: !!int ''",
    "no number": "a: !!float many",
    "date": "a: 2020-99-99",
    "timestamp": "a: !!timestamp soon",
    "long number": "a: " + "9" * 5000,
    "long hexadecimal": "a: 0x" + "f" * 5000,
    "wide number": "a: 99999999999999999999",
    "wide hexadecimal": "a: 0x" + "f" * 300,
    "base sixty": "a: " + ":".join(["1"] + ["59"] * 15_000),
    "long fraction": "a: 1." + "0" * 50_000,
    "list as a key": "? [a]\n: b",
    "code": "a: !!python/object/apply:os.system ['true']",
    "long": "a: " + "x" * 70_000,
    "many": "\n".join(f"k{n}: {n}" for n in range(6000)),
    "zero": "a: \0",
    "surrogate": "a: \ud800",
    "two documents": "a: 1\n---\nb: 2",
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", REFUSED)
def test_a_strange_text_is_refused_in_a_few_words(name: str) -> None:
    with pytest.raises(UserError, match="odd\\.yaml") as raised:
        read_yaml(REFUSED[name], origin="odd.yaml")
    assert len(str(raised.value)) < 700


def test_aliases_and_merges_of_ordinary_size_are_read() -> None:
    text = "a: &a {x: 1, y: [1, 2]}\nb: *a\nc: {<<: *a, x: 3}\n"
    assert read_yaml(text, origin="f") == {
        "a": {"x": 1, "y": [1, 2]},
        "b": {"x": 1, "y": [1, 2]},
        "c": {"x": 3, "y": [1, 2]},
    }
    numbers = "[0x1F, 0o7, 1_000, 1e-4, -1.5, 9223372036854775807]"
    assert read_yaml(numbers, origin="f") == [31, "0o7", 1000, 1e-4, -1.5, 2**63 - 1]


@pytest.mark.parametrize(
    "setting",
    [
        ".".join(string.ascii_lowercase) + "=1",
        ".".join("a" * 5000) + "=1",
        "seed=" + "[" * 500,
        "seed=!!bool maybe",
        "seed=" + "9" * 5000,
        "seed=\ud800",
        "seed=&a [*a]",
        "name=" + "x" * 5000,
        "x" * 5000 + "=1",
    ],
)
def test_a_strange_setting_is_refused_in_a_few_words(setting: str) -> None:
    with pytest.raises(UserError) as raised:
        load_config(settings=[setting])
    assert len(str(raised.value)) < 900


def test_many_problems_are_listed_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("\n".join(f"k{n}: {n}" for n in range(500)))
    with pytest.raises(UserError) as raised:
        load_config(str(path))
    first, *lines = str(raised.value).splitlines()
    assert first.endswith("has at least 30 problems:")
    assert len(lines) == 30


def test_a_number_that_python_does_not_write_is_a_problem() -> None:
    with pytest.raises(UserError, match="Received: a number of thousands of digits"):
        load_config(overrides={"seed": 10**5000})


@pytest.mark.parametrize(
    "pair", ["[1]", "[5, 1]", "[0, 0]", "[0, .inf]", "[.nan, 1]", "5", "[a, b]"]
)
def test_a_range_is_two_numbers_in_order(pair: str) -> None:
    with pytest.raises(UserError, match=r"data\.range"):
        load_config(settings=[f"data.range={pair}"])


def test_a_range_is_read() -> None:
    config = load_config(settings=["data.range=[0, 4095]"])
    assert config.data.range == (0.0, 4095.0)
    assert load_config(base=config.as_dict()) == config
