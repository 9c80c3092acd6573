"""Single options set on top of a file: `--set a.b=VALUE`, a shortcut, an override from Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spice_keras.config.yaml_reader import read_yaml
from spice_keras.errors import UserError

_MOST_PARTS = 10  # of an option's name; the longest has four


@dataclass(frozen=True)
class Setting:
    """One option with its value.

    Attributes:
        path: The option, `pretrain.epochs`.
        value: What it is set to.
        said: How the user put it, `--set pretrain.epochs=3`, for errors; "" if the option's name
            says it all.
    """

    path: str
    value: Any
    said: str = ""

    def as_layer(self) -> dict[str, Any]:
        """Return the nested mapping that sets this option alone."""
        layer: Any = self.value
        for key in reversed(self.path.split(".")):
            layer = {key: layer}
        return dict(layer)

    def touches(self, path: str) -> bool:
        """Tell whether an option is this one, holds it or belongs to it."""
        return f"{path}.".startswith(f"{self.path}.") or f"{self.path}.".startswith(f"{path}.")


def read_setting(text: str, *, prefix: str = "") -> Setting:
    """Read one `a.b=VALUE`; the value is YAML.

    Args:
        text: The text.
        prefix: What stands before it where it was typed, `--set `.

    Returns:
        The setting.

    Raises:
        UserError: If the text has another form, or its value is not YAML.
    """
    said = f"{prefix}{text}"
    path, sign, value = text.partition("=")
    path = path.strip()
    if not sign or not all(path.split(".")) or path.count(".") >= _MOST_PARTS:
        raise UserError(
            f"{said:.100}: an option is set with a.b=VALUE, for example {prefix}pretrain.epochs=50."
        )
    return Setting(path, read_yaml(value, origin=f"The value in {said:.100}"), said)


def typed(option: str, values: Iterable[tuple[str, Any]]) -> list[Setting]:
    """Make the settings that one option of the command stands for.

    Args:
        option: The option as it was typed, `--clusters 12`.
        values: The options of the configuration it sets, with their values.

    Returns:
        The settings, in this order.
    """
    return [Setting(path, value, option) for path, value in values]
