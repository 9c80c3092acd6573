"""The one exception a user can cause: the command line turns it into exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's input, files or options; its message says what to do next."""
