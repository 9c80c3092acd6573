"""YAML as people write it: duplicate keys refused, `1e-4` a number, and nothing that explodes."""

from __future__ import annotations

import re
from typing import Any

import yaml

from spice_keras.errors import UserError

# A configuration is 8 KB and 4 levels deep. The parser takes about a second for the longest text.
_LONGEST, _DEEPEST, _MOST_VALUES = 1 << 16, 32, 5_000
_LONGEST_NUMBER = 400
_REASON_SHOWN = 500


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter about keys, depth and size, and kinder to floats."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._total = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one value, counting how deep it lies and how much its aliases stand for."""
        mark, is_alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)
        if self._depth == _DEEPEST:
            raise _refused(f"more than {_DEEPEST} levels lie in one another", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return node
        if is_alias and id(node) not in self._sizes:  # what it repeats has not ended
            raise _refused("an alias that stands within what it repeats", mark)
        # A child was composed before its parent, so its own size is known.
        size = self._sizes.setdefault(id(node), 1 + sum(map(self._size, _children(node))))
        self._total += size if is_alias else 1
        if self._total > _MOST_VALUES:
            raise _refused(f"more than {_MOST_VALUES:,} values, with what aliases repeat", mark)
        return node

    def _size(self, node: yaml.Node) -> int:
        return self._sizes[id(node)]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *defaults` is no key
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _refused(f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        mapping = super().construct_mapping(node, deep)
        return {str(key): value for key, value in mapping.items()}  # `on: 1` has the key True

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Construct a whole or floating-point number that other programs can hold as well."""
        if len(node.value) > _LONGEST_NUMBER:
            raise _refused(f"a number of {len(node.value):,} characters", node.start_mark)
        if node.tag.endswith(":float"):
            return float(self.construct_yaml_float(node))
        number = int(self.construct_yaml_int(node))
        if abs(number) >= 2**63:
            raise _refused("a whole number of more than 64 bits", node.start_mark)
        return number


def _refused(reason: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, reason, mark)


def _children(node: yaml.Node) -> list[yaml.Node]:
    """The values, and keys, right below a node."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)

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
        UserError: If the text is not YAML, a key stands twice, or the text is larger, deeper or
            more entangled than any configuration.
    """
    if len(text) > _LONGEST:
        raise UserError(
            f"{origin} has {len(text):,} characters; a configuration has at most {_LONGEST:,}."
        )
    try:
        return yaml.load(text, Loader=_Loader)
    # PyYAML's constructors raise what Python raises: KeyError for `!!bool maybe`, IndexError for
    # `!!int ''`, AttributeError for `!!timestamp x`.
    except Exception as error:
        known = isinstance(error, yaml.YAMLError)
        reason = str(error) if known else "a value does not fit its tag, or is no number or date"
        raise UserError(f"{origin} is not valid YAML: {reason:.{_REASON_SHOWN}}") from error
