"""Runs a command on a disk that is too small, larger each time, until it comes to its end.

    sudo python -m tools.full_disk --size 2 --step 2 -- cli.py run tiny.yaml --run-dir {run}

`{run}` lies on a disk in memory (tmpfs) of its own, which wants the right to mount one. A run looks
for room before it begins, so the disk grows until it does; once the images are decoded, whatever
is still free is taken away. Each time the disk is full, the command must end with exit code 2 and a
sentence without a traceback; then the disk grows by half a MiB and the command goes on with
--resume. What comes out in the end must be what a run on a disk with room leaves.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from tools.kill import differences, fingerprint, resumed

_LARGEST = 1024 * 1024  # KiB
_STEP = 512  # KiB
_LEFT = 64  # KiB
_BEGUN = "artifacts/images/manifest.json"  # after it, a run no longer looks for room beforehand
_POLL = 0.01  # seconds
_USER_ERROR = 2


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

    def fill(self) -> None:
        """Take away what is free, but for the last few pages."""
        self.resize(shutil.disk_usage(self.folder).used // 1024 + _LEFT)


def _ended(words: list[str], begun: Callable[[], bool] = bool) -> tuple[int, str, bool]:
    """Run a command; how it ended, its last words, and whether it had begun by `begun`."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=errors
        )
        seen = False
        while process.poll() is None:
            seen = seen or begun()
            time.sleep(_POLL)
        errors.seek(0)
        return process.returncode, errors.read().strip(), seen


def _filled(command: tuple[str, ...], run: Path) -> list[str]:
    return [word.replace("{run}", str(run)) for word in resumed(command, run)]


def _squeezed(command: tuple[str, ...], run: Path, disk: SmallDisk, step: int) -> Iterator[str]:
    """Run a command until it ends well; what is wrong with how it ended before."""
    filled = False

    def begun() -> bool:
        if filled or not (run / _BEGUN).exists():
            return False
        disk.fill()
        return True

    while disk.size < _LARGEST:
        code, said, now = _ended(_filled(command, run), (lambda: False) if filled else begun)
        filled = filled or now
        last = said.splitlines()[-1] if said else ""
        click.echo(f"{disk.size / 1024:.1f} MiB: exit code {code}: {last}")
        if code == 0:
            return
        if code != _USER_ERROR or "Traceback" in said:
            yield f"{disk.size / 1024:.1f} MiB: exit code {code}\n{said[-3000:]}"
        disk.resize(disk.size + (_STEP if filled else step))
    yield f"{_LARGEST / 1024:.0f} MiB were not enough"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--size", type=click.IntRange(min=1), default=2, help="MiB at first.")
@click.option("--step", type=click.IntRange(min=1), default=2, help="MiB more until it begins.")
@click.argument("command", nargs=-1, required=True)
def main(size: int, step: int, command: tuple[str, ...]) -> None:
    """Run COMMAND on a disk that is too small, and enlarge it until it ends well."""
    with tempfile.TemporaryDirectory(prefix="full-") as name:
        peaceful, small = Path(name) / "peaceful" / "run", Path(name) / "small"
        for folder in (peaceful.parent, small):
            folder.mkdir()
        code, said, _ = _ended(_filled(command, peaceful))
        if code:
            raise click.ClickException(f"The command fails on a disk with room: {said[-2000:]}")
        with SmallDisk(small, size * 1024) as disk:
            bad = list(_squeezed(command, small / "run", disk, step * 1024))
            other = differences(fingerprint(peaceful), fingerprint(small / "run"))
    if other:
        bad.append(f"differ: {', '.join(other)}")
    if bad:
        raise click.ClickException("\n".join(bad))
    click.echo("equal")


if __name__ == "__main__":
    main()
