"""Kills a command at chosen or random moments, goes on, and compares with one left in peace.

    python -m tools.kill --kills 30 -- cli.py run tiny.yaml --run-dir {run}
    python -m tools.kill --at artifacts/heads --at checkpoints -- cli.py run digits --run-dir {run}
    python -m tools.kill --from RUN --kills 5 -- cli.py export --run-dir {run} --set \
        export.directory={run}-models
    python -m tools.kill --kills 5 -- my_script.py {run}
    python -m tools.kill --warm --each-stage --kills 30 -- cli.py run tiny.yaml --run-dir {run} ...
    python -m tools.kill --warm --writers --kills 5

`{run}` stands for the run directory. The command runs once undisturbed. Then, for each kill, it
runs in a folder of its own, is killed (SIGKILL) and started again: a command of this repository
with --resume if it takes that option and has begun a run, any other just as it was. Then all files
of both folders are compared, and what a killed writer left counts as a difference. Of files that
hold times or places, only their being there is compared, and so it is with SavedModels, of which
no two are equal. What lies beside the run directory under its name (`{run}-models`) counts too.

With `--each-stage` one run is killed once in every stage before it is compared. With `--warm` a
command of this repository is forked from a process that has TensorFlow loaded. `--writers` takes
every other command that writes, on a tiny run that it makes first.
"""

from __future__ import annotations

import hashlib
import importlib
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
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import click

from tools.kill_writers import copy_run, make_inputs, writers

_POLL = 0.002  # seconds between two looks at a folder
_SAID = 2000  # characters of an error that are shown
# They hold times, hosts or places, which no two runs share; or what no two exports share.
_NAMED_ALONE = re.compile(
    r"(^|/)(timings\.json|report\.html|environment\.json|source\.json|export\.json|README\.md|"
    r"facts\.json|organized\.json|saved_model\.pb|fingerprint\.pb|variables\.[^/]+|[^/]+\.keras|"
    r"[^/]+\.onnx)$|(^|/)artifacts/export/manifest\.json$|"
    r"(^|/)exports/onnx[^/]*/card\.(json|md)$"  # says how large the file is
)
_RATE = re.compile(rb'"images_per_second": [^,}]+')
_WHEN = re.compile(rb'"when": ?"[^"]*"')
_PROGRAM = "cli.py"


class Process(Protocol):
    """What is killed: a process of its own, or one forked from this."""

    def poll(self) -> int | None:
        """Return how it ended; None if it has not."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""

    def wait(self) -> int:
        """Wait until it has ended; return how."""


class _Forked:
    """A command of this repository in a fork of this process, in which TensorFlow is loaded."""

    def __init__(self, words: Sequence[str], errors: IO[str]) -> None:
        self._ended: int | None = None
        self._number = os.fork()
        if self._number == 0:
            _live(words, errors)

    def poll(self) -> int | None:
        """Return how it ended; None if it has not."""
        if self._ended is None:
            number, status = os.waitpid(self._number, os.WNOHANG)
            if number:
                self._ended = os.waitstatus_to_exitcode(status)
        return self._ended

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        os.kill(self._number, sig)

    def wait(self) -> int:
        """Wait until it has ended; return how."""
        if self._ended is None:
            self._ended = os.waitstatus_to_exitcode(os.waitpid(self._number, 0)[1])
        return self._ended


def _live(words: Sequence[str], errors: IO[str]) -> None:
    """What the fork does: the command, and nothing of what this process would do at its end."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.dup2(errors.fileno(), 2)
        sys.argv = list(words)
        from spice_keras.cli import main as spice

        spice(list(words[1:]))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def warm_up() -> None:
    """Load what every stage needs, and compute nothing: a fork would miss TensorFlow's threads."""
    for variable, value in (("MPLBACKEND", "agg"), ("TF_CPP_MIN_LOG_LEVEL", "3")):
        os.environ.setdefault(variable, value)
    for name in ("pretrain", "self_label", "semi", "evaluate", "export"):
        importlib.import_module(f"spice_keras.stages.{name}")


_is_warm = False


def fingerprint(run: Path) -> dict[str, str]:
    """Return a checksum of every file of a run that an equal run must have.

    Args:
        run: The run directory.

    Returns:
        Path below the folder to SHA-256; to nothing if the file holds times or places, or is an
        empty folder.
    """
    found = {}
    beside = sorted(path for path in run.parent.glob(f"*{run.name}-*") if path != run)
    for path in (*sorted(run.rglob("*")), *(found for b in beside for found in (b, *b.rglob("*")))):
        name = os.path.relpath(path, run).replace(run.name, "{run}")
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                found[f"{name}/"] = ""
            continue
        data = b"" if _NAMED_ALONE.search(name) or path.is_symlink() else path.read_bytes()
        if path.name == "metrics.jsonl":
            data = _RATE.sub(b"", data)
        if path.name in ("edits.jsonl", "updates.json"):
            data = _WHEN.sub(b"", data)
        if path.name == "config.yaml":
            data = re.sub(rb"(?m)^  directory: .*$", b"", data)
        found[name] = hashlib.sha256(data).hexdigest() if data else ""
    return found


def differences(one: dict[str, str], two: dict[str, str]) -> list[str]:
    """Return the files that only one folder has, or that differ."""
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def start(command: Sequence[str], run: Path, errors: IO[str]) -> Process:
    """Start a Python command on a run directory; what it says about errors goes to a file."""
    filled = [word.replace("{run}", str(run)) for word in command]
    if _is_warm and Path(filled[0]).name == _PROGRAM:
        return _Forked(filled, errors)
    return subprocess.Popen(
        [sys.executable, *filled],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        text=True,
    )


def kill_when(process: Process, is_time: Callable[[], bool]) -> bool:
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


@dataclass(frozen=True)
class _Moments:
    """When a command is killed.

    Attributes:
        kills: How often at random moments.
        at: Once these paths are there.
        seed: What chooses the random moments.
    """

    kills: int
    at: Sequence[str]
    seed: int

    def within(self, seconds: float) -> list[tuple[str, object]]:
        """What is killed: after random seconds, or once a path is there."""
        generator = random.Random(self.seed)
        times = [("after", generator.uniform(0.0, seconds)) for _ in range(self.kills)]
        return [*times, *(("at", path) for path in self.at)]


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


def stage_seconds(run: Path) -> dict[str, float]:
    """Return what each stage of a run leaves, in order, and how long the stage took."""
    from spice_keras.run.directory import RunDirectory
    from spice_keras.run.history import STAGES

    found, took = RunDirectory(run), RunDirectory(run).timings()
    return {
        stage.artifact: took.get(stage.name, 1.0) for stage in STAGES if found.has(stage.artifact)
    }


def each_stage(
    command: Sequence[str], run: Path, seconds: dict[str, float], generator: random.Random
) -> tuple[list[str], str | None]:
    """Kill a run once in every stage, at a random moment of it, and run it to its end.

    Args:
        command: The words after the interpreter.
        run: Its folder.
        seconds: From `stage_seconds`.
        generator: What chooses the moments.

    Returns:
        What each kill hit, and what went wrong when it went on.
    """
    told: list[str] = []
    before: str | None = None
    for name, length in seconds.items():
        begins = None if before is None else run / "artifacts" / before / "manifest.json"
        wait, began = generator.uniform(0.0, length), [0.0]

        def is_time(
            begins: Path | None = begins, wait: float = wait, began: list[float] = began
        ) -> bool:
            there = run.exists() if begins is None else begins.is_file()
            began[0] = began[0] or (time.monotonic() if there else 0.0)
            return bool(began[0]) and time.monotonic() - began[0] >= wait

        with tempfile.TemporaryFile("w+") as errors:
            words = resumed(command, run)
            killed = kill_when(start(words, run, errors), is_time)
        there = (run / "artifacts" / name / "manifest.json").is_file()
        told.append(
            f"{name} {wait:.2f} s{'' if killed else ' (had ended)'}{' (after it)' if there else ''}"
        )
        before = name
    return told, finish(resumed(command, run), run)


def _each_stage(command: Sequence[str], folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Runs that are killed once in every stage; how many, and how many came out otherwise."""
    peaceful = folder / "peaceful"
    problem = finish(command, peaceful)
    if problem is not None:
        raise click.ClickException(f"The command fails even if nobody kills it: {problem}")
    seconds, expected = stage_seconds(peaceful), fingerprint(peaceful)
    click.echo(f"undisturbed: {json.dumps(seconds)}, {len(expected)} files")
    generator, failed = random.Random(seed), 0
    for number in range(1, kills + 1):
        run = folder / f"killed-{number}"
        told, problem = each_stage(command, run, seconds, generator)
        other = differences(expected, fingerprint(run))
        failed += bool(other or problem)
        outcome = problem or (f"differ: {', '.join(other)}" if other else "equal")
        click.echo(f"{number}: killed in {'; '.join(told)}: {outcome}")
        _remove(run)
    return kills, failed


def _remove(run: Path) -> None:
    for path in (run, *run.parent.glob(f"*{run.name}-*")):
        shutil.rmtree(path, ignore_errors=True)


def _killed(
    command: Sequence[str], folder: Path, begun: Path | None, moments: _Moments
) -> tuple[int, int]:
    """Kill a command at some moments; how many, and how many came out otherwise."""
    peaceful = _folder(folder / "peaceful", begun)
    began = time.monotonic()
    problem = finish(command, peaceful)
    if problem is not None:
        raise click.ClickException(f"The command fails even if nobody kills it: {problem}")
    seconds, expected = time.monotonic() - began, fingerprint(peaceful)
    click.echo(f"undisturbed: {seconds:.0f} s, {len(expected)} files")
    number = failed = 0
    for number, (kind, moment) in enumerate(moments.within(seconds), 1):
        run = _folder(folder / f"killed-{number}", begun)
        killed, problem = trial(command, run, _is_time(kind, moment, run))
        other = differences(expected, fingerprint(run))
        failed += bool(other or problem)
        what = f"{moment:.2f} s" if isinstance(moment, float) else str(moment)
        ended = "killed" if killed else "had ended"
        outcome = problem or (f"differ: {', '.join(other)}" if other else "equal")
        click.echo(f"{number}: {kind} {what}, {ended}: {outcome}")
        _remove(run)
    _remove(peaceful)
    return number, failed


def _all_writers(
    folder: Path, inputs: Path, moments: _Moments, only: Sequence[str]
) -> tuple[int, int]:
    """Kill every other command that writes; how many kills, and how many came out otherwise."""
    if not (inputs / "run").is_dir():
        make_inputs(inputs, lambda words: finish(words, inputs))
    total = failed = 0
    for writer in writers(inputs):
        if only and writer.name not in only:
            continue
        click.echo(f"{writer.name}: {' '.join(writer.command[1:])}")
        tried, bad = _killed(writer.command, folder, writer.begun, moments)
        total, failed = total + tried, failed + bad
    return total, failed


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--kills", type=click.IntRange(min=0), default=10, help="Kills at random moments.")
@click.option("--at", multiple=True, help="Kill once this path is in the folder; repeatable.")
@click.option("--from", "begun", type=click.Path(path_type=Path), help="Begin with a copy of it.")
@click.option("--seed", default=0, help="Of the random moments.")
@click.option("--each-stage", "stages", is_flag=True, help="Kill each run once in every stage.")
@click.option("--writers", "every", is_flag=True, help="Every other command that writes.")
@click.option("--only", multiple=True, help="Of --writers, these alone; repeatable.")
@click.option("--inputs", type=click.Path(path_type=Path), help="The runs of --writers; made once.")
@click.option("--warm", is_flag=True, help="Fork commands from a process with TensorFlow loaded.")
@click.argument("command", nargs=-1)
def main(
    kills: int,
    at: tuple[str, ...],
    begun: Path | None,
    seed: int,
    command: tuple[str, ...],
    **how: Any,
) -> None:
    """Kill COMMAND, go on with it, and compare with one that was left in peace."""
    global _is_warm
    if bool(command) == how["every"]:
        raise click.UsageError("Name a command after --, or give --writers.")
    if how["warm"]:
        warm_up()
        _is_warm = True
    moments = _Moments(kills, at, seed)
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        folder = Path(name)
        if how["every"]:
            tried, failed = _all_writers(
                folder, how["inputs"] or folder / "inputs", moments, how["only"]
            )
        elif how["stages"]:
            tried, failed = _each_stage(command, folder, kills, seed)
        else:
            tried, failed = _killed(command, folder, begun, moments)
    if failed:
        raise click.ClickException(f"{failed} of {tried} runs differ from the undisturbed one.")


def _folder(run: Path, begun: Path | None) -> Path:
    return run if begun is None else copy_run(begun, run)


if __name__ == "__main__":
    main()
