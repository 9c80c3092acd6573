"""`spice` in a process that is killed, past any clean-up, once a stage has logged some epochs.

python -m tests.integration.killed STAGE EPOCHS ARGUMENT...
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from spice_keras.cli import main
from spice_keras.run.directory import RunDirectory


def _main() -> None:
    stage, epochs, *arguments = sys.argv[1:]
    write = RunDirectory.append_metrics

    def write_and_die(run: RunDirectory, row: Mapping[str, Any]) -> None:
        write(run, row)
        if len(run.metrics(stage)) >= int(epochs):
            os.kill(os.getpid(), signal.SIGKILL)

    RunDirectory.append_metrics = write_and_die  # type: ignore[method-assign]
    main(arguments)


if __name__ == "__main__":
    _main()
