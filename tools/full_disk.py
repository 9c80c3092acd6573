"""Runs a command on a disk that is too small, larger each time, until it comes to its end.

    sudo python -m tools.full_disk --size 2 --step 2 -- cli.py run tiny.yaml --run-dir {run}
    sudo python -m tools.full_disk --writers

`{run}` lies on a disk in memory (tmpfs) of its own, which wants the right to mount one. A run looks
for room before it begins, so the disk grows until it does; once the images are decoded, whatever
is still free is taken away. Each time the disk is full, the command must end with exit code 2 and a
sentence without a traceback; then the disk grows by half a MiB and the command goes on with
--resume. What comes out in the end must be what a run on a disk with room leaves.

`--writers` does the same with every other command that writes. Each begins with a finished tiny run
that lies on the small disk, as do its temporary files. The disk has no room at first, then room for
a third of what the command writes, two thirds, all of it, and then twice as much each time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import click

from tools.kill import differences, fingerprint, finish, resumed
from tools.kill_writers import Writer, copy_run, make_inputs, writers

_LARGEST = 1024 * 1024  # KiB
_STEP = 512  # KiB
_LEFT = 64  # KiB
_BEGUN = "artifacts/images/manifest.json"  # after it, a run no longer looks for room beforehand
_POLL = 0.01  # seconds
_USER_ERROR = 2
_NOT_OURS = ".ses"  # ONNX Runtime leaves it among the temporary files


class SmallDisk:
    """A disk in memory, at a folder, as large as it is told to be.

    Args:
        folder: Where it is mounted.
        size: KiB at first.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    def __enter__(self) -> SmallDisk:
        options = ["-t", "tmpfs", "-o", f"size={self.size}k", "tmpfs"]
        subprocess.run(["mount", *options, self.folder], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.folder], check=True)

    def resize(self, size: int) -> None:
        """Make it this many KiB large."""
        self.size = size
        subprocess.run(["mount", "-o", f"remount,size={size}k", self.folder], check=True)

    def fill(self, left: int) -> None:
        """Take away what is free, but for so many KiB."""
        self.resize(shutil.disk_usage(self.folder).used // 1024 + left)


def _ended(
    words: list[str], begun: Callable[[], bool] = bool, scratch: Path | None = None
) -> tuple[int, str, bool]:
    """Run a command; how it ended, its last words, and whether it had begun by `begun`."""
    places = {} if scratch is None else {"TMPDIR": str(scratch)}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **places},
        )
        seen = False
        while process.poll() is None:
            seen = seen or begun()
            time.sleep(_POLL)
        errors.seek(0)
        return process.returncode, errors.read().strip(), seen


def _filled(command: Sequence[str], run: Path) -> list[str]:
    return [word.replace("{run}", str(run)) for word in resumed(command, run)]


def _in_peace(name: str, command: Sequence[str], run: Path) -> None:
    code, said, _ = _ended(_filled(command, run))
    if code:
        raise click.ClickException(f"{name} fails on a disk with room: {said[-2000:]}")


def _told(where: str, code: int, said: str) -> Iterator[str]:
    """Say how a command ended; what is wrong with that."""
    last = said.splitlines()[-1] if said else ""
    click.echo(f"{where}: exit code {code}: {last}")
    if code not in (0, _USER_ERROR) or "Traceback" in said:
        yield f"{where}: exit code {code}\n{said[-3000:]}"


def _squeezed(command: Sequence[str], run: Path, disk: SmallDisk, step: int) -> Iterator[str]:
    """Run a command until it ends well; what is wrong with how it ended before."""
    filled = False

    def begun() -> bool:
        if filled or not (run / _BEGUN).exists():
            return False
        disk.fill(_LEFT)
        return True

    while disk.size < _LARGEST:
        code, said, now = _ended(_filled(command, run), (lambda: False) if filled else begun)
        filled = filled or now
        yield from _told(f"{disk.size / 1024:.1f} MiB", code, said)
        if code == 0:
            return
        disk.resize(disk.size + (_STEP if filled else step))
    yield f"{_LARGEST // 1024} MiB were not enough"


def _one_command(folder: Path, size: int, step: int, command: Sequence[str]) -> Iterator[str]:
    """Run a command on a disk that grows; what is wrong with how it ended, or with what it left."""
    peaceful, small = folder / "peaceful" / "run", folder / "small"
    for place in (peaceful.parent, small):
        place.mkdir()
    _in_peace("The command", command, peaceful)
    with SmallDisk(small, size * 1024) as disk:
        yield from _squeezed(command, small / "run", disk, step * 1024)
        yield from _differing(peaceful, small / "run")


def _differing(peaceful: Path, run: Path) -> Iterator[str]:
    other = differences(fingerprint(peaceful), fingerprint(run))
    if other:
        yield f"{run} differs: {', '.join(other)}"


def _one_writer(writer: Writer, folder: Path) -> Iterator[str]:
    """Run a command on a finished run and on disks with ever more room; what is wrong with it."""
    peaceful, small = folder / "peaceful" / "run", folder / "small"
    for place in (peaceful.parent, small):
        place.mkdir(parents=True)
    copy_run(writer.begun, peaceful)
    before = _size(peaceful.parent)
    _in_peace(writer.name, writer.command, peaceful)
    third = max((_size(peaceful.parent) - before) // 3, _LEFT)
    with SmallDisk(small, _LARGEST) as disk:
        run, scratch = copy_run(writer.begun, small / "run"), small / "scratch"
        scratch.mkdir()
        room = 0
        while room < _LARGEST:
            disk.fill(room)
            code, said, _ = _ended(_filled(writer.command, run), scratch=scratch)
            yield from _told(f"{writer.name}, {room} KiB free", code, said)
            left = {path.name for path in scratch.iterdir()} - {_NOT_OURS}
            if left:
                yield f"{writer.name} left {sorted(left)} among the temporary files"
            if code == 0:
                yield from _differing(peaceful, run)
                return
            room += third if room < 3 * third else room
    yield f"{writer.name}: {_LARGEST // 1024} MiB were not enough"


def _size(folder: Path) -> int:
    """What lies in a folder, in KiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024


def _all_writers(folder: Path, only: Collection[str]) -> Iterator[str]:
    inputs = folder / "inputs"
    make_inputs(inputs, lambda words: finish(words, inputs))
    for writer in writers(inputs):
        if not only or writer.name in only:
            yield from _one_writer(writer, folder / writer.name.replace(" ", "-"))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--size", type=click.IntRange(min=1), default=2, help="MiB at first.")
@click.option("--step", type=click.IntRange(min=1), default=2, help="MiB more until it begins.")
@click.option("--writers", "every", is_flag=True, help="Every other command that writes.")
@click.option("--only", multiple=True, help="Of --writers, these alone; repeatable.")
@click.argument("command", nargs=-1)
def main(
    size: int, step: int, every: bool, only: tuple[str, ...], command: tuple[str, ...]
) -> None:
    """Run COMMAND on a disk that is too small, and enlarge it until it ends well."""
    if bool(command) == every:
        raise click.UsageError("Name a command after --, or give --writers.")
    with tempfile.TemporaryDirectory(prefix="full-") as name:
        folder = Path(name)
        bad = list(
            _all_writers(folder, only) if every else _one_command(folder, size, step, command)
        )
    if bad:
        raise click.ClickException("\n".join(bad))
    click.echo("equal")


if __name__ == "__main__":
    main()
