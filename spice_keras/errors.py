"""What a user can cause: a mistake, exit code 2 at the command line; or the end of a process."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's input, files or options; its message says what to do next."""


class WorkerLost(UserError):
    """Another worker of the run ended before the run did."""


class Terminated(KeyboardInterrupt):
    """The system asked the process to end (SIGTERM); it ends as after Ctrl-C."""
