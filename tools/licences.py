"""Lists the licences of everything the package needs, and refuses those that do not fit its own.

    python -m tools.licences
    python -m tools.licences --extra serve --extra onnx --pins pins.txt

It reads pyproject.toml and what is installed, and asks no network. The package is Apache-2.0;
licences that ask for the source of whatever uses them (the GPL and its kin, SSPL) are refused, and
so is a package that names none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_FITS = re.compile(
    r"apache|\bmit\b|mit-|bsd|\bisc\b|python software foundation|\bpsf|hpnd|mpl-2|mozilla|zlib"
    r"|unlicense|cc0|public domain|\bexpat\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"gpl|affero|general public|sspl", re.IGNORECASE)
# How the texts of licences begin, for packages whose metadata names none.
_TEXTS = {
    "Apache-2.0": re.compile(r"Apache License,?\s+Version 2\.0"),
    "MIT": re.compile(r"Permission is hereby granted, free of charge"),
    "BSD": re.compile(r"Redistribution and use in source and binary forms"),
}


def asked_for(extras: Sequence[str] = ()) -> list[str]:
    """Return what pyproject.toml asks for, with what some extras add, and the extras they ask for.

    Raises:
        click.ClickException: If there is no such extra.
    """
    project = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    unknown = sorted(set(extras) - set(optional))
    if unknown:
        raise click.ClickException(f"No extra is called {', '.join(unknown)}.")
    lines = dict.fromkeys(project["dependencies"])
    taken = list(extras)
    for extra in taken:  # grows while it is read
        for line in optional[extra]:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) == project["name"]:
                taken += sorted(requirement.extras - set(taken))
            else:
                lines[line] = None
    return list(lines)


def needed(requirements: Iterable[str]) -> dict[str, Distribution | None]:
    """Return everything that some requirements need, directly or not.

    Args:
        requirements: As pip reads them.

    Returns:
        Name to what is installed, sorted; None for what is not.
    """
    found: dict[str, Distribution | None] = {}
    waiting = list(_holding(requirements, frozenset()))
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = installed = distribution(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        waiting += _holding(installed.requires or (), extras)
    return dict(sorted(found.items()))


def _holding(
    requirements: Iterable[str], extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Name and extras of the requirements that hold on this machine."""
    for line in requirements:
        one = Requirement(line)
        marker = one.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield str(canonicalize_name(one.name)), frozenset(one.extras)


def licence(installed: Distribution) -> str:
    """Return what a package says of its licence, or what its file of licence is; else nothing."""
    facts = installed.metadata
    stated = (facts.get_all("License-Expression") or [""])[0]
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in facts.get_all("Classifier") or ()
        if text.startswith("License ::") and text != "License :: OSI Approved"
    ]
    free = (facts.get_all("License") or [""])[0].strip().partition("\n")[0]
    return stated or "; ".join(classifiers) or free.replace("UNKNOWN", "") or _shipped(installed)


def _shipped(installed: Distribution) -> str:
    """Name the licence whose text a package ships."""
    for file in installed.files or ():
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            text = file.read_text("utf-8")
            for name, beginning in _TEXTS.items():
                if beginning.search(text):
                    return f"{name}, says its {file.name}"
    return ""


def fits(text: str) -> bool:
    """Tell whether a package with this licence may be needed; of several, one has to fit."""
    parts = re.split(r"\bor\b", text, flags=re.IGNORECASE)
    return any(_FITS.search(part) and not _REFUSED.search(part) for part in parts)


@click.command()
@click.option("--extra", "extras", multiple=True, help="An extra that counts too; repeatable.")
@click.option("--pins", type=click.Path(path_type=Path), help="Write NAME==VERSION of each here.")
def main(extras: tuple[str, ...], pins: Path | None) -> None:
    """List the licences of what the package needs; fail if one does not fit."""
    wrong, pinned = [], []
    for name, installed in needed(asked_for(extras)).items():
        if installed is None:
            wrong.append(f"{name}: not installed")
            continue
        pinned.append(f"{name}=={installed.version}\n")
        text = licence(installed)
        click.echo(f"{name} {installed.version}: {text or 'no licence named'}")
        if not fits(text):
            wrong.append(f"{name}: {text or 'no licence named'}")
    if pins is not None:
        pins.parent.mkdir(parents=True, exist_ok=True)
        pins.write_text("".join(pinned), encoding="utf-8")
    if wrong:
        raise click.ClickException("These do not fit: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
