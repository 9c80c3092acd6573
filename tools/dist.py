"""Builds sdist and wheel, installs the wheel in a clean environment and uses it there.

    python -m tools.dist

The wheel is built from the sdist, so that the sdist is known to be whole. The installed command
then clusters drawn embeddings in a folder that knows nothing of this checkout. Needs `build`, and
the package index for the dependencies. The two files are in dist/ afterwards.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
_ITEMS, _FEATURES, _CLUSTERS = 120, 16, 3
_TINY = (
    *("--set", "self.neighbors.epochs=4"),
    *("--set", "self.num_heads=3"),
    *("--set", "evaluate.map_method=pca"),
)


def shipped_files(root: Path) -> set[str]:
    """Return the files of the package in a checkout, as they are named in a wheel.

    Args:
        root: The checkout.

    Returns:
        Paths with forward slashes; the configurations lie in the package.
    """
    package = [path for path in (root / "spice_keras").rglob("*") if path.is_file()]
    found = {path.relative_to(root).as_posix() for path in package}
    found |= {f"spice_keras/configs/{path.name}" for path in (root / "configs").glob("*.yaml")}
    return {name for name in found if not name.endswith(".pyc")}


def missing_files(wheel: Path, sdist: Path, expected: Collection[str]) -> list[str]:
    """Return what a wheel or an sdist lacks.

    Args:
        wheel: The wheel.
        sdist: The sdist, a .tar.gz with one folder in it.
        expected: Names of the files that the wheel must hold, from `shipped_files`.

    Returns:
        A line for each file that is missing.
    """
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name.replace("spice_keras/configs/", "configs/") for name in expected}
    return [
        *(f"{wheel.name} lacks {name}" for name in sorted(set(expected) - there)),
        *(f"{sdist.name} lacks {name}" for name in sorted(wanted - source)),
    ]


def build(folder: Path) -> tuple[Path, Path]:
    """Build both files; earlier ones in the folder go.

    Returns:
        The wheel and the sdist.
    """
    for old in folder.glob("spice_keras-*"):
        old.unlink()
    _run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel in a new virtual environment.

    Returns:
        The environment's folder of programs.
    """
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    _run([str(programs / "python"), "-m", "pip", "install", "--quiet", str(wheel)], folder)
    _run([str(programs / "python"), "-m", "pip", "check"], folder)
    return programs


def use(programs: Path, folder: Path) -> None:
    """Cluster drawn embeddings with the installed command, and look at what it leaves.

    Raises:
        click.ClickException: If the command fails, or something is missing afterwards.
    """
    code = "import spice_keras; print(spice_keras.__file__)"
    place = Path(_run([str(programs / "python"), "-c", code], folder).strip())
    if not place.is_relative_to(programs.parent):
        raise click.ClickException(f"spice_keras is imported from {place}, not from the wheel.")
    spice = str(programs / "spice")
    _run([spice, "--help"], folder)
    _run([spice, "configs"], folder)
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.normal(size=(_CLUSTERS, _FEATURES))
    rows = centers[np.arange(_ITEMS) % _CLUSTERS] + rng.normal(size=(_ITEMS, _FEATURES))
    np.savez(folder / "blobs.npz", embeddings=rows.astype(np.float32))
    given = ["--embeddings", "blobs.npz", "--clusters", str(_CLUSTERS), "--run-dir", "run"]
    _run([spice, "self", *given, *_TINY], folder)
    with (folder / "run" / "assignments.csv").open(encoding="utf-8", newline="") as file:
        assigned = len(list(csv.DictReader(file)))
    model = folder / "saved_models" / "blobs" / "1" / "saved_model.pb"
    if assigned != _ITEMS or not model.is_file() or not (folder / "run/report.html").is_file():
        raise click.ClickException(
            f"Expected {_ITEMS} assignments, run/report.html and {model}. Received {assigned} "
            f"assignments, and {sorted(path.name for path in (folder / 'run').iterdir())}."
        )


def _run(command: Sequence[str], folder: Path) -> str:
    """Run a program in a folder, without this checkout on its path.

    Returns:
        What it printed.
    """
    ended = subprocess.run(
        command, cwd=folder, env=_environment(os.environ), capture_output=True, text=True
    )
    if ended.returncode:
        said = (ended.stdout + ended.stderr)[-3000:].strip()
        raise click.ClickException(f"{' '.join(command)} ended with {ended.returncode}:\n{said}")
    return ended.stdout


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: ours[name] for name in ours if name not in ("PYTHONPATH", "PYTHONHOME")}


@click.command()
def main() -> None:
    """Build sdist and wheel into dist/, and try the wheel in a clean environment."""
    wheel, sdist = build(ROOT / "dist")
    for file in (wheel, sdist):
        click.echo(f"built {file.relative_to(ROOT)}: {file.stat().st_size / 2**20:.1f} MiB")
    missing = missing_files(wheel, sdist, shipped_files(ROOT))
    if missing:
        raise click.ClickException("\n".join(missing))
    with tempfile.TemporaryDirectory(prefix="dist-") as name:
        folder = Path(name)
        (folder / "work").mkdir()
        programs = install(wheel, folder / "venv")
        click.echo("installed in a clean environment; pip check finds no conflict")
        use(programs, folder / "work")
        click.echo("the installed command clustered drawn embeddings")


if __name__ == "__main__":
    main()
