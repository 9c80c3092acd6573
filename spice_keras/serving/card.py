"""The model card beside an export: what the model was made of, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spice_keras.files import write_atomically, write_json

JSON_FILE, TEXT_FILE = "card.json", "card.md"

_TITLES = {
    "data": "Data",
    "encoder": "Encoder",
    "clusters": "Clusters",
    "figures": "Figures",
    "export": "This file",
    "limits": "Limits",
    "licence": "Licence",
    "versions": "Versions",
}


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write a model card as Markdown and as JSON.

    Args:
        folder: The folder of the export.
        card: Sections by name, in order: a mapping becomes a table, a list a list.
    """
    write_json(folder / JSON_FILE, card)
    write_atomically(folder / TEXT_FILE, card_text(card).encode())


def card_text(card: Mapping[str, Any]) -> str:
    """Put a model card into Markdown.

    Args:
        card: As for `write_card`; `title` is its heading.

    Returns:
        The text.
    """
    lines = [f"# {card['title']}", ""]
    for name, title in _TITLES.items():
        content = card.get(name)
        if not content:
            continue
        lines += [f"## {title}", ""]
        if isinstance(content, Mapping):
            lines += ["| | |", "|---|---|"]
            lines += [f"| {_cell(key)} | {_cell(value)} |" for key, value in content.items()]
        elif isinstance(content, str):
            lines.append(content)
        else:
            lines += [f"- {' '.join(str(item).split())}" for item in content]
        lines.append("")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    """One value as text that cannot break a table."""
    if isinstance(value, float):
        value = f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(str(item) for item in value)
    return " ".join(str("none" if value is None else value).split()).replace("|", "\\|")
