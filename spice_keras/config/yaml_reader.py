"""YAML as people write it: duplicate keys refused, `1e-4` a number."""

from __future__ import annotations

import re
from typing import Any

import yaml

from spice_keras.errors import UserError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter about keys and kinder to floats."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *defaults` is no key
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        mapping = super().construct_mapping(node, deep)
        return {str(key): value for key, value in mapping.items()}  # `on: 1` has the key True


# YAML 1.1 reads 1e-4 as a string, because it has no point: everybody writes it so.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def read_yaml(text: str, *, origin: str) -> Any:
    """Parse YAML text.

    Args:
        text: The text.
        origin: What to call it in an error: a file's path, or the option.

    Returns:
        Plain Python values.

    Raises:
        UserError: If the text is not YAML, or a key stands twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UserError(f"{origin} is not valid YAML: {error}") from error
