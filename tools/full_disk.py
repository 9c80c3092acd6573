"""Runs a command on a disk that is too small, larger each time, until it comes to its end.

    sudo python -m tools.full_disk --size 2 --step 2 -- cli.py run tiny.yaml --run-dir {run}

`{run}` lies on a disk in memory (tmpfs) of its own, which wants the right to mount one. Each time
the disk is full, the command must end with exit code 2 and a sentence without a traceback; then the
disk grows and the command goes on with --resume. What comes out in the end must be what a run on a
disk with room leaves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tools.kill import differences, fingerprint, resumed

_LARGEST = 1024  # MiB


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of some MiB for a block."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _ended(words: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, done.stderr.strip()


def _filled(command: tuple[str, ...], run: Path) -> list[str]:
    return [word.replace("{run}", str(run)) for word in resumed(command, run)]


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--size", type=click.IntRange(min=1), default=2, help="MiB at first.")
@click.option("--step", type=click.IntRange(min=1), default=2, help="MiB more each time.")
@click.argument("command", nargs=-1, required=True)
def main(size: int, step: int, command: tuple[str, ...]) -> None:
    """Run COMMAND on a disk that is too small, and enlarge it until it ends well."""
    with tempfile.TemporaryDirectory(prefix="full-") as name:
        peaceful, small = Path(name) / "peaceful" / "run", Path(name) / "small"
        for folder in (peaceful.parent, small):
            folder.mkdir()
        code, said = _ended(_filled(command, peaceful))
        if code:
            raise click.ClickException(f"The command fails on a disk with room: {said[-2000:]}")
        bad = []
        with small_disk(small, size):
            while True:
                code, said = _ended(_filled(command, small / "run"))
                click.echo(f"{size} MiB: exit code {code}: {said.splitlines()[-1] if said else ''}")
                if code == 0 or size > _LARGEST:
                    break
                if code != 2 or "Traceback" in said:
                    bad.append(f"{size} MiB: exit code {code}\n{said[-3000:]}")
                size += step
                options = f"remount,size={size}m"
                subprocess.run(["mount", "-o", options, small], check=True)
            other = differences(fingerprint(peaceful), fingerprint(small / "run"))
    if other:
        bad.append(f"differ: {', '.join(other)}")
    if bad:
        raise click.ClickException("\n".join(bad))
    click.echo("equal")


if __name__ == "__main__":
    main()
