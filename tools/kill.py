"""Kills a command at chosen or random moments, goes on, and compares with one left in peace.

    python -m tools.kill --kills 30 -- cli.py run tiny.yaml --run-dir {run}
    python -m tools.kill --at artifacts/heads --at checkpoints -- cli.py run digits --run-dir {run}
    python -m tools.kill --from RUN --kills 5 -- cli.py export --run-dir {run} --set \
        export.directory={run}-models

`{run}` stands for the run directory. The command runs once undisturbed, then once for each kill:
it is killed (SIGKILL) and started again until it ends, with --resume if it has that option. Then
all files of both folders are compared. Times, and where the folder lies, are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

_POLL = 0.002  # seconds between two looks at a folder
# They hold times, hosts or places, which no two runs share.
_OF_ITS_OWN = frozenset({"timings.json", "report.html", "environment.json", "source.json"})
_RATE = re.compile(rb'"images_per_second": [^,}]+')


def fingerprint(run: Path) -> dict[str, str]:
    """Return a checksum of every file of a run that an equal run must have.

    Args:
        run: The run directory.

    Returns:
        Path below the folder to SHA-256; of the SavedModel and its place, nothing.
    """
    found = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if not path.is_file() or name in _OF_ITS_OWN or name.startswith("artifacts/export/"):
            continue
        data = path.read_bytes()
        if name == "metrics.jsonl":
            data = _RATE.sub(b"", data)
        if name == "config.yaml":
            data = re.sub(rb"(?m)^  directory: .*$", b"", data)
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def differences(one: dict[str, str], two: dict[str, str]) -> list[str]:
    """Return the files that only one folder has, or that differ."""
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def start(command: Sequence[str], run: Path) -> subprocess.Popen[str]:
    """Start a command of this repository on a run directory, quietly."""
    filled = [word.replace("{run}", str(run)) for word in command]
    return subprocess.Popen(
        [sys.executable, *filled], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def kill_when(process: subprocess.Popen[str], is_time: Callable[[], bool]) -> bool:
    """Kill a process as soon as something is so; whether it was, before the process ended."""
    while process.poll() is None:
        if is_time():
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(_POLL)
    process.communicate()
    return False


def finish(command: Sequence[str], run: Path) -> None:
    """Start a command again until it is done.

    Raises:
        click.ClickException: If it ends with an error.
    """
    process = start(command, run)
    _, errors = process.communicate()
    if process.returncode:
        raise click.ClickException(f"exit code {process.returncode}:\n{errors}")


def resumed(command: Sequence[str]) -> list[str]:
    """Return the command that goes on with one that was killed."""
    takes = subprocess.run(
        [sys.executable, *command[:2], "--help"], capture_output=True, text=True, check=False
    )
    if "--resume" not in takes.stdout or "--resume" in command:
        return list(command)
    return [*(word for word in command if word != "--redo"), "--resume"]


def _moments(kills: int, at: Sequence[str], seconds: float, seed: int) -> list[tuple[str, object]]:
    """What is killed: after random seconds, or once a path is there."""
    generator = random.Random(seed)
    times = [("after", generator.uniform(0.0, seconds)) for _ in range(kills)]
    return [*times, *(("at", path) for path in at)]


def _is_time(kind: str, moment: object, run: Path) -> Callable[[], bool]:
    began = time.monotonic()
    if kind == "after":
        return lambda: time.monotonic() - began >= float(str(moment))
    return lambda: os.path.lexists(run / str(moment))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--kills", type=click.IntRange(min=0), default=10, help="Kills at random moments.")
@click.option("--at", multiple=True, help="Kill once this path is in the folder; repeatable.")
@click.option("--from", "begun", type=click.Path(path_type=Path), help="Begin with a copy of it.")
@click.option("--seed", default=0, help="Of the random moments.")
@click.argument("command", nargs=-1, required=True)
def main(
    kills: int, at: tuple[str, ...], begun: Path | None, seed: int, command: tuple[str, ...]
) -> None:
    """Kill COMMAND, go on with it, and compare with one that was left in peace."""
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        peaceful = _folder(Path(folder) / "peaceful", begun)
        began = time.monotonic()
        finish(command, peaceful)
        seconds, expected = time.monotonic() - began, fingerprint(peaceful)
        click.echo(f"undisturbed: {seconds:.0f} s, {len(expected)} files")
        failed = 0
        for number, (kind, moment) in enumerate(_moments(kills, at, seconds, seed), 1):
            run = _folder(Path(folder) / f"killed-{number}", begun)
            killed = kill_when(start(command, run), _is_time(kind, moment, run))
            if killed:
                finish(resumed(command), run)
            other = differences(expected, fingerprint(run))
            failed += bool(other)
            what = f"{moment:.2f} s" if isinstance(moment, float) else str(moment)
            ended = "killed" if killed else "had ended"
            outcome = json.dumps(other) if other else "equal"
            click.echo(f"{number}: {kind} {what}, {ended}: {outcome}")
            shutil.rmtree(run, ignore_errors=True)
    if failed:
        raise click.ClickException(f"{failed} runs differ from the undisturbed one.")


def _folder(run: Path, begun: Path | None) -> Path:
    if begun is not None:
        shutil.copytree(begun, run)
    return run


if __name__ == "__main__":
    main()
