"""The tool that kills a command, goes on and compares: it kills, and it tells each kind of harm."""

from __future__ import annotations

from pathlib import Path

import click.testing
import numpy as np
import pytest

from tests.integration.tiny import ROOT, invoke
from tools.kill import differences, fingerprint, main, resumed

# Writes 1, 2, 3. In a folder that is to be killed, its first life stands still after 2.
_SCRIPT = """
import sys, time
from pathlib import Path

kind, run = sys.argv[1], Path(sys.argv[2])
run.mkdir(exist_ok=True)
mark = run.with_name(run.name + ".begun")
first = run.name != "peaceful" and not mark.exists()
again = run.name != "peaceful" and mark.exists()
mark.touch()
if kind == "fails" and again or kind == "fails always":
    sys.exit("cannot go on")
for name in "123":
    if kind == "appends":
        with (run / "log").open("a") as file:
            file.write(name)
    if (run / name).exists():
        continue
    aside = run / f".{name}"
    aside.write_text(name)
    if kind == "leaves" and first and name == "2":
        (run / name).write_text(name)
    else:
        aside.rename(run / name)
    # Not for ever: a kill before the mark was made leaves a second first life.
    for _ in range(400 if first and name == "2" else 0):
        time.sleep(0.1)
"""


def _kill(folder: Path, kind: str, *options: str) -> click.testing.Result:
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    arguments = [*options, "--", str(script), kind, "{run}"]
    return click.testing.CliRunner().invoke(main, arguments)


def test_a_command_that_goes_on_as_it_should(tmp_path: Path) -> None:
    found = _kill(tmp_path, "careful", "--kills", "1", "--at", "2")
    assert found.exit_code == 0, found.output
    first, random, chosen = found.output.splitlines()
    assert first.endswith("3 files")
    assert random.startswith("1: after ")
    assert random.endswith(" s, killed: equal")
    assert chosen == "2: at 2, killed: equal"


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("appends", "differ: log"),
        ("leaves", "differ: .2"),
        ("fails", "exit code 1: cannot go on"),
    ],
)
def test_a_command_that_does_not(tmp_path: Path, kind: str, outcome: str) -> None:
    found = _kill(tmp_path, kind, "--kills", "0", "--at", "2", "--at", "1")
    assert found.exit_code == 1
    assert f"1: at 2, killed: {outcome}" in found.output
    assert "2 of 2 runs differ" in found.output or kind == "leaves"


def test_a_command_that_fails_by_itself(tmp_path: Path) -> None:
    found = _kill(tmp_path, "fails always", "--kills", "1")
    assert found.exit_code == 1
    assert "fails even if nobody kills it: exit code 1: cannot go on" in found.output


def test_a_kill_that_comes_too_late_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, os; os.mkdir(sys.argv[1])")
    found = click.testing.CliRunner().invoke(
        main, ["--kills", "0", "--at", "never", "--", str(script), "{run}"]
    )
    assert found.exit_code == 0
    assert "1: at never, had ended: equal" in found.output


def test_times_and_places_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for run, rate in ((one, "1.5"), (two, "2.5")):
        (run / "checkpoints").mkdir(parents=True)
        (run / "timings.json").write_text(rate)
        (run / "metrics.jsonl").write_text(f'{{"loss": 1, "images_per_second": {rate}}}\n')
        (run / "config.yaml").write_text(f"export:\n  directory: {run}\n  name: a\n")
    assert differences(fingerprint(one), fingerprint(two)) == []
    (two / "metrics.jsonl").write_text('{"loss": 2, "images_per_second": 1.5}\n')
    (two / "checkpoints").rmdir()
    (two / "timings.json").unlink()
    (two / ".writing.x").mkdir()
    found = differences(fingerprint(one), fingerprint(two))
    assert found == [".writing.x/", "checkpoints/", "metrics.jsonl", "timings.json"]


def test_a_command_of_this_program_goes_on_with_resume_once_a_run_is_begun(tmp_path: Path) -> None:
    program = str(ROOT / "cli.py")
    command = [program, "self", "--redo", "--run-dir", "{run}"]
    assert resumed(command, tmp_path) == command
    (tmp_path / "config.yaml").touch()
    assert resumed(command, tmp_path) == [program, "self", "--run-dir", "{run}", "--resume"]
    assert "--resume" not in invoke("groups", "--help").output
    without = [program, "groups", "{run}"]
    assert resumed(without, tmp_path) == without


@pytest.mark.slow
@pytest.mark.integration
def test_a_run_on_embeddings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 3.0 * rng.normal(size=(3, 16))[np.arange(120) % 3] + rng.normal(size=(120, 16))
    np.savez(tmp_path / "blobs.npz", embeddings=rows.astype(np.float32))
    settings = ["self.neighbors.epochs=4", "self.num_heads=3", "evaluate.map_method=pca"]
    command = [str(ROOT / "cli.py"), "self", "--embeddings", str(tmp_path / "blobs.npz")]
    command += ["--clusters", "3", "--run-dir", "{run}", "--set", "export.directory={run}-models"]
    command += [word for setting in settings for word in ("--set", setting)]
    found = click.testing.CliRunner().invoke(
        main,
        ["--kills", "0", "--at", "artifacts/heads", "--at", "artifacts/export", "--", *command],
    )
    assert found.exit_code == 0, found.output
    assert found.output.count("killed: equal") == 2
