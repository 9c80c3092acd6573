"""From a file's name and the settings on top of it to a checked configuration."""

from __future__ import annotations

import copy
import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from spice_keras.config.checks import Problem, problems_between_options
from spice_keras.config.schema import RunConfig
from spice_keras.config.settings import Setting, read_setting
from spice_keras.config.shortcuts import run_name
from spice_keras.config.yaml_reader import read_yaml
from spice_keras.errors import UserError

_MOST_PROBLEMS = 30  # listed of one configuration
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 6


def _config_folder() -> Path:
    """Return the folder of the shipped configurations: in a wheel, or in a checkout."""
    package = Path(str(resources.files("spice_keras")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configurations by name, in alphabetical order."""
    paths = {path.stem: path for path in _config_folder().glob("*.yaml")}
    return {name: paths[name] for name in sorted(paths)}


def find_config(name_or_path: str) -> Path:
    """Find a configuration file by path, or a shipped one by name.

    Args:
        name_or_path: `my/run.yaml`, `cifar10`, or `configs/cifar10.yaml` (found anywhere).

    Returns:
        The file's path.

    Raises:
        UserError: If neither exists; it lists what is shipped.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = shipped_configs()
    stem = path.stem if path.suffix in {".yaml", ".yml"} else path.name
    if stem in shipped and str(path.parent) in {".", "configs"}:
        return shipped[stem]
    close = difflib.get_close_matches(stem, shipped, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UserError(
        f"No configuration {name_or_path!r}: neither a file nor a shipped one.{hint} "
        f"Shipped: {', '.join(shipped)}. `spice configs` describes them."
    )


def merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another.

    A mapping that names another `policy` replaces the one below it whole: the options of one
    augmentation policy mean nothing to another.
    """
    merged = dict(base)
    for key, value in layer.items():
        below: Any = merged.get(key)
        if isinstance(below, str) and isinstance(value, Mapping) and "policy" not in value:
            below = {"policy": below}  # `views: moco`, then an option of it
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        if nested and value.get("policy", below.get("policy")) == below.get("policy"):
            merged[key] = merge(below, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _fields(models: Iterable[type[BaseModel]]) -> list[tuple[str, FieldInfo]]:
    return [(f.alias or name, f) for model in models for name, f in model.model_fields.items()]


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models_of(part)]


def _known_keys(location: Iterable[str | int]) -> list[str]:
    """List the options at a place; the place is as pydantic spells it, with a union's tag."""
    models: list[type[BaseModel]] = [RunConfig]
    for part in location:
        tagged = [m for m in models if _default_policy(m) == part]
        below = [
            m
            for name, field in _fields(models)
            if name == part
            for m in _models_of(field.annotation)
        ]
        models = tagged or below
    return [name for name, _ in _fields(models)]


def _default_policy(model: type[BaseModel]) -> Any:
    return model.model_fields["policy"].default if "policy" in model.model_fields else None


def _location(error: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where an error lies as the file spells it: pydantic adds a union's tag."""
    location: list[str] = []
    below: Any = values
    for part in (str(part) for part in error["loc"]):
        if isinstance(below, Mapping) and part not in below and below.get("policy") == part:
            continue
        location.append(part)
        below = below.get(part) if isinstance(below, Mapping) else None
    return tuple(location)


def _describe(error: Mapping[str, Any], location: tuple[str, ...]) -> Problem:
    path = ".".join(location)
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(location[-1], _known_keys(error["loc"][:-1]), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return Problem((path,), f"there is no such option.{hint}")
    return Problem((path,), f"{error['msg']}. Received: {_shown(error.get('input'))}")


def _shown(value: Any) -> str:
    """Write a value in at most 60 characters."""
    try:
        received = _BRIEF.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return received if len(received) <= 60 else received[:57] + "..."


def _remove(config: dict[str, Any], location: tuple[str, ...]) -> None:
    """Take the value at a place out of a nested dictionary, or the nearest one above it."""
    below = config
    for part in location[:-1]:
        if not isinstance(below.get(part), dict):
            below.pop(part, None)
            return
        below = below[part]
    below.pop(location[-1], None)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy nested mappings, for `_remove`; what else they hold is shared."""
    return {
        key: _copied(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }


def find_problems(values: Mapping[str, Any]) -> tuple[RunConfig | None, list[Problem]]:
    """Validate a nested mapping and collect all its problems.

    Args:
        values: The configuration, as a file and the settings on top of it state it.

    Returns:
        The configuration, or None if it cannot be built; and what is wrong.
    """
    problems: list[Problem] = []
    left = _copied(values)
    for _ in range(8):  # pruning a wrong value may uncover one below it
        try:
            config = RunConfig.model_validate(left)
        except ValidationError as error:
            details = error.errors(include_url=False)
            found = [(detail, _location(detail, left)) for detail in details]
            for detail, location in found:
                if len(problems) < _MOST_PROBLEMS:
                    problems.append(_describe(detail, location))
                _remove(left, location)
            continue
        wrong = {path for problem in problems for path in problem.paths}
        problems += [p for p in problems_between_options(config) if wrong.isdisjoint(p.paths)]
        return (None if problems else config), problems
    return None, problems


def check(values: Mapping[str, Any], *, origin: str) -> RunConfig:
    """Validate a nested mapping and report all its problems at once.

    Args:
        values: The configuration, as a file states it.
        origin: The file, for the error.

    Returns:
        The frozen configuration.

    Raises:
        UserError: If anything is wrong; one message lists every problem with its option.
    """
    config, problems = find_problems(values)
    if config is None:
        raise UserError(_file_report(origin, problems))
    return config


def _count(problems: Sequence[Problem]) -> str:
    at_least = "at least " if len(problems) >= _MOST_PROBLEMS else ""
    return f"{at_least}{len(problems)} problem" + ("s" if len(problems) > 1 else "")


def _file_report(origin: str, problems: Sequence[Problem]) -> str:
    lines = "\n".join(f"  {', '.join(p.paths):.100}: {p.message}" for p in problems)
    return f"{origin} has {_count(problems)}:\n{lines}"


def _settings_report(problems: Sequence[Problem], settings: Sequence[Setting]) -> str:
    """Name each problem after what the user typed last of the options it concerns."""
    lines = []
    for problem in problems:
        said = [s for s in settings if any(s.touches(path) for path in problem.paths)]
        text = f"{', '.join(problem.paths):.100}: {problem.message}"
        typed = f"{said[-1].said:.100}" if said else ""
        if typed and problem.paths == (said[-1].path,):
            text = problem.message
        lines.append(f"{typed}: {text}" if typed else text)
    if len(lines) == 1:
        return lines[0]
    return "\n  ".join([f"{_count(problems)} with what was set:", *lines])


def resolve_config(
    name_or_path: str | None, settings: Sequence[Setting], *, base: Mapping[str, Any] | None = None
) -> RunConfig:
    """Lay settings over a file, the file over the defaults, and check the result.

    Args:
        name_or_path: A YAML file, or the name of a shipped one; None for none.
        settings: The settings, the last of an option first to count.
        base: A whole configuration in place of the defaults.

    Returns:
        The frozen, checked configuration.

    Raises:
        UserError: If a file is missing or anything is wrong. The problems that the settings
            bring are told apart from those of the file.
    """
    below = dict(base) if base is not None else RunConfig().as_dict()
    origin = "The configuration"
    if name_or_path is not None:
        path = find_config(name_or_path)
        origin = str(path)
        below = merge(below, _read_file(path))
    values = below
    for setting in settings:
        values = merge(values, setting.as_layer())
    config, problems = find_problems(values)
    if config is not None:
        return config
    of_the_file = find_problems(below)[1]
    file_problems = [problem for problem in problems if problem in of_the_file]
    set_problems = [problem for problem in problems if problem not in of_the_file]
    reports = [_settings_report(set_problems, settings)] if set_problems else []
    if file_problems:
        reports.insert(0, _file_report(origin, file_problems))
    raise UserError("\n".join(reports))


def _read_file(path: Path) -> dict[str, Any]:
    """Read a configuration file; its name is the run's, unless it states another."""
    try:
        loaded = read_yaml(path.read_text(encoding="utf-8"), origin=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(loaded, dict | None):
        raise UserError(f"{path} must hold `key: value` pairs. Received: {loaded!r:.60}")
    return {"name": run_name(path.stem), **(loaded or {})}


def load_config(
    name_or_path: str | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    settings: Iterable[str] = (),
) -> RunConfig:
    """Load a configuration: defaults, then a file, then overrides, then `a.b=VALUE` texts.

    Args:
        name_or_path: A YAML file, or the name of a shipped one; None for the bare defaults.
        base: A whole configuration to start from in place of the defaults.
        overrides: Values by dotted path, `{"data.path": "photos", "num_clusters": 12}`.
        settings: Texts as `--set` takes them, `["pretrain.epochs=50"]`; they come last.

    Returns:
        The frozen, checked configuration.

    Raises:
        UserError: If a file is missing or anything in it is wrong; all problems at once.

    Example:
        >>> config = load_config("digits", overrides={"seed": 1}, settings=["semi.steps=50"])
        >>> config.seed, config.semi.steps
        (1, 50)
    """
    given = [Setting(path, value) for path, value in (overrides or {}).items()]
    given += [read_setting(text) for text in settings]
    return resolve_config(name_or_path, given, base=base)
