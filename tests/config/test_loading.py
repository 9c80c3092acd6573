"""Loading: files, shipped ones, overrides, and every problem in one message."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spice_keras.config import loading
from spice_keras.config.loading import (
    find_config,
    load_config,
    merge,
    resolve_config,
    shipped_configs,
)
from spice_keras.config.plan import make_plan
from spice_keras.config.schema import RunConfig
from spice_keras.config.settings import Setting, read_setting
from spice_keras.errors import UserError
from spice_keras.options import MocoPolicy, UprightPolicy, WeakPolicy

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def _write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return _write


Write = Callable[[str], str]


def _problems(name: str, **options: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_config(name, **options)
    return str(caught.value).splitlines()


# Shipped configurations


def test_every_file_of_the_folder_is_shipped() -> None:
    files = sorted(path.stem for path in _CONFIGS.iterdir() if not path.name.startswith("."))
    assert list(shipped_configs()) == files
    assert {"digits", "folder"} <= set(files)


@pytest.mark.parametrize("name", sorted(path.stem for path in _CONFIGS.glob("*.yaml")))
def test_every_shipped_configuration_loads_and_plans(name: str) -> None:
    config = load_config(name)
    plan = make_plan(config, 1797 if config.data.source == "digits" else 100_000)
    assert config.name == name
    assert (plan.pretrain.steps > 0) == config.trains_encoder
    assert plan.self_labeling.iterations_per_epoch > 0
    assert (plan.semi.steps > 0) == config.semi.enabled


def test_a_wheel_is_searched_before_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel has the files inside the package, a checkout has them beside it."""
    package = tmp_path / "spice_keras"
    package.mkdir()
    monkeypatch.setattr(loading.resources, "files", lambda name: tmp_path / name)
    beside, inside = tmp_path / "configs", package / "configs"
    for folder in (beside, inside):
        folder.mkdir()
        (folder / "one.yaml").write_text(f"name: {folder.parent.name.replace('_', '-')}\n")
        assert find_config("one") == folder / "one.yaml"


def test_a_wheel_is_told_to_take_the_files_along() -> None:
    project = tomllib.loads((_CONFIGS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"configs": "spice_keras/configs"}


@pytest.mark.parametrize("name", ["digits", "digits.yaml", "configs/digits.yaml"])
def test_a_shipped_one_is_found_by_name_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name).name == "digits.yaml"


def test_an_own_file_comes_before_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.yaml").write_text("seed: 7\n")
    assert load_config("digits.yaml").seed == 7
    assert load_config("digits").seed == 0


@pytest.mark.parametrize("name", ["digit", "elsewhere/digits.yaml", "digits.json", "nothing"])
def test_an_unknown_name_lists_what_is_shipped(name: str) -> None:
    with pytest.raises(UserError, match="No configuration") as caught:
        find_config(name)
    assert "digits" in str(caught.value)
    assert "folder" in str(caught.value)


def test_an_unknown_name_is_met_with_a_near_one() -> None:
    with pytest.raises(UserError, match="Did you mean digits"):
        find_config("digit")


# Files


def test_a_file_states_only_where_it_differs(write: Write) -> None:
    config = load_config(write("pretrain: {epochs: 3}\n"))
    assert config.pretrain.epochs == 3
    assert config.pretrain.temperature == RunConfig().pretrain.temperature
    assert config.name == "mine"


def test_an_empty_file_is_the_defaults(write: Write) -> None:
    assert load_config(write("# nothing\n")) == load_config(overrides={"name": "mine"})


def test_the_name_of_the_file_gives_way_to_a_name_in_it(write: Write) -> None:
    assert load_config(write("name: other\n")).name == "other"


def test_the_name_of_any_file_makes_a_name_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "my best run (2).yaml"
    path.write_text("seed: 1\n")
    assert load_config(str(path)).name == "my-best-run-2"


@pytest.mark.parametrize(
    ("number", "value"), [("1e-4", 1e-4), ("2E3", 2e3), ("1_0e-2", 0.1), ("3.e-1", 0.3)]
)
def test_a_number_with_an_exponent_needs_no_point(write: Write, number: str, value: float) -> None:
    config = load_config(write(f"pretrain: {{weight_decay: {number}}}\n"))
    assert config.pretrain.weight_decay == value
    assert load_config(settings=[f"pretrain.weight_decay={number}"]).pretrain.weight_decay == (
        value
    )


@pytest.mark.parametrize("text", ["1e", "e-4", "1e-", "1e4x", "x1e4"])
def test_what_only_looks_like_an_exponent_stays_a_text(write: Write, text: str) -> None:
    assert load_config(write(f"data: {{split: {text}}}\n")).data.split == text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seed: 1\nname: a\nseed: 2\n", "seed"),
        ("pretrain: {epochs: 1, epochs: 2}\n", "epochs"),
        ("semi:\n  weak:\n    policy: weak\n    policy: moco\n", "policy"),
    ],
)
def test_a_key_that_stands_twice_is_refused(write: Write, text: str, key: str) -> None:
    with pytest.raises(UserError, match=f"the key '{key}' stands twice") as caught:
        load_config(write(text))
    assert "mine.yaml is not valid YAML" in str(caught.value)
    assert "line " in str(caught.value)


def test_a_mapping_can_be_written_once_and_used_twice(write: Write) -> None:
    config = load_config(
        write("self: {weak: &w {policy: upright, zoom: 0.1}, strong: {<<: *w, zoom: 0.3}}\n")
    )
    assert config.self_labeling.weak == UprightPolicy(zoom=0.1)
    assert config.self_labeling.strong == UprightPolicy(zoom=0.3)


@pytest.mark.parametrize(
    "text", ["seed: [\n", "{[1, 2]: 3}\n", "seed: 1\n  name: b\n", "!!python/object:os.system {}\n"]
)
def test_what_is_no_yaml_is_refused(write: Write, text: str) -> None:
    with pytest.raises(UserError, match="is not valid YAML"):
        load_config(write(text))


@pytest.mark.parametrize("text", ["- 3\n", "just words\n", "7\n"])
def test_a_file_without_pairs_is_refused(write: Write, text: str) -> None:
    with pytest.raises(UserError, match="must hold `key: value` pairs"):
        load_config(write(text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(str(path))


# Problems


def test_all_problems_come_at_once_each_with_its_path(write: Write) -> None:
    path = write(
        """
        sed: 3
        num_clusters: 1
        data: {source: folder, image_size: 4}
        pretrain: {epocs: 3, batch_size: 100, queue_size: 250, views: {policy: upright, rotat: 1}}
        semi: {backbone: {widht: 8}, threshold: high}
        evaluate: 7
        """
    )
    lines = _problems(path, settings=["precision=half"])
    assert lines[0] == f"{path} has 10 problems:"
    assert len(lines) == 12
    assert lines[11].startswith("precision=half: Input should be ")
    expected = [
        "sed: there is no such option. Did you mean seed?",
        "pretrain.epocs: there is no such option. Did you mean epochs?",
        "pretrain.views.rotat: there is no such option. Did you mean rotate?",
        "semi.backbone.widht: there is no such option. Did you mean width?",
    ]
    for line in expected:
        assert f"  {line}" in lines
    for start in (
        "num_clusters: ",
        "data.image_size: ",
        "data.path, data.source: the source folder needs a path",
        "pretrain.queue_size, pretrain.batch_size: the queue must be a multiple of the batch",
        "semi.threshold: ",
        "evaluate: ",
    ):
        assert sum(line.startswith(f"  {start}") for line in lines) == 1, start


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("self: {num_head: 3}", "num_heads"),
        ("pretrain: {learning_rat: 0.1}", "learning_rate"),
        ("semi: {strong: {num_op: 3}}", "num_ops"),
        ("reliabel: {}", "reliable"),
        ("data: {imagesize: 32}", "image_size"),
    ],
)
def test_a_near_option_is_offered(write: Write, text: str, hint: str) -> None:
    assert _problems(write(text))[1].endswith(f"there is no such option. Did you mean {hint}?")


@pytest.mark.parametrize("text", ["pretrain: {zzz: 1}", "5: x", "on: x", "semi: {weak: {hue: 1}}"])
def test_where_nothing_is_near_nothing_is_offered(write: Write, text: str) -> None:
    lines = _problems(write(text))
    assert len(lines) == 2
    assert lines[1].endswith("there is no such option.")


def test_a_wrong_value_brings_no_second_problem_about_what_hangs_on_it(write: Write) -> None:
    lines = _problems(write("pretrain: {batch_size: many, queue_size: 250}\n"))
    assert len(lines) == 2
    assert lines[1].startswith("  pretrain.batch_size: ")


def test_a_long_value_is_cut(write: Write) -> None:
    lines = _problems(write(f"seed: {'9' * 500}x\n"))
    assert len(lines[1]) < 150
    assert "999...999" in lines[1]


@pytest.mark.parametrize(
    ("values", "paths", "message"),
    [
        (
            {"pretrain.batch_size": 100, "pretrain.queue_size": 250},
            "pretrain.queue_size, pretrain.batch_size",
            "250 is not a multiple of 100; the nearest is 200",
        ),
        (
            {"pretrain.batch_size": 128, "pretrain.bn_groups": 3},
            "pretrain.bn_groups, pretrain.batch_size",
            "128 cannot be cut into 3",
        ),
        (
            {"pretrain.views": {"policy": "moco", "min_scale": 0.9, "max_scale": 0.5}},
            "pretrain.views",
            "min_scale 0.9 is larger than max_scale 0.5",
        ),
        (
            {"data.source": "digits", "data.path": "photos"},
            "data.path, data.source",
            "digits takes no path",
        ),
        ({"data.source": "arrays"}, "data.path, data.source", "needs a path"),
        (
            {"data.labels": "from-folders"},
            "data.labels, data.source",
            "need the source folder. Received: digits",
        ),
        (
            {"self.large_batch": 9, "num_clusters": 10},
            "self.large_batch, num_clusters",
            "M must hold at least one image for each cluster: 9 < 10",
        ),
    ],
)
def test_options_that_are_impossible_together(
    values: dict[str, Any], paths: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(overrides=values)
    line = str(caught.value)
    assert line.startswith(f"{paths}: ")
    assert message in line


# Overrides


def test_the_order_is_defaults_file_overrides_settings(write: Write) -> None:
    path = write("seed: 1\nnum_clusters: 5\npretrain: {epochs: 2}\n")
    config = load_config(path, overrides={"seed": 2, "num_clusters": 6}, settings=["seed=3"])
    assert (config.seed, config.num_clusters, config.pretrain.epochs) == (3, 6, 2)


def test_a_base_takes_the_place_of_the_defaults() -> None:
    base = load_config("digits")
    assert load_config(base=base.as_dict()) == base
    assert load_config(base=base.as_dict(), overrides={"seed": 9}).seed == 9


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=3", ("seed",), 3),
        (" pretrain.epochs = null", ("pretrain", "epochs"), None),
        ("data.path=a=b", ("data", "path"), "a=b"),
        ("self.large_batch=10", ("self_labeling", "large_batch"), 10),
        ("semi.backbone={width: 8}", ("semi", "backbone", "width"), 8),
        ("semi.backbone.width=8", ("semi", "backbone", "width"), 8),
        ("pretrain.symmetric=true", ("pretrain", "symmetric"), True),
    ],
)
def test_a_setting_sets_one_option(text: str, path: tuple[str, ...], value: Any) -> None:
    overrides = {"data.source": "arrays", "data.path": "x.npy"}
    config: Any = load_config(overrides=overrides, settings=[text])
    for name in path:
        config = getattr(config, name)
    assert config == value


@pytest.mark.parametrize("text", ["seed", "=3", "a..b=3", ".seed=3", "seed.=3", ""])
def test_a_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"an option is set with a\.b=VALUE"):
        load_config(settings=[text])


def test_a_setting_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(UserError, match=r"The value in seed=\[ is not valid YAML"):
        load_config(settings=["seed=["])


def test_a_setting_below_a_number_is_refused() -> None:
    with pytest.raises(UserError, match="seed: Input should be a valid integer"):
        load_config(settings=["seed.deep=3"])


# Whose problem it is


def _said(name: str | None, *settings: Setting) -> str:
    with pytest.raises(UserError) as caught:
        resolve_config(name, settings)
    return str(caught.value)


def test_a_typo_is_blamed_on_who_typed_it(write: Write) -> None:
    typo = read_setting("pretrain.epoch=3", prefix="--set ")
    expected = "--set pretrain.epoch=3: there is no such option. Did you mean epochs?"
    assert _said("digits", typo) == expected
    assert _said(write("seed: 3\n"), typo) == expected


def test_problems_of_the_file_and_of_what_was_typed_are_told_apart(write: Write) -> None:
    path = write("sed: 3\nsemi: {steps: many}\n")
    lines = _said(
        path,
        Setting("num_clusters", 1, "--clusters 1"),
        read_setting("semi.backbone={widht: 8}", prefix="--set "),
    ).splitlines()
    assert lines[0] == f"{path} has 2 problems:"
    assert sorted(line.split(":")[0] for line in lines[1:3]) == ["  sed", "  semi.steps"]
    assert lines[3] == "2 problems with what was set:"
    assert lines[4].startswith("  --clusters 1: Input should be greater than or equal to 2")
    assert lines[5] == (
        "  --set semi.backbone={widht: 8}: semi.backbone.widht: there is no such option. Did you "
        "mean width?"
    )


def test_options_that_do_not_go_together_are_blamed_on_the_one_that_was_typed(
    write: Write,
) -> None:
    path = write("pretrain: {batch_size: 100, queue_size: 200}\n")
    said = _said(path, read_setting("pretrain.batch_size=64", prefix="--set "))
    assert said.startswith(
        "--set pretrain.batch_size=64: pretrain.queue_size, pretrain.batch_size: the queue must"
    )


def test_a_setting_that_mends_a_file_is_no_problem(write: Write) -> None:
    path = write("semi: {steps: many}\n")
    assert load_config(path, settings=["semi.steps=3"]).semi.steps == 3


def test_the_last_of_two_settings_is_the_one_that_counts() -> None:
    first, last = (read_setting(f"seed={value}", prefix="--set ") for value in ("3", "x"))
    assert resolve_config(None, [last, first]).seed == 3
    assert _said(None, first, last).startswith("--set seed=x: Input should be a valid integer")


# Policies


def test_another_policy_replaces_the_whole_of_the_one_below(write: Write) -> None:
    config = load_config(write("pretrain: {views: {policy: upright, rotate: 3.0}}\n"))
    assert config.pretrain.views == UprightPolicy(rotate=3.0)


def test_the_same_policy_keeps_what_is_below(write: Write) -> None:
    config = load_config(
        write("pretrain: {views: {policy: moco, hue: 0.2}}\n"),
        settings=["pretrain.views.contrast=0.1", "pretrain.views.policy=moco"],
    )
    assert config.pretrain.views == MocoPolicy(hue=0.2, contrast=0.1)


def test_an_option_without_a_policy_goes_to_the_one_below(write: Write) -> None:
    config = load_config(write("pretrain: {views: {hue: 0.2}}\n"))
    assert config.pretrain.views == MocoPolicy(hue=0.2)


def test_a_bare_name_is_that_policy_with_its_defaults(write: Write) -> None:
    config = load_config(write("self: {weak: upright}\n"), settings=["semi.weak=none"])
    assert config.self_labeling.weak == UprightPolicy()
    assert config.semi.weak.policy == "none"


def test_an_option_can_follow_a_bare_name(write: Write) -> None:
    config = load_config(write("self: {weak: upright}\n"), settings=["self.weak.zoom=0.3"])
    assert config.self_labeling.weak == UprightPolicy(zoom=0.3)


def test_a_policy_that_is_set_starts_from_its_own_defaults() -> None:
    config = load_config(
        settings=["self.weak.shift=0.5", "self.weak.policy=moco", "self.weak.policy=weak"]
    )
    assert config.self_labeling.weak == WeakPolicy()


def test_an_unknown_policy_is_refused_with_the_known_ones(write: Write) -> None:
    (_, line) = _problems(write("self: {weak: wek}\n"))
    assert line.startswith("  self.weak: ")
    for name in ("none", "weak", "moco", "spice", "kerascv", "upright"):
        assert f"'{name}'" in line


def test_merge_leaves_what_it_is_given_alone() -> None:
    base, layer = {"a": {"b": 1}}, {"a": {"c": [1]}}
    merged = merge(base, layer)
    merged["a"]["c"].append(2)
    assert merged == {"a": {"b": 1, "c": [1, 2]}}
    assert base == {"a": {"b": 1}}
    assert layer == {"a": {"c": [1]}}
