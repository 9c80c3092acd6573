"""Kills a command at chosen or random moments, goes on, and compares with one left in peace.

    python -m tools.kill --kills 30 -- cli.py run tiny.yaml --run-dir {run}
    python -m tools.kill --at artifacts/heads --at checkpoints -- cli.py run digits --run-dir {run}
    python -m tools.kill --from RUN --kills 5 -- cli.py export --run-dir {run} --set \
        export.directory={run}-models
    python -m tools.kill --kills 5 -- my_script.py {run}

`{run}` stands for the run directory. The command runs once undisturbed. Then, for each kill, it
runs in a folder of its own, is killed (SIGKILL) and started again: a command of this repository
with --resume if it takes that option and has begun a run, any other just as it was. Then all files
of both folders are compared, and what a killed writer left counts as a difference. Of files that
hold times or places, only their being there is compared.
"""

from __future__ import annotations

import hashlib
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
from typing import IO

import click

_POLL = 0.002  # seconds between two looks at a folder
_SAID = 2000  # characters of an error that are shown
# They hold times, hosts or places, which no two runs share.
_OF_ITS_OWN = frozenset(
    {
        "timings.json",
        "report.html",
        "environment.json",
        "source.json",
        "artifacts/export/export.json",
        "artifacts/export/manifest.json",
    }
)
_RATE = re.compile(rb'"images_per_second": [^,}]+')
_PROGRAM = "cli.py"


def fingerprint(run: Path) -> dict[str, str]:
    """Return a checksum of every file of a run that an equal run must have.

    Args:
        run: The run directory.

    Returns:
        Path below the folder to SHA-256; to nothing if the file holds times or places, or is an
        empty folder.
    """
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                found[f"{name}/"] = ""
            continue
        data = b"" if name in _OF_ITS_OWN else path.read_bytes()
        if name == "metrics.jsonl":
            data = _RATE.sub(b"", data)
        if name == "config.yaml":
            data = re.sub(rb"(?m)^  directory: .*$", b"", data)
        found[name] = hashlib.sha256(data).hexdigest() if data else ""
    return found


def differences(one: dict[str, str], two: dict[str, str]) -> list[str]:
    """Return the files that only one folder has, or that differ."""
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def start(command: Sequence[str], run: Path, errors: IO[str]) -> subprocess.Popen[str]:
    """Start a Python command on a run directory; what it says about errors goes to a file."""
    filled = [word.replace("{run}", str(run)) for word in command]
    return subprocess.Popen(
        [sys.executable, *filled],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        text=True,
    )


def kill_when(process: subprocess.Popen[str], is_time: Callable[[], bool]) -> bool:
    """Kill a process as soon as something is so; whether it was, before the process ended."""
    while process.poll() is None:
        if is_time():
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(_POLL)
    return False


def finish(command: Sequence[str], run: Path) -> str | None:
    """Run a command to its end.

    Returns:
        None if it ended well, otherwise its exit code and what it said last.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        code = start(command, run, errors).wait()
        errors.seek(0)
        return f"exit code {code}: {errors.read()[-_SAID:].strip()}" if code else None


def resumed(command: Sequence[str], run: Path) -> list[str]:
    """Return the command that goes on with one that was killed."""
    begun = (run / "config.yaml").is_file()
    if Path(command[0]).name != _PROGRAM or not begun or "--resume" in command:
        return list(command)
    takes = subprocess.run(
        [sys.executable, *command[:2], "--help"], capture_output=True, text=True, check=False
    )
    if "--resume" not in takes.stdout:
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


def trial(
    command: Sequence[str], run: Path, is_time: Callable[[], bool]
) -> tuple[bool, str | None]:
    """Run a command in a folder, kill it once it is time, and run it to its end.

    Args:
        command: The words after the interpreter.
        run: Its folder.
        is_time: Whether it is killed now.

    Returns:
        Whether it was killed before it ended, and what went wrong when it went on.
    """
    with tempfile.TemporaryFile("w+") as errors:
        if not kill_when(start(command, run, errors), is_time):
            return False, None
    return True, finish(resumed(command, run), run)


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
        problem = finish(command, peaceful)
        if problem is not None:
            raise click.ClickException(f"The command fails even if nobody kills it: {problem}")
        seconds, expected = time.monotonic() - began, fingerprint(peaceful)
        click.echo(f"undisturbed: {seconds:.0f} s, {len(expected)} files")
        failed = 0
        for number, (kind, moment) in enumerate(_moments(kills, at, seconds, seed), 1):
            run = _folder(Path(folder) / f"killed-{number}", begun)
            killed, problem = trial(command, run, _is_time(kind, moment, run))
            other = differences(expected, fingerprint(run))
            failed += bool(other or problem)
            what = f"{moment:.2f} s" if isinstance(moment, float) else str(moment)
            ended = "killed" if killed else "had ended"
            outcome = problem or (f"differ: {', '.join(other)}" if other else "equal")
            click.echo(f"{number}: {kind} {what}, {ended}: {outcome}")
            shutil.rmtree(run, ignore_errors=True)
    if failed:
        raise click.ClickException(f"{failed} of {number} runs differ from the undisturbed one.")


def _folder(run: Path, begun: Path | None) -> Path:
    if begun is not None:
        shutil.copytree(begun, run)
    return run


if __name__ == "__main__":
    main()
